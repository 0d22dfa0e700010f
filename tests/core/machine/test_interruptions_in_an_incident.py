"""Acts whose fate is not known, operators that are killed, people who abort."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Blocked, Look, Probe, Stop, Transition, Wait
from incident_operator.core.outcomes import Failure, Undetermined, outcome_of_look
from tests.core.builders import PROBE, START, UNDO, post, runbook, scale, sql, usual, view
from tests.core.machine.simulation import Crashed, Simulation, failed, unfinished

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_an_unkeyed_effect_that_was_interrupted_is_never_repeated_by_itself():
    simulation = Simulation(usual(remediate=[post("replay")])).go().approve()
    simulation.crash_at = simulation.moments + 4
    with pytest.raises(Crashed):
        simulation.go()
    simulation.crash_at = None
    assert simulation.done == ["serve", "replay"]
    simulation.go(24 * HOUR)
    assert simulation.done == ["serve", "replay"]
    assert simulation.status.message.startswith(
        "http replay may or may not have run (started at 2025-10-21T00:30:00Z; the operator stopped before the outcome "
        "was known); the operator never repeats it. Check whether it happened, then answer: kubectl annotate"
    )
    simulation.tell("done").go()
    assert simulation.states()["replay"] == "Succeeded"


@pytest.mark.parametrize("probe", [None, PROBE])
def test_what_another_process_may_still_be_in_the_middle_of_is_not_judged_before_its_time_is_over(probe):
    simulation = Simulation(usual(remediate=[post("replay", **({"probe": probe} if probe else {}))])).go().approve()
    simulation.crash_at = simulation.moments + 4
    with pytest.raises(Crashed):
        simulation.go()
    seen = view(simulation.compiled, simulation.stored, simulation.now, led_for=timedelta(seconds=34))
    assert machine.decide(seen) == Wait(simulation.now + timedelta(seconds=1))  # 30 s are its timeout
    seen = view(simulation.compiled, simulation.stored, simulation.now, led_for=timedelta(seconds=35))
    assert type(machine.decide(seen)) is (Probe if probe else Transition)


def test_what_leaves_a_mark_is_looked_up_at_once_whoever_began_it():
    simulation = Simulation(usual(remediate=[sql("mark")])).go().approve()
    simulation.crash_at = simulation.moments + 4
    with pytest.raises(Crashed):
        simulation.go()
    seen = view(simulation.compiled, simulation.stored, simulation.now, led_for=timedelta())
    assert type(machine.decide(seen)) is Look


@pytest.mark.parametrize(("happened", "done"), [(True, ["serve", "replay"]), (False, ["serve", "replay", "replay"])])
def test_a_probe_tells_whether_an_interrupted_effect_happened(happened, done):
    simulation = Simulation(usual(remediate=[post("replay", probe=PROBE)]), probed=happened).go().approve()
    simulation.crash_at = simulation.moments + 4
    simulation.go_through_crashes()
    assert simulation.done == done
    assert simulation.status.approvals[-1].state.value == "Consumed"


def test_nobody_can_ask_for_another_try_of_what_may_have_happened():
    simulation = Simulation(usual(remediate=[post("replay")]))
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go().retry().go(HOUR)
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert simulation.states()["replay"] == "Unknown"


def test_nobody_can_call_done_what_is_known_to_have_failed():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [failed()]
    simulation.go().approve().go().tell("done").go(HOUR)
    assert simulation.status.reason == reasons.STEP_FAILED
    assert simulation.states()["rebuild"] == "Failed"


def test_what_a_person_said_of_one_attempt_says_nothing_about_the_next():
    simulation = Simulation(usual(remediate=[post("replay")]))
    simulation.script["replay"] = [Undetermined("connection lost"), Undetermined("connection lost again")]
    simulation.go().approve().go().tell("not-done").go().approve().go(HOUR)
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert "connection lost again" in simulation.status.message
    assert simulation.token == "replay/2"


def test_the_probe_of_a_step_says_nothing_about_its_undo():
    undo = {"http": {"connection": "api", "method": "DELETE", "path": "/block"}}
    simulation = Simulation(runbook(mitigate=[post("block", probe=PROBE, undo=undo)])).go().resolve()
    simulation.crash_at = simulation.moments + 4
    simulation.go_through_crashes()
    assert simulation.done == ["block", "undo-block"]
    assert simulation.status.reason == reasons.STEP_UNKNOWN


def test_what_keeps_from_looking_is_no_proof_that_an_act_did_not_happen():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [unfinished(), outcome_of_look(Failure(reasons.FORBIDDEN, "may not get jobs"))]
    simulation.go().approve().go(timedelta(seconds=5))
    assert simulation.states()["rebuild"] == "Running"
    simulation.go(timedelta(seconds=5))
    assert simulation.done == ["serve", "rebuild"]


def test_an_effect_that_stays_unclear_is_a_persons_to_tell():
    simulation = Simulation(usual())
    simulation.script["serve"] = [unfinished(5) for _ in range(100)]
    simulation.go(HOUR)
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert simulation.now - START == HOUR
    assert "still unclear after 1m" in simulation.status.message


def test_a_read_that_stays_unclear_has_failed():
    simulation = Simulation(usual())
    simulation.script["look"] = [unfinished(5) for _ in range(100)]
    simulation.go(HOUR)
    assert simulation.states()["look"] == "Failed"


def test_the_progress_of_an_act_costs_no_write_for_half_a_minute_and_one_after():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [unfinished(5) for _ in range(100)]
    simulation.go().approve().go()
    writes = simulation.writes
    simulation.go(timedelta(seconds=25))
    assert simulation.writes == writes
    simulation.go(timedelta(minutes=5))
    assert simulation.writes == writes + 1
    assert "(Job rebuild: running)" in simulation.status.message


def test_abort_is_final_and_names_what_stays():
    simulation = Simulation(usual()).go().abort().go()
    assert simulation.status.phase is Phase.FAILED
    assert simulation.status.message == (
        "Aborted by alice@dawsos.com; nothing more is done. Still in place, not undone: serve (ok)."
    )
    seen = view(usual(), simulation.stored, simulation.now)
    assert machine.decide(seen) == Stop()


def test_abort_says_so_where_nothing_stays_changed():
    simulation = Simulation(usual(mitigate=[])).go().abort().go()
    assert simulation.status.message.endswith("nothing more is done. Nothing temporary is left in place.")


def test_an_act_under_way_whose_runbook_is_gone_is_told_as_unclear_after_abort():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [unfinished()] * 2
    simulation.go().approve().go()
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.abort().go()
    assert simulation.status.phase is Phase.FAILED
    assert simulation.states()["rebuild"] == "Unknown"
    assert "May or may not have happened: rebuild." in simulation.status.message


def test_abort_never_calls_an_unknown_effect_one_that_did_not_happen():
    simulation = Simulation(usual(remediate=[post("replay")]))
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go().abort().go()
    assert simulation.states()["replay"] == "Unknown"
    assert "May or may not have happened: replay." in simulation.status.message


@pytest.mark.parametrize("moment", range(1, 19))
def test_killed_at_any_moment_each_effect_still_happens_once(moment):
    simulation = Simulation(usual(), crash_at=moment).go_through_crashes()
    simulation.approve().go_through_crashes().resolve().go_through_crashes()
    assert simulation.crash_at is None, "it was killed"
    assert simulation.done == ["serve", "rebuild", "undo-serve"]
    assert simulation.status.phase is Phase.RESOLVED
