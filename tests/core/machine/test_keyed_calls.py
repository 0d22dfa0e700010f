"""A keyed call cannot be looked up: it is sent again under its key, while all that guards a first try holds."""

from datetime import timedelta

import pytest

from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure, NotDone, Pending, Succeeded
from incident_operator.core.runbooks.reviews import ALL_ASK
from tests.core.builders import keyed, read, usual
from tests.core.machine.simulation import Simulation, failed, unasked

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOST = Pending(5.0, "connection lost")


def lost(simulation: Simulation) -> Simulation:
    """Approved and sent, and no answer came."""
    simulation.script["purge"] = [LOST]
    simulation.go().approve().go()
    assert simulation.states()["purge"] == "Running"
    return simulation


def attempt(simulation: Simulation, name: str) -> int:
    """How often a step was begun."""
    return next(record.attempt for record in simulation.status.steps if record.name == name)


def test_a_keyed_call_is_sent_again_under_its_own_key_while_all_guards_hold() -> None:
    simulation = lost(Simulation(usual(remediate=[keyed("purge")]))).go(timedelta(minutes=1))
    assert simulation.done == ["serve", "purge"]
    assert attempt(simulation, "purge") == 1


def test_a_keyed_call_that_may_have_got_through_keeps_its_key_while_the_service_cannot_be_reached() -> None:
    simulation = Simulation(usual(remediate=[keyed("purge")]))
    simulation.script["purge"] = [Pending(5.0, "connection lost"), *[NotDone(2.0, "connection refused")] * 2]
    simulation.go().approve().go(timedelta(minutes=1))
    assert simulation.done == ["serve", "purge"]
    assert next(record.attempt for record in simulation.status.steps if record.name == "purge") == 1


@pytest.mark.parametrize("retryable", [False, True])
def test_a_keyed_call_that_may_have_got_through_and_is_refused_when_asked_again_is_unknown(retryable: bool) -> None:
    simulation = Simulation(usual(remediate=[keyed("purge", retry={"attempts": 3, "backoff": "1s"})]))
    simulation.script["purge"] = [Pending(5.0, "connection lost"), failed("forbidden", retryable=retryable)]
    simulation.go().approve().go(HOUR)
    assert simulation.states()["purge"] == "Unknown"
    assert "an earlier attempt may have succeeded; sent again, it failed: forbidden" in simulation.status.message
    assert "purge" not in simulation.done


def test_a_keyed_call_whose_approval_runs_out_while_it_is_unclear_is_not_sent_again() -> None:
    simulation = Simulation(usual(remediate=[keyed("purge", timeout="24h")]))
    simulation.script["purge"] = [Pending(600.0, "connection lost")] * 2_000
    simulation.go().approve().go(3 * DAY)
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert "it is not sent again" in simulation.status.message
    assert simulation.ran.count("purge") < 24 * 6 + 2, "no longer than the approval held"


def test_a_keyed_call_is_asked_again_once_it_can_be_shown_again() -> None:
    simulation = lost(Simulation(usual(remediate=[keyed("purge")])))
    simulation.preview_problem = Failure(reasons.NOT_FOUND, "there is no Connection api")
    simulation.go(timedelta(seconds=8))
    assert simulation.states()["purge"] == "Running"
    simulation.preview_problem = None
    simulation.go(timedelta(minutes=1))
    assert simulation.done == ["serve", "purge"]
    assert attempt(simulation, "purge") == 1


def test_a_keyed_call_that_cannot_be_rendered_any_more_is_unknown() -> None:
    act = keyed("purge")
    act["http"]["json"] = {"n": "${steps.look.outputs.n}"}
    simulation = Simulation(usual(diagnose=[read("look", outputs={"n": "result.rows.size()"})], remediate=[act]))
    lost(simulation).forget("look").go(HOUR)
    assert simulation.states()["purge"] == "Unknown"
    assert "it is not sent again: spec.remediate[0].http.json.n: look gave no n" in simulation.status.message
    assert simulation.ran.count("purge") == 1


def test_a_keyed_call_that_would_be_another_one_than_was_approved_is_not_asked_again() -> None:
    simulation = lost(Simulation(usual(remediate=[keyed("purge")])))
    simulation.does["purge"] = "purge something else"
    simulation.go(HOUR)
    assert simulation.states()["purge"] == "Unknown"
    assert "it is not sent again: it is no longer what was approved: purge: what" in simulation.status.message
    assert simulation.ran.count("purge") == 1


def test_a_keyed_call_that_nobody_was_asked_for_is_asked_again_and_not_after_an_abort() -> None:
    simulation = unasked(usual(mitigate=[keyed("purge", protective=True)]), "purge")
    simulation.script["purge"] = [LOST]
    simulation.go()
    aborted = simulation.copy().abort().go(HOUR)
    assert aborted.states()["purge"] == "Unknown"
    assert aborted.ran.count("purge") == 1
    assert simulation.go(timedelta(minutes=1)).done == ["purge"]


def test_a_keyed_call_that_the_settings_do_not_allow_any_more_is_not_asked_again() -> None:
    simulation = unasked(usual(mitigate=[keyed("purge", protective=True)]), "purge")
    simulation.script["purge"] = [LOST]
    simulation.go().leave = ALL_ASK
    simulation.go(HOUR)
    assert simulation.states()["purge"] == "Unknown"
    assert "it is not sent again: its approval has ended" in simulation.status.message


def test_an_approval_of_another_step_does_not_let_a_keyed_call_be_asked_again() -> None:
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"})]
    purge = keyed("purge", when="steps.look.outputs.bad", protective=True)
    simulation = unasked(usual(diagnose=diagnose, mitigate=[purge]), "purge").go().approve()
    simulation.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    simulation.go().policy_problem = ""
    simulation.script |= {"look": [Succeeded({"rows": [{}]}, "1 row")], "purge": [LOST]}
    simulation.retry().go()
    assert (simulation.states()["purge"], simulation.status.approvals[-1].state.value) == ("Running", "Active")
    simulation.leave = ALL_ASK
    simulation.go()
    assert simulation.states()["purge"] == "Unknown"
    assert "it is not sent again: it is not part of what is approved now" in simulation.status.message


def test_a_keyed_call_that_restores_is_asked_again_although_the_alert_has_resolved() -> None:
    simulation = unasked(usual(mitigate=[], remediate=[], restore=[keyed("purge")]), "purge")
    simulation.script["purge"] = [LOST]
    simulation.go().resolve().go(timedelta(minutes=1))
    assert simulation.done == ["purge"]
    assert attempt(simulation, "purge") == 1


def test_a_keyed_undo_needs_no_approval_to_be_asked_again() -> None:
    act = keyed("purge", approval={}, undo={"http": {**keyed("")["http"], "path": "/undo"}})
    simulation = Simulation(usual(mitigate=[act], remediate=[]))
    simulation.script["undo-purge"] = [LOST]
    simulation.go().approve().go().resolve().go(timedelta(minutes=1))
    assert simulation.done == ["purge", "undo-purge"]
    assert attempt(simulation, "undo-purge") == 1
