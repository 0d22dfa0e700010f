"""Approval in the life of an Incident: asked, answered, expired, voided, used up."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from core.builders import START, UNDO, by_hand, job, post, read, runbook, scale, sql, usual
from core.simulator import World, failed, unasked, unfinished
from incident_operator.api.incident import OPENED_BY, Phase, Verb
from incident_operator.core import approval, reasons
from incident_operator.core.action import Preview
from incident_operator.core.machine import machine, undoing
from incident_operator.core.machine.carry_out import Do, How
from incident_operator.core.machine.view import Blocked, Transition
from incident_operator.core.outcomes import NotDone, Succeeded, Undetermined
from incident_operator.core.status import present

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_an_alert_that_resolves_before_approval_leaves_the_destructive_step_out():
    world = World(usual()).go().resolve().go()
    assert world.done == ["serve", "undo-serve"]
    assert world.states() == {
        "look": "Succeeded",
        "serve": "Undone",
        "rebuild": "Skipped",
        "check": "Succeeded",
        "undo-serve": "Succeeded",
    }
    assert world.status.phase is Phase.RESOLVED
    assert world.status.approvals[-1].reason == "the alert resolved before this started"


def test_a_resolved_alert_stops_before_the_next_destructive_step_of_an_approved_plan():
    world = World(usual(remediate=[job("rebuild"), sql("publish")]))
    world.script["rebuild"] = [unfinished(), unfinished()]
    world.go().approve().go()
    world.resolve().go(HOUR)
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.states()["publish"] == "Skipped"
    assert world.status.phase is Phase.RESOLVED


def test_an_approval_that_nobody_gives_is_asked_for_three_times_then_a_person_is_called():
    world = World(usual()).go()
    first = world.pending.plan_hash
    world.go(timedelta(minutes=30))
    assert (world.pending.asked, world.pending.plan_hash == first) == (2, False)
    world.go(HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert world.status.waiting_for == "a person: nobody approved"
    world.retry().go()
    assert world.pending.asked == 1


def test_a_person_who_asks_again_is_asked_three_times_again():
    world = World(usual()).go().go(2 * HOUR).retry().go()
    assert world.pending.asked == 1
    world.go(2 * HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert [record.state.value for record in world.status.approvals] == ["Expired"] * 6


def test_a_question_that_was_withdrawn_in_between_is_asked_for_the_first_time_again():
    world = World(usual()).go().go(timedelta(minutes=30))
    assert world.pending.asked == 2
    world.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.go()
    world.gone = None
    assert world.go().pending.asked == 1


def test_what_was_not_asked_cannot_be_answered():
    with pytest.raises(ValueError, match="no plan is pending"):
        approval.expire(World(usual()).status, START)


def test_a_plan_that_its_trial_voids_says_how_to_agree_to_a_bound(monkeypatch):
    remedy = "to approve any number up to maxRows, set rowsBind: upToMaxRows on the step"
    counts = itertools.count(1)
    world = World(usual(remediate=[sql("publish")]))
    growing = lambda *_: Preview("UPDATE", in_trial=f"{next(counts)} rows", trial_remedy=remedy)  # noqa: E731
    monkeypatch.setattr(World, "preview", growing)
    world.go().approve().go()
    assert world.pending is not None
    assert world.pending.changed.endswith(f"rows ({remedy})")
    assert "publish" not in world.done


def test_an_approval_after_its_time_counts_for_nothing():
    world = World(usual()).go().approve()
    world.now += timedelta(minutes=30)
    world.go()
    assert world.done == ["serve"]
    assert world.pending.asked == 2


def test_an_old_approval_says_nothing_about_a_new_plan():
    world = World(usual()).go()
    old = world.pending.plan_hash
    world.go(timedelta(minutes=30)).annotate(Verb.APPROVE, old[:12]).go()
    assert world.done == ["serve"]


@pytest.mark.parametrize(("token", "by"), [("", "alice"), ("7f3a", "alice"), ("x" * 64, "alice"), ("ok", "")])
def test_what_does_not_name_the_plan_approves_nothing(token, by):
    world = World(usual()).go()
    shown = world.pending.plan_hash[:7] if token == "7f3a" else token
    world.annotate(Verb.APPROVE, shown, by).go()
    assert world.done == ["serve"]


def test_who_is_excluded_approves_nothing():
    world = World(usual(), excluded=("bob@dawsos.com",)).go()
    world.approve("bob@dawsos.com").go()
    assert world.done == ["serve"]
    world.approve("alice@dawsos.com").go()
    assert world.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    "name", ["Frank  van Dam", " frank", "frank ", "fr\u200bank", "fr\u202eank", "fr\tank", "fr\x1bank"]
)
def test_a_name_is_excluded_exactly_as_it_is(name):
    world = World(usual(), excluded=(name,)).go()
    world.approve(name).go()
    assert (world.pending.excluded, world.done) == ([name], ["serve"])


def test_everybody_who_edited_the_runbook_is_excluded():
    world = World(usual(), excluded=("alice@dawsos.com", "bob@dawsos.com")).go()
    assert world.pending.excluded == ["alice@dawsos.com", "bob@dawsos.com"]
    assert world.pending.excluded_because == "alice@dawsos.com edited the runbook; bob@dawsos.com edited the runbook"
    world.approve("alice@dawsos.com").go().approve("bob@dawsos.com").go()
    assert world.done == ["serve"]
    world.approve("carol@dawsos.com").go()
    assert world.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    ("editors", "told"),
    [
        (None, "edit it once so that the policies record who wrote it"),
        (tuple(f"{each}@dawsos.com" for each in range(64)), "somebody else has to review it"),
        (("a" * 254,), "somebody else has to review it"),
    ],
    ids=["nobody is known", "too many are known", "a name is too long"],
)
def test_where_its_editors_cannot_be_excluded_nobody_is_asked(editors, told):
    world = World(usual(), excluded=editors).go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_POLICY_MISSING)
    assert told in world.status.message
    assert (world.status.pending_approval, world.done) == (None, ["serve"])


@pytest.mark.parametrize(("length", "asked"), [(253, True), (254, False)])
def test_whoever_opened_it_under_a_name_that_cannot_be_excluded_keeps_nobody_waiting(length, asked):
    name, opened = "a" * length, by_hand()
    opened.metadata.annotations[OPENED_BY] = name
    world = World(usual(), opened).go()
    assert (world.status.reason == reasons.APPROVAL_POLICY_MISSING) is not asked
    assert (world.pending.excluded == [name]) if asked else ("cannot be excluded" in world.status.message)


def test_an_approval_covers_nothing_once_the_editors_are_not_known():
    world = World(usual()).go().approve()
    world.excluded = None
    world.go()
    assert (world.status.reason, world.done) == (reasons.APPROVAL_POLICY_MISSING, ["serve"])


def test_a_rejected_plan_stops_and_can_be_asked_for_again():
    world = World(usual()).go().reject().go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.REJECTED)
    assert world.status.message.startswith(
        "rebuild was rejected by alice@dawsos.com and not done. Still in place: serve."
    )
    world.go(24 * HOUR)
    assert world.done == ["serve"]
    world.retry().go().approve().go()
    assert world.done == ["serve", "rebuild"]


def test_a_rejected_step_that_may_be_skipped_is_skipped():
    world = World(usual(remediate=[job("rebuild", approval={"onReject": "skip"})])).go().reject().go()
    assert world.states()["rebuild"] == "Skipped"
    assert world.status.phase is Phase.VERIFYING


def test_each_rejected_step_follows_its_own_rule():
    steps = [job("rebuild", approval={"onReject": "skip"}), sql("publish")]
    world = World(usual(remediate=steps)).go().reject().go()
    assert world.states()["rebuild"] == "Skipped"
    assert world.states()["publish"] == "Rejected"
    assert world.status.phase is Phase.NEEDS_HUMAN


def test_a_rejected_restore_step_stays_rejected_although_the_alert_is_gone():
    world = World(usual(restore=[sql("replay", approval={})])).go().resolve().go()
    assert world.pending.steps == ["replay"]
    world.reject().go(24 * HOUR)
    assert world.status.phase is Phase.NEEDS_HUMAN
    assert world.done == ["serve", "undo-serve"]


def test_a_restore_step_that_nobody_approves_calls_a_person_for_good():
    world = World(usual(restore=[sql("replay", approval={})])).go().resolve().go(5 * HOUR)
    assert world.status.reason == reasons.APPROVAL_EXPIRED
    assert len(world.status.approvals) == 4


def test_a_plan_that_drifted_is_void_and_asked_again_showing_the_difference():
    world = World(usual()).go().approve()
    world.does["rebuild"] = "do something else"
    world.go()
    assert world.done == ["serve"]
    assert world.pending.changed == "rebuild: what do rebuild → do something else"
    assert "Asked again because: rebuild: what do rebuild → do something else" in world.status.message
    assert [record.state.value for record in world.status.approvals] == ["Voided"]
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


def test_a_count_that_differs_below_an_approved_bound_voids_nothing():
    counts = itertools.count(1)

    class Growing(World):
        def preview(self, step: str) -> Preview:
            return Preview("do it", in_trial="up to 9 rows", in_trial_counted=f"{next(counts)} rows")

    world = Growing(usual()).go()
    entry = world.pending.plan[0]
    assert (entry.in_trial, entry.in_trial_counted) == ("up to 9 rows", "2 rows")
    world.approve().go()
    assert world.done == ["serve", "rebuild"]
    assert world.status.approvals[-1].state.value != "Voided"


class Counting(World):
    """Its trials count the same until something is acted upon, then more; acts remember what they are held to."""

    held: ClassVar[dict[str, str | None]] = {}

    def preview(self, step: str) -> Preview:
        return Preview("do it", in_trial=f"{len(self.held)} rows" if step == "rebuild" else "0 rows")

    def answer(self, seen, request):
        if isinstance(request, Do) and request.how is How.ACT and request.call.step != "serve":
            self.held = {**self.held, request.call.step: request.preview.in_trial}
        return super().answer(seen, request)


def test_the_first_step_of_a_plan_is_held_to_what_its_trial_counted_and_later_ones_are_not():
    world = Counting(usual(remediate=[sql("drain"), sql("publish")])).go().approve().go()
    assert world.done == ["serve", "drain", "publish"]
    assert world.held == {"drain": "0 rows", "publish": None}


def test_a_table_that_moves_at_the_last_moment_is_asked_about_again():
    world = Counting(usual())
    world.script["rebuild"] = [NotDone(0.0, "would have been 1 row, in trial it was 0 rows; rolled back")]
    world.go().approve().go()
    assert world.done == ["serve"]
    assert world.pending.changed == "rebuild: in trial 0 rows → 1 rows"


def test_an_approval_given_too_long_ago_is_asked_for_again():
    steps = [sql("drain", retry={"attempts": 2, "backoff": "5s"}), sql("publish")]
    world = World(usual(remediate=steps))
    world.script["drain"] = [failed(retryable=True)]
    world.go().approve().go()
    assert world.states()["drain"] == "Pending"
    world.now += HOUR
    world.go()
    assert world.done == ["serve"]
    assert world.pending.changed == "the approval was given too long ago"


def test_an_approval_that_does_not_say_until_when_covers_nothing():
    world = World(usual()).go().approve()
    given = machine.decide(world.view(world.status))
    assert isinstance(given, Transition)
    endless = given.status.approvals[-1].model_copy(update={"expires_at": None})
    world.write(world.view(given.status.model_copy(update={"approvals": [endless]})))
    world.go()
    assert world.done == ["serve"]
    assert world.pending.changed == "the approval was given too long ago"


def test_a_step_that_may_be_tried_again_is_under_the_same_approval():
    world = World(usual(remediate=[sql("drain", retry={"attempts": 2, "backoff": "5s"})]))
    world.script["drain"] = [failed(retryable=True)]
    world.go().approve().go()
    assert world.status.message == "drain failed (connection refused) and is tried again at 00:30:05 UTC."
    assert world.status.waiting_for == "drain again at 00:30"
    world.go(timedelta(seconds=5))
    assert world.done == ["serve", "drain"]


@pytest.mark.parametrize("on_failure", ["stop", "escalate", None])
def test_an_approval_ends_with_the_first_step_that_fails(on_failure):
    asked = {"onFailure": on_failure} if on_failure else {}
    world = World(usual(remediate=[sql("drain", **asked), job("rebuild")]))
    world.script["drain"] = [failed()]
    world.go().approve().go()
    assert world.done == ["serve"]
    assert (world.status.phase, world.status.approvals[-1].state.value) == (Phase.NEEDS_HUMAN, "Consumed")
    assert world.retry().go().pending.steps == ["drain", "rebuild"]


@pytest.mark.parametrize("effected", [False, True])
def test_the_rest_of_a_plan_goes_on_under_its_approval_where_a_step_says_that_it_does_after_a_failure(effected):
    world = World(usual(remediate=[sql("drain", onFailure="continue"), job("rebuild"), sql("replay")]))
    world.script["drain"] = [failed(effected=effected)]
    world.go().approve().go()
    assert world.done[-2:] == ["rebuild", "replay"]
    (given,) = world.status.approvals
    assert (given.state.value, given.reason) == ("Consumed", "drain failed")


def test_the_last_step_of_a_plan_ends_its_approval_also_where_it_fails_and_the_runbook_goes_on():
    world = World(usual(remediate=[sql("drain"), job("rebuild", onFailure="continue")]))
    world.script["rebuild"] = [failed()]
    world.go().approve().go()
    assert world.status.approvals[-1].state.value == "Consumed"
    assert world.status.phase is Phase.VERIFYING


def test_a_step_that_may_have_happened_ends_the_approval_whatever_it_says_of_a_failure():
    world = World(usual(remediate=[post("replay", onFailure="continue"), job("rebuild")]))
    world.script["replay"] = [Undetermined("connection lost")]
    world.go().approve().go()
    assert world.done == ["serve"]
    assert world.status.approvals[-1].state.value == "Consumed"


def test_an_approval_does_not_outlive_a_step_that_nobody_can_tell_about():
    world = World(usual(remediate=[post("replay"), job("rebuild")]))
    world.script["replay"] = [Undetermined("connection lost")]
    world.go().approve().go().tell("not-done").go()
    assert world.done == ["serve"]
    assert world.pending.steps == ["replay", "rebuild"]


def test_an_approval_ends_when_its_last_step_turns_out_not_to_be_needed():
    # the second step's condition changes under way: the alert's count is part of it
    second = job("rebuild", when="steps.drain.state != 'Succeeded'")
    world = World(usual(remediate=[sql("drain"), second])).go().approve().go()
    assert world.states()["rebuild"] == "Skipped"
    assert world.status.approvals[-1].state.value == "Consumed"


def test_a_job_that_fails_calls_a_person_and_is_tried_again_only_with_a_new_approval():
    world = World(usual())
    world.script["rebuild"] = [failed("Job rebuild failed: exit code 1", effected=True)]
    world.go().approve().go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.STEP_FAILED)
    assert world.status.message.startswith("Remediate step rebuild failed: Job rebuild failed: exit code 1.")
    world.retry().go()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    world.approve().go()
    assert world.done == ["serve", "rebuild", "rebuild"]
    assert len({effect.key for effect in world.effects}) == 3


def test_protective_acts_ask_unless_the_settings_allow_them():
    revoke = post("revoke", protective=True)
    assert World(runbook(mitigate=[revoke])).go().pending.steps == ["revoke"]
    assert unasked(runbook(mitigate=[revoke]), "revoke").go().done == ["revoke"]


def test_approvals_that_cannot_be_trusted_stop_destructive_steps():
    world = World(usual()).go().approve()
    world.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    world.go()
    assert world.done == ["serve"]
    assert world.status.reason == reasons.APPROVAL_POLICY_MISSING
    assert world.status.waiting_for == "a person: approvals cannot be trusted"
    world.policy_problem = ""
    world.retry().go()
    assert world.done == ["serve", "rebuild"]


def test_an_approval_is_void_once_a_step_before_its_own_has_to_be_asked_for():
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"})]
    drain = post("drain", when="steps.look.outputs.bad", protective=True)
    world = World(usual(diagnose=diagnose, mitigate=[drain])).go().approve()
    world.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    world.go()
    world.policy_problem, world.script["look"] = "", [Succeeded({"rows": [{}]}, "1 row")]
    world.retry().go()
    assert (world.pending.steps, world.pending.changed) == (["drain"], "")
    world.approve().go()
    assert world.pending.steps == ["rebuild"]
    assert world.pending.changed == "drain has to be done first, and was not approved with it"
    assert [(record.steps, record.state.value, record.by) for record in world.status.approvals] == [
        (["rebuild"], "Voided", "alice@dawsos.com"),
        (["drain"], "Consumed", "alice@dawsos.com"),
    ]
    assert world.done == ["drain"]


def test_a_rejected_step_stops_even_where_its_failure_would_not():
    world = World(usual(remediate=[job("rebuild", onFailure="continue")])).go().reject().go()
    assert world.status.reason == reasons.REJECTED


def test_an_incident_opened_by_hand_waits_for_the_approval_of_its_restore_step():
    world = World(usual(restore=[sql("replay", approval={})]), by_hand()).go().approve().go()
    assert world.pending.steps == ["replay"]
    world.approve().go()
    assert world.done == ["serve", "rebuild", "replay", "undo-serve"]
    assert world.status.phase is Phase.RESOLVED


@pytest.mark.parametrize(
    ("second", "plans"),
    [
        (sql("publish"), [["rebuild", "publish"]]),
        (sql("publish", approval={"alone": True}), [["rebuild"], ["publish"]]),
        (sql("publish", when="steps.rebuild.state != 'Failed'"), [["rebuild"], ["publish"]]),
        (sql("never", when="false"), [["rebuild"], ["last"]]),
        (read("look-again"), [["rebuild"], ["last"]]),
    ],
)
def test_one_plan_covers_what_follows_and_can_be_rendered_now(second, plans):
    last = [] if second["name"] == "publish" else [sql("last")]
    world = World(usual(remediate=[job("rebuild"), second, *last]))
    for steps in plans:
        assert world.go().pending.steps == steps
        world.approve()
    assert world.go().status.phase is Phase.VERIFYING


def test_a_step_that_is_asked_for_alone_shares_its_plan_with_nothing_that_follows():
    world = World(usual(remediate=[job("rebuild", approval={"alone": True}), sql("publish")])).go()
    assert world.pending.steps == ["rebuild"]
    assert world.approve().go().pending.steps == ["publish"]


def test_a_plan_never_covers_what_was_done_already():
    diagnose = [read("look", outputs={"full": "result.rows.size() > 0"})]
    remediate = [sql("drain", when="steps.look.outputs.full"), job("rebuild")]
    world = World(usual(diagnose=diagnose, remediate=remediate))
    world.script["check"] = [failed()]
    world.go().approve().go()
    world.script["look"] = [Succeeded({"rows": [{}]}, "1 row")]
    assert world.retry().go().pending.steps == ["drain"]
    world.approve().go()
    assert world.done == ["serve", "rebuild", "drain"]


@pytest.mark.parametrize("edited", [False, True])
def test_whoever_decides_is_told_that_the_runbook_was_edited_since(edited):
    world = World(usual()).go()
    seen = world.view(world.status)
    seen = replace(seen, runbook=replace(seen.pinned, edited=edited))
    told = " was edited after this Incident began; this plan uses the version from before the edit"
    assert present.present(seen)[0].message.endswith(f"{told}.") is edited
    unasked_yet = seen.with_status(seen.status.model_copy(update={"pending_approval": None}))
    asked = undoing.asked(unasked_yet, world.pending.plan, "nonce").pending_approval
    assert asked.edited_since.endswith(told) is edited
