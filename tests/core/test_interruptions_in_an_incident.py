"""Acts whose fate is not known, operators that are killed, people who abort."""

from datetime import timedelta

import pytest

from core.builders import PROBE, START, UNDO, post, runbook, scale, sql, usual, view
from core.simulator import Crashed, World, failed, unfinished
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Blocked, Look, Probe, Stop, Transition, Wait
from incident_operator.core.outcomes import Failure, Undetermined, outcome_of_look

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_an_unkeyed_effect_that_was_interrupted_is_never_repeated_by_itself():
    world = World(usual(remediate=[post("replay")])).go().approve()
    world.crash_at = world.moments + 4
    with pytest.raises(Crashed):
        world.go()
    world.crash_at = None
    assert world.done == ["serve", "replay"]
    world.go(24 * HOUR)
    assert world.done == ["serve", "replay"]
    assert world.status.message.startswith(
        "http replay may or may not have run (started at 2025-10-21T00:30:00Z; the operator stopped before the outcome "
        "was known); the operator never repeats it. Check whether it happened, then answer: kubectl annotate"
    )
    world.tell("done").go()
    assert world.states()["replay"] == "Succeeded"


@pytest.mark.parametrize("probe", [None, PROBE])
def test_what_another_process_may_still_be_in_the_middle_of_is_not_judged_before_its_time_is_over(probe):
    world = World(usual(remediate=[post("replay", **({"probe": probe} if probe else {}))])).go().approve()
    world.crash_at = world.moments + 4
    with pytest.raises(Crashed):
        world.go()
    seen = view(world.compiled, world.stored, world.now, led_for=timedelta(seconds=34))
    assert machine.decide(seen) == Wait(world.now + timedelta(seconds=1))  # 30 s are its timeout
    seen = view(world.compiled, world.stored, world.now, led_for=timedelta(seconds=35))
    assert type(machine.decide(seen)) is (Probe if probe else Transition)


def test_what_leaves_a_mark_is_looked_up_at_once_whoever_began_it():
    world = World(usual(remediate=[sql("mark")])).go().approve()
    world.crash_at = world.moments + 4
    with pytest.raises(Crashed):
        world.go()
    seen = view(world.compiled, world.stored, world.now, led_for=timedelta())
    assert type(machine.decide(seen)) is Look


@pytest.mark.parametrize(("happened", "done"), [(True, ["serve", "replay"]), (False, ["serve", "replay", "replay"])])
def test_a_probe_tells_whether_an_interrupted_effect_happened(happened, done):
    world = World(usual(remediate=[post("replay", probe=PROBE)]), probed=happened).go().approve()
    world.crash_at = world.moments + 4
    world.go_through_crashes()
    assert world.done == done
    assert world.status.approvals[-1].state.value == "Consumed"


def test_nobody_can_ask_for_another_try_of_what_may_have_happened():
    world = World(usual(remediate=[post("replay")]))
    world.script["replay"] = [Undetermined("connection lost")]
    world.go().approve().go().retry().go(HOUR)
    assert world.status.reason == reasons.STEP_UNKNOWN
    assert world.states()["replay"] == "Unknown"


def test_nobody_can_call_done_what_is_known_to_have_failed():
    world = World(usual())
    world.script["rebuild"] = [failed()]
    world.go().approve().go().tell("done").go(HOUR)
    assert world.status.reason == reasons.STEP_FAILED
    assert world.states()["rebuild"] == "Failed"


def test_what_a_person_said_of_one_attempt_says_nothing_about_the_next():
    world = World(usual(remediate=[post("replay")]))
    world.script["replay"] = [Undetermined("connection lost"), Undetermined("connection lost again")]
    world.go().approve().go().tell("not-done").go().approve().go(HOUR)
    assert world.status.reason == reasons.STEP_UNKNOWN
    assert "connection lost again" in world.status.message
    assert world.token == "replay/2"


def test_the_probe_of_a_step_says_nothing_about_its_undo():
    undo = {"http": {"connection": "api", "method": "DELETE", "path": "/block"}}
    world = World(runbook(mitigate=[post("block", probe=PROBE, undo=undo)])).go().resolve()
    world.crash_at = world.moments + 4
    world.go_through_crashes()
    assert world.done == ["block", "undo-block"]
    assert world.status.reason == reasons.STEP_UNKNOWN


def test_what_keeps_from_looking_is_no_proof_that_an_act_did_not_happen():
    world = World(usual())
    world.script["rebuild"] = [unfinished(), outcome_of_look(Failure(reasons.FORBIDDEN, "may not get jobs"))]
    world.go().approve().go(timedelta(seconds=5))
    assert world.states()["rebuild"] == "Running"
    world.go(timedelta(seconds=5))
    assert world.done == ["serve", "rebuild"]


def test_an_effect_that_stays_unclear_is_a_persons_to_tell():
    world = World(usual())
    world.script["serve"] = [unfinished(5) for _ in range(100)]
    world.go(HOUR)
    assert world.status.reason == reasons.STEP_UNKNOWN
    assert world.now - START == HOUR
    assert "still unclear after 1m" in world.status.message


def test_a_read_that_stays_unclear_has_failed():
    world = World(usual())
    world.script["look"] = [unfinished(5) for _ in range(100)]
    world.go(HOUR)
    assert world.states()["look"] == "Failed"


def test_the_progress_of_an_act_costs_no_write_for_half_a_minute_and_one_after():
    world = World(usual())
    world.script["rebuild"] = [unfinished(5) for _ in range(100)]
    world.go().approve().go()
    writes = world.writes
    world.go(timedelta(seconds=25))
    assert world.writes == writes
    world.go(timedelta(minutes=5))
    assert world.writes == writes + 1
    assert "(Job rebuild: running)" in world.status.message


def test_abort_is_final_and_names_what_stays():
    world = World(usual()).go().abort().go()
    assert world.status.phase is Phase.FAILED
    assert world.status.message == (
        "Aborted by alice@dawsos.com; nothing more is done. Still in place, not undone: serve (ok)."
    )
    seen = view(usual(), world.stored, world.now)
    assert machine.decide(seen) == Stop()


def test_abort_says_so_where_nothing_stays_changed():
    world = World(usual(mitigate=[])).go().abort().go()
    assert world.status.message.endswith("nothing more is done. Nothing temporary is left in place.")


def test_an_act_under_way_whose_runbook_is_gone_is_told_as_unclear_after_abort():
    world = World(usual())
    world.script["rebuild"] = [unfinished()] * 2
    world.go().approve().go()
    world.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.abort().go()
    assert world.status.phase is Phase.FAILED
    assert world.states()["rebuild"] == "Unknown"
    assert "May or may not have happened: rebuild." in world.status.message


def test_abort_never_calls_an_unknown_effect_one_that_did_not_happen():
    world = World(usual(remediate=[post("replay")]))
    world.script["replay"] = [Undetermined("connection lost")]
    world.go().approve().go().abort().go()
    assert world.states()["replay"] == "Unknown"
    assert "May or may not have happened: replay." in world.status.message


@pytest.mark.parametrize("moment", range(1, 19))
def test_killed_at_any_moment_each_effect_still_happens_once(moment):
    world = World(usual(), crash_at=moment).go_through_crashes()
    world.approve().go_through_crashes().resolve().go_through_crashes()
    assert world.crash_at is None, "it was killed"
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.status.phase is Phase.RESOLVED
