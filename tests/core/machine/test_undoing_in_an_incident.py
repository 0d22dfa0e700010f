"""What is taken back, when, in which order, and what becomes of an undo that fails."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import Phase, UndoState
from incident_operator.core import reasons
from incident_operator.core.machine import status
from incident_operator.core.outcomes import Failure
from tests.core.builders import UNDO, post, read, runbook, scale, sql, usual
from tests.core.machine.simulation import Simulation, failed, unasked

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_a_failed_mitigation_takes_back_what_was_done_the_newest_first():
    simulation = Simulation(usual(mitigate=[scale("grow"), sql("serve", undo=UNDO), sql("last", undo=UNDO)]))
    simulation.script["last"] = [failed()]
    simulation.go()
    assert simulation.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    assert "Undone: grow, serve." in simulation.status.message


def test_a_mitigation_that_failed_after_its_effect_is_undone_and_still_stops():
    simulation = Simulation(usual(**TWO))
    simulation.script["serve"] = [failed("expected 1 row", effected=True)]
    simulation.go()
    assert simulation.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert simulation.states()["serve"] == "Failed"
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    simulation.retry().go()
    assert simulation.done[4:] == ["grow", "serve"]
    assert simulation.status.phase is Phase.AWAITING_APPROVAL


def test_failed_verification_takes_back_only_what_says_so():
    mitigate = [scale("grow", undoOn=["Failed"]), sql("serve", undo=UNDO)]
    simulation = Simulation(usual(mitigate=mitigate))
    simulation.script["check"] = [failed()]
    simulation.go().approve().go()
    assert simulation.done == ["grow", "serve", "rebuild", "undo-grow"]
    assert simulation.status.reason == reasons.VERIFICATION_FAILED
    assert "Undone: grow. Still in place: serve." in simulation.status.message
    simulation.resolve().go()
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    simulation.retry().go()
    assert simulation.done[4:] == ["undo-serve"]
    assert simulation.status.phase is Phase.RESOLVED


def test_restore_takes_back_in_reverse_order_after_its_own_steps():
    simulation = unasked(usual(**TWO, restore=[sql("replay")]), "replay").go().approve().go().resolve().go()
    assert simulation.done == ["grow", "serve", "rebuild", "replay", "undo-serve", "undo-grow"]


def test_an_undo_that_fails_calls_a_person_who_may_put_it_right_by_hand():
    simulation = Simulation(usual(**TWO))
    simulation.script["undo-serve"] = [failed("7 replicas now, not 5; left alone")]
    simulation.go().approve().go().resolve().go()
    assert simulation.status.reason == reasons.RESTORE_FAILED
    assert simulation.status.message.startswith("The undo of serve failed: 7 replicas now, not 5; left alone.")
    assert simulation.states()["serve"] == "UndoFailed"
    simulation.tell("done").go()
    assert simulation.done == ["grow", "serve", "rebuild", "undo-grow"]
    assert simulation.status.phase is Phase.RESOLVED


@pytest.mark.parametrize("answer", ["retry", "not-done"])
def test_an_undo_that_failed_is_tried_again_alone(answer):
    simulation = Simulation(usual(**TWO))
    simulation.script["undo-serve"] = [failed()]
    simulation.go().approve().go().resolve().go()
    (simulation.retry() if answer == "retry" else simulation.tell(answer)).go()
    assert simulation.done == ["grow", "serve", "rebuild", "undo-serve", "undo-grow"]
    assert simulation.status.phase is Phase.RESOLVED


def test_a_mitigation_that_was_taken_back_and_made_again_is_taken_back_again():
    simulation = Simulation(usual(**TWO))
    simulation.script["serve"] = [failed()]
    simulation.go().retry().go().approve().go().resolve().go()
    assert simulation.done == ["grow", "undo-grow", "grow", "serve", "rebuild", "undo-serve", "undo-grow"]
    assert simulation.status.phase is Phase.RESOLVED


def test_an_undo_that_may_be_tried_again_is_tried_after_its_pause():
    simulation = Simulation(usual(mitigate=[scale("grow", retry={"attempts": 2, "backoff": "1m"})]))
    simulation.script["undo-grow"] = [failed(retryable=True)]
    simulation.go().approve().go().resolve().go(timedelta(seconds=59))
    assert simulation.done == ["grow", "rebuild"]
    simulation.go(timedelta(seconds=1))
    assert simulation.done == ["grow", "rebuild", "undo-grow"]
    assert simulation.status.phase is Phase.RESOLVED


def test_an_undo_that_the_runbook_does_not_know_is_not_waited_for():
    simulation = unasked(runbook(mitigate=[post("revoke", protective=True)]), "revoke").go()
    current = status.update(simulation.status, "revoke", undo=UndoState.PENDING)
    simulation.stored = simulation.stored.model_copy(update={"status": current})
    assert simulation.resolve().go().status.phase is Phase.RESOLVED
    assert simulation.done == ["revoke"]


class CannotShow(Simulation):
    """What would be done in `replay` cannot be told."""

    def preview(self, step):
        return Failure(reasons.FORBIDDEN, "not allowed") if step == "replay" else super().preview(step)


def restoring(kind: type[Simulation] = Simulation, **step) -> Simulation:
    """An Incident whose mitigation is in place, once its alert has resolved: a step of restore is next."""
    look = read("look", outputs={"bad": "result.rows.size() > 0"})
    steps = usual(diagnose=[look], remediate=[], restore=[sql("replay", **step)])
    simulation = kind(steps, script={"look": [failed()]}).go()
    assert simulation.done == ["serve"]
    return simulation


def without_policy(simulation: Simulation) -> Simulation:
    simulation.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    return simulation


@pytest.mark.parametrize(
    ("simulation", "told"),
    [
        (lambda: restoring(CannotShow), "The plan for replay cannot be rendered: replay: not allowed Retry: kubectl annotate"),
        (lambda: without_policy(restoring()), "approvals cannot be trusted: policy incident-approval is missing."),
        (lambda: restoring(when="steps.look.outputs.bad"), "Cannot tell whether replay is needed: "),
    ],
    ids=["its plan fails", "approvals cannot be trusted", "its condition is unknown"],
)  # fmt: skip
def test_what_is_temporary_is_taken_back_before_a_step_of_restore_that_nobody_can_be_asked_for_calls_a_person(
    simulation, told
):
    stopped = simulation().resolve().go()
    assert stopped.done == ["serve", "undo-serve"]
    assert (stopped.status.phase, stopped.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
    assert stopped.status.message.startswith(told)
    assert "Still in place" not in stopped.status.message


def test_a_step_of_restore_that_could_not_be_asked_for_is_asked_for_once_it_can_be():
    simulation = without_policy(restoring()).resolve().go()
    simulation.policy_problem = ""
    assert simulation.retry().go().pending.steps == ["replay"]
    assert simulation.status.steps[-1].name == "undo-serve"
    assert simulation.approve().go().done == ["serve", "undo-serve", "replay"]
    assert simulation.status.phase is Phase.RESOLVED


def test_approvals_that_lose_their_policy_hold_up_no_undo_either():
    simulation = restoring().resolve().go()
    without_policy(simulation.approve()).go()
    assert simulation.done == ["serve", "undo-serve"]
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
