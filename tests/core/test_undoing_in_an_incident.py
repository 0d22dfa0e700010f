"""What is taken back, when, in which order, and what becomes of an undo that fails."""

from datetime import timedelta

import pytest

from core.builders import UNDO, post, read, runbook, scale, sql, usual
from core.simulator import World, failed, unasked
from incident_operator.api.incident import Phase, UndoState
from incident_operator.core import reasons
from incident_operator.core.machine import status
from incident_operator.core.outcomes import Failure

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_a_failed_mitigation_takes_back_what_was_done_the_newest_first():
    world = World(usual(mitigate=[scale("grow"), sql("serve", undo=UNDO), sql("last", undo=UNDO)]))
    world.script["last"] = [failed()]
    world.go()
    assert world.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert world.status.phase is Phase.NEEDS_HUMAN
    assert "Undone: grow, serve." in world.status.message


def test_a_mitigation_that_failed_after_its_effect_is_undone_and_still_stops():
    world = World(usual(**TWO))
    world.script["serve"] = [failed("expected 1 row", effected=True)]
    world.go()
    assert world.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert world.states()["serve"] == "Failed"
    assert world.status.phase is Phase.NEEDS_HUMAN
    world.retry().go()
    assert world.done[4:] == ["grow", "serve"]
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_failed_verification_takes_back_only_what_says_so():
    mitigate = [scale("grow", undoOn=["Failed"]), sql("serve", undo=UNDO)]
    world = World(usual(mitigate=mitigate))
    world.script["check"] = [failed()]
    world.go().approve().go()
    assert world.done == ["grow", "serve", "rebuild", "undo-grow"]
    assert world.status.reason == reasons.VERIFICATION_FAILED
    assert "Undone: grow. Still in place: serve." in world.status.message
    world.resolve().go()
    assert world.status.phase is Phase.NEEDS_HUMAN
    world.retry().go()
    assert world.done[4:] == ["undo-serve"]
    assert world.status.phase is Phase.RESOLVED


def test_restore_takes_back_in_reverse_order_after_its_own_steps():
    world = unasked(usual(**TWO, restore=[sql("replay")]), "replay").go().approve().go().resolve().go()
    assert world.done == ["grow", "serve", "rebuild", "replay", "undo-serve", "undo-grow"]


def test_an_undo_that_fails_calls_a_person_who_may_put_it_right_by_hand():
    world = World(usual(**TWO))
    world.script["undo-serve"] = [failed("7 replicas now, not 5; left alone")]
    world.go().approve().go().resolve().go()
    assert world.status.reason == reasons.RESTORE_FAILED
    assert world.status.message.startswith("The undo of serve failed: 7 replicas now, not 5; left alone.")
    assert world.states()["serve"] == "UndoFailed"
    world.tell("done").go()
    assert world.done == ["grow", "serve", "rebuild", "undo-grow"]
    assert world.status.phase is Phase.RESOLVED


@pytest.mark.parametrize("answer", ["retry", "not-done"])
def test_an_undo_that_failed_is_tried_again_alone(answer):
    world = World(usual(**TWO))
    world.script["undo-serve"] = [failed()]
    world.go().approve().go().resolve().go()
    (world.retry() if answer == "retry" else world.tell(answer)).go()
    assert world.done == ["grow", "serve", "rebuild", "undo-serve", "undo-grow"]
    assert world.status.phase is Phase.RESOLVED


def test_a_mitigation_that_was_taken_back_and_made_again_is_taken_back_again():
    world = World(usual(**TWO))
    world.script["serve"] = [failed()]
    world.go().retry().go().approve().go().resolve().go()
    assert world.done == ["grow", "undo-grow", "grow", "serve", "rebuild", "undo-serve", "undo-grow"]
    assert world.status.phase is Phase.RESOLVED


def test_an_undo_that_may_be_tried_again_is_tried_after_its_pause():
    world = World(usual(mitigate=[scale("grow", retry={"attempts": 2, "backoff": "1m"})]))
    world.script["undo-grow"] = [failed(retryable=True)]
    world.go().approve().go().resolve().go(timedelta(seconds=59))
    assert world.done == ["grow", "rebuild"]
    world.go(timedelta(seconds=1))
    assert world.done == ["grow", "rebuild", "undo-grow"]
    assert world.status.phase is Phase.RESOLVED


def test_an_undo_that_the_runbook_does_not_know_is_not_waited_for():
    world = unasked(runbook(mitigate=[post("revoke", protective=True)]), "revoke").go()
    current = status.update(world.status, "revoke", undo=UndoState.PENDING)
    world.stored = world.stored.model_copy(update={"status": current})
    assert world.resolve().go().status.phase is Phase.RESOLVED
    assert world.done == ["revoke"]


class CannotShow(World):
    """What would be done in `replay` cannot be told."""

    def preview(self, step):
        return Failure(reasons.FORBIDDEN, "not allowed") if step == "replay" else super().preview(step)


def restoring(kind: type[World] = World, **step) -> World:
    """An Incident whose mitigation is in place, once its alert has resolved: a step of restore is next."""
    look = read("look", outputs={"bad": "result.rows.size() > 0"})
    steps = usual(diagnose=[look], remediate=[], restore=[sql("replay", **step)])
    world = kind(steps, script={"look": [failed()]}).go()
    assert world.done == ["serve"]
    return world


def without_policy(world: World) -> World:
    world.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    return world


@pytest.mark.parametrize(
    ("world", "told"),
    [
        (lambda: restoring(CannotShow), "The plan for replay cannot be rendered: replay: not allowed Retry: kubectl annotate"),
        (lambda: without_policy(restoring()), "approvals cannot be trusted: policy incident-approval is missing."),
        (lambda: restoring(when="steps.look.outputs.bad"), "Cannot tell whether replay is needed: "),
    ],
    ids=["its plan fails", "approvals cannot be trusted", "its condition is unknown"],
)  # fmt: skip
def test_what_is_temporary_is_taken_back_before_a_step_of_restore_that_nobody_can_be_asked_for_calls_a_person(
    world, told
):
    stopped = world().resolve().go()
    assert stopped.done == ["serve", "undo-serve"]
    assert (stopped.status.phase, stopped.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
    assert stopped.status.message.startswith(told)
    assert "Still in place" not in stopped.status.message


def test_a_step_of_restore_that_could_not_be_asked_for_is_asked_for_once_it_can_be():
    world = without_policy(restoring()).resolve().go()
    world.policy_problem = ""
    assert world.retry().go().pending.steps == ["replay"]
    assert world.status.steps[-1].name == "undo-serve"
    assert world.approve().go().done == ["serve", "undo-serve", "replay"]
    assert world.status.phase is Phase.RESOLVED


def test_approvals_that_lose_their_policy_hold_up_no_undo_either():
    world = restoring().resolve().go()
    without_policy(world.approve()).go()
    assert world.done == ["serve", "undo-serve"]
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
