"""Failures, and another try: what is repeated, what never is."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import IncidentStatus, Phase, StepRecord, StepState
from incident_operator.core import reasons
from incident_operator.core.machine import machine, status, undoing
from incident_operator.core.machine.view import Transition, Wait
from incident_operator.core.outcomes import Succeeded
from tests.core.builders import UNDO, incident, job, post, read, scale, sql, usual, view
from tests.core.machine.simulation import Simulation, failed

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_a_retry_counts_once():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [failed(), failed()]
    simulation.go().approve().go().retry().go().approve().go()
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    simulation.go(24 * HOUR)
    assert simulation.status.phase is Phase.NEEDS_HUMAN


def test_the_hundredth_retry_counts_once_too():
    simulation = Simulation(usual(), policy_problem="approvals cannot be trusted.").go()
    tokens = []
    for _ in range(100):
        tokens.append(simulation.token)
        simulation.now += timedelta(minutes=1)
        simulation.retry().go()
    assert len(set(tokens)) == 100
    assert len(simulation.status.answers) == 50


def test_a_retry_does_not_repeat_an_earlier_step_whose_failure_had_an_effect():
    steps = [post("notify", onFailure="continue"), job("rebuild")]
    simulation = Simulation(usual(remediate=steps))
    simulation.script["notify"] = [failed("answered 500", effected=True)]
    simulation.script["rebuild"] = [failed()]
    simulation.go().approve().go().retry().go()
    assert simulation.pending.steps == ["rebuild"]


ASKED = {"name": "asked", "state": "Failed", "stage": "remediate", "action": "job", "effect": "k8s-create"}
NOT_NEEDED = {"state": "Skipped", "reason": reasons.CONDITION_FALSE}
RESTORING = {"stage": "restore"}


@pytest.mark.parametrize(
    ("asked", "other", "first", "back"),
    [
        ({}, {"effect": "read", "state": "Succeeded"}, "other", True),
        ({}, {"state": "Failed"}, "asked", True),
        ({}, {"state": "Rejected"}, "asked", True),
        ({}, {"state": "Succeeded"}, "asked", False),
        ({}, {"state": "Failed"}, "other", False),
        ({}, {"state": "Failed", "stage": "restore"}, "asked", False),
        ({}, {**NOT_NEEDED}, "other", True),
        ({}, {"state": "Skipped", "reason": reasons.ALERT_RESOLVED}, "other", False),
        ({}, {"state": "Undone", "stage": "mitigate"}, "other", True),
        (RESTORING, {"state": "Undone", "stage": "mitigate"}, "other", False),
        (RESTORING, {**NOT_NEEDED}, "other", False),
        (RESTORING, {"state": "Failed", "stage": "restore", "name": "undo-serve"}, "asked", False),
    ],
)
def test_another_try_puts_back_what_has_to_be_done_afresh_and_nothing_that_holds(asked, other, first, back):
    one = StepRecord.model_validate({**ASKED, **asked})
    another = StepRecord.model_validate({**ASKED, "name": "other", **other})
    steps = [one, another] if first == "asked" else [another, one]
    found = undoing.reset_for_retry(IncidentStatus(steps=steps), "asked")
    states = {record.name: record.state for record in found.steps}
    assert states["asked"] is StepState.PENDING
    assert states[another.name] is (StepState.PENDING if back else another.state)


def test_another_try_does_not_repeat_what_the_last_one_said():
    simulation = Simulation(usual(remediate=[sql("drain", retry={"attempts": 2, "backoff": "5s"})]))
    simulation.script["drain"] = [failed(retryable=True)]
    simulation.go().approve().go()
    simulation.now += HOUR
    simulation.go(2 * HOUR)
    assert simulation.status.reason == reasons.APPROVAL_EXPIRED
    simulation.retry().go()
    assert status.find(simulation.status, "drain").summary == ""


@pytest.mark.parametrize("answer", ["retry", "done"])
def test_an_answer_about_a_step_that_somebody_took_out_of_the_status_puts_nothing_back(answer):
    simulation = Simulation(usual())
    simulation.script["undo-serve"] = [failed()]
    simulation.go().approve().go().resolve().go()
    (simulation.retry() if answer == "retry" else simulation.tell(answer))
    take_out(simulation, "undo-serve")
    assert isinstance(machine.decide(simulation.view(simulation.status)), Transition)


def test_a_stop_at_a_step_that_somebody_took_out_of_the_status_still_needs_a_person():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [failed()]
    simulation.go().approve().go()
    take_out(simulation, "rebuild")
    assert machine.decide(simulation.resolve().view(simulation.status)) == Wait(None)


def test_nothing_is_asked_about_a_step_that_nobody_knows():
    with pytest.raises(ValueError, match="no record of step nobody"):
        undoing.retry_question(view(usual(), incident()), IncidentStatus(), "nobody")


def test_a_diagnosis_that_fails_is_unknown_and_stops_what_needs_it():
    diagnose = [read("look", outputs={"bad": "result.rows.size() == 0"})]
    simulation = Simulation(usual(diagnose=diagnose, mitigate=[sql("serve", when="steps.look.outputs.bad", undo=UNDO)]))
    simulation.script["look"] = [failed("connection refused to dawsos-read")]
    simulation.go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.CONDITION_UNKNOWN)
    assert simulation.status.message.startswith(
        "Cannot tell whether serve is needed: look failed (connection refused to dawsos-read); it was not run. "
        "Retry: kubectl annotate --overwrite -n prod incident"
    )
    simulation.retry().go()
    assert simulation.done == ["serve"]


def test_a_read_whose_condition_is_unknown_is_not_made():
    diagnose = [read("look", outputs={"bad": "result.rows.size() == 0"}), read("more", when="steps.look.outputs.bad")]
    simulation = Simulation(usual(diagnose=diagnose))
    simulation.script["look"] = [failed()]
    simulation.go()
    assert "more" not in simulation.ran
    assert status.find(simulation.status, "more").reason == reasons.CONDITION_UNKNOWN


@pytest.mark.parametrize(("rows", "state", "read_too"), [(1, "Succeeded", True), (0, "Skipped", False)])
def test_a_read_waits_for_the_answer_of_another_that_decides_whether_it_is_made(rows, state, read_too):
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"}), read("more", when="steps.look.outputs.bad")]
    simulation = Simulation(usual(diagnose=diagnose))
    simulation.script["look"] = [_rows(rows)]
    simulation.go()
    assert simulation.states()["more"] == state
    assert ("more" in simulation.ran) is read_too


def test_a_read_between_acts_costs_no_write():
    between = Simulation(usual(mitigate=[sql("serve", undo=UNDO), read("served")])).go()
    assert "served" in between.ran
    assert between.writes == Simulation(usual()).go().writes


def test_a_diagnosis_read_again_in_vain_forgets_its_old_answer():
    diagnose = [read("look", outputs={"bad": "result.rows.size() == 0"})]
    simulation = Simulation(usual(diagnose=diagnose, remediate=[job("rebuild", when="steps.look.outputs.bad")]))
    simulation.script["rebuild"] = [failed()]
    simulation.go().approve().go()
    simulation.script["look"] = [failed()]
    simulation.retry().go()
    assert simulation.status.reason == reasons.CONDITION_UNKNOWN


def test_a_diagnosis_may_stop_everything_where_it_says_so():
    simulation = Simulation(usual(diagnose=[read("look", onFailure="stop")]))
    simulation.script["look"] = [failed()]
    simulation.go()
    assert simulation.status.message.startswith("Diagnose step look failed: connection refused.")
    assert simulation.done == []


def test_a_step_that_was_not_needed_is_looked_at_again_on_retry():
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"})]
    simulation = Simulation(usual(diagnose=diagnose, mitigate=[sql("serve", when="steps.look.outputs.bad", undo=UNDO)]))
    simulation.script["check"] = [failed()]
    simulation.go().approve().go()
    assert simulation.states()["serve"] == "Skipped"
    simulation.retry()
    simulation.script["look"] = [_rows(1)]
    simulation.go()
    assert "serve" in simulation.done


def test_every_verification_that_stops_stops():
    simulation = Simulation(usual(verify=[read("nice", onFailure="continue"), read("must")]))
    simulation.script["nice"], simulation.script["must"] = [failed()], [failed("still 503")]
    simulation.go().approve().go()
    assert simulation.status.message.startswith("Verify step must failed: still 503.")


def _rows(count):
    return Succeeded({"rows": [{}] * count}, f"{count} rows")


def take_out(simulation, name):
    left = [record for record in simulation.status.steps if record.name != name]
    current = simulation.status.model_copy(update={"steps": left})
    simulation.stored = simulation.stored.model_copy(update={"status": current})
