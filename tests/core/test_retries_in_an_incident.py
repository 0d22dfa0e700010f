"""Failures, and another try: what is repeated, what never is."""

from datetime import timedelta

from core.builders import UNDO, job, post, read, scale, sql, usual
from core.simulator import World, failed
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.outcomes import Succeeded

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_a_retry_counts_once():
    world = World(usual())
    world.script["rebuild"] = [failed(), failed()]
    world.go().approve().go().retry().go().approve().go()
    assert world.status.phase is Phase.NEEDS_HUMAN
    world.go(24 * HOUR)
    assert world.status.phase is Phase.NEEDS_HUMAN


def test_the_hundredth_retry_counts_once_too():
    world = World(usual(), policy_problem="approvals cannot be trusted.").go()
    tokens = []
    for _ in range(100):
        tokens.append(world.token)
        world.now += timedelta(minutes=1)
        world.retry().go()
    assert len(set(tokens)) == 100
    assert len(world.status.answers) == 50


def test_a_retry_does_not_repeat_an_earlier_step_whose_failure_had_an_effect():
    steps = [post("notify", onFailure="continue"), job("rebuild")]
    world = World(usual(remediate=steps))
    world.script["notify"] = [failed("answered 500", effected=True)]
    world.go().approve().go()
    world.script["rebuild"] = [failed()]
    world.approve().go().retry().go()
    assert world.pending.steps == ["rebuild"]


def test_a_diagnosis_that_fails_is_unknown_and_stops_what_needs_it():
    diagnose = [read("look", outputs={"bad": "result.rows.size() == 0"})]
    world = World(usual(diagnose=diagnose, mitigate=[sql("serve", when="steps.look.outputs.bad", undo=UNDO)]))
    world.script["look"] = [failed("connection refused to dawsos-read")]
    world.go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.CONDITION_UNKNOWN)
    assert world.status.message.startswith(
        "Cannot tell whether serve is needed: look failed (connection refused to dawsos-read); it was not run. "
        "Retry: kubectl annotate --overwrite -n prod incident"
    )
    world.retry().go()
    assert world.done == ["serve"]


def test_a_diagnosis_read_again_in_vain_forgets_its_old_answer():
    diagnose = [read("look", outputs={"bad": "result.rows.size() == 0"})]
    world = World(usual(diagnose=diagnose, remediate=[job("rebuild", when="steps.look.outputs.bad")]))
    world.script["rebuild"] = [failed()]
    world.go().approve().go()
    world.script["look"] = [failed()]
    world.retry().go()
    assert world.status.reason == reasons.CONDITION_UNKNOWN


def test_a_diagnosis_may_stop_everything_where_it_says_so():
    world = World(usual(diagnose=[read("look", onFailure="stop")]))
    world.script["look"] = [failed()]
    world.go()
    assert world.status.message.startswith("Diagnose step look failed: connection refused.")
    assert world.done == []


def test_a_step_that_was_not_needed_is_looked_at_again_on_retry():
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"})]
    world = World(usual(diagnose=diagnose, mitigate=[sql("serve", when="steps.look.outputs.bad", undo=UNDO)]))
    world.script["check"] = [failed()]
    world.go().approve().go()
    assert world.states()["serve"] == "Skipped"
    world.retry()
    world.script["look"] = [_rows(1)]
    world.go()
    assert "serve" in world.done


def test_every_verification_that_stops_stops():
    world = World(usual(verify=[read("nice", onFailure="continue"), read("must")]))
    world.script["nice"], world.script["must"] = [failed()], [failed("still 503")]
    world.go().approve().go()
    assert world.status.message.startswith("Verify step must failed: still 503.")


def _rows(count):
    return Succeeded({"rows": [{}] * count}, f"{count} rows")
