"""Approval in the life of an Incident: asked, answered, expired, voided, used up."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from incident_operator.api.incident import OPENED_BY, Phase, Verb
from incident_operator.core import approval, reasons
from incident_operator.core.action import Preview
from incident_operator.core.machine import machine, undoing
from incident_operator.core.machine.carry_out import Do, How
from incident_operator.core.machine.view import Blocked, Transition
from incident_operator.core.outcomes import NotDone, Succeeded, Undetermined
from incident_operator.core.status import present
from tests.core.builders import START, UNDO, by_hand, job, post, read, runbook, scale, sql, usual
from tests.core.machine.simulation import Simulation, failed, unasked, unfinished

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_an_alert_that_resolves_before_approval_leaves_the_destructive_step_out():
    simulation = Simulation(usual()).go().resolve().go()
    assert simulation.done == ["serve", "undo-serve"]
    assert simulation.states() == {
        "look": "Succeeded",
        "serve": "Undone",
        "rebuild": "Skipped",
        "check": "Succeeded",
        "undo-serve": "Succeeded",
    }
    assert simulation.status.phase is Phase.RESOLVED
    assert simulation.status.approvals[-1].reason == "the alert resolved before this started"


def test_a_resolved_alert_stops_before_the_next_destructive_step_of_an_approved_plan():
    simulation = Simulation(usual(remediate=[job("rebuild"), sql("publish")]))
    simulation.script["rebuild"] = [unfinished(), unfinished()]
    simulation.go().approve().go()
    simulation.resolve().go(HOUR)
    assert simulation.done == ["serve", "rebuild", "undo-serve"]
    assert simulation.states()["publish"] == "Skipped"
    assert simulation.status.phase is Phase.RESOLVED


def test_an_approval_that_nobody_gives_is_asked_for_three_times_then_a_person_is_called():
    simulation = Simulation(usual()).go()
    first = simulation.pending.plan_hash
    simulation.go(timedelta(minutes=30))
    assert (simulation.pending.asked, simulation.pending.plan_hash == first) == (2, False)
    simulation.go(HOUR)
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert simulation.status.waiting_for == "a person: nobody approved"
    simulation.retry().go()
    assert simulation.pending.asked == 1


def test_a_person_who_asks_again_is_asked_three_times_again():
    simulation = Simulation(usual()).go().go(2 * HOUR).retry().go()
    assert simulation.pending.asked == 1
    simulation.go(2 * HOUR)
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert [record.state.value for record in simulation.status.approvals] == ["Expired"] * 6


def test_a_question_that_was_withdrawn_in_between_is_asked_for_the_first_time_again():
    simulation = Simulation(usual()).go().go(timedelta(minutes=30))
    assert simulation.pending.asked == 2
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.go()
    simulation.gone = None
    assert simulation.go().pending.asked == 1


def test_what_was_not_asked_cannot_be_answered():
    with pytest.raises(ValueError, match="no plan is pending"):
        approval.expire(Simulation(usual()).status, START)


def test_a_plan_that_its_trial_voids_says_how_to_agree_to_a_bound(monkeypatch):
    remedy = "to approve any number up to maxRows, set rowsBind: upToMaxRows on the step"
    counts = itertools.count(1)
    simulation = Simulation(usual(remediate=[sql("publish")]))
    growing = lambda *_: Preview("UPDATE", in_trial=f"{next(counts)} rows", trial_remedy=remedy)  # noqa: E731
    monkeypatch.setattr(Simulation, "preview", growing)
    simulation.go().approve().go()
    assert simulation.pending is not None
    assert simulation.pending.changed.endswith(f"rows ({remedy})")
    assert "publish" not in simulation.done


def test_an_approval_after_its_time_counts_for_nothing():
    simulation = Simulation(usual()).go().approve()
    simulation.now += timedelta(minutes=30)
    simulation.go()
    assert simulation.done == ["serve"]
    assert simulation.pending.asked == 2


def test_an_old_approval_says_nothing_about_a_new_plan():
    simulation = Simulation(usual()).go()
    old = simulation.pending.plan_hash
    simulation.go(timedelta(minutes=30)).annotate(Verb.APPROVE, old[:12]).go()
    assert simulation.done == ["serve"]


@pytest.mark.parametrize(("token", "by"), [("", "alice"), ("7f3a", "alice"), ("x" * 64, "alice"), ("ok", "")])
def test_what_does_not_name_the_plan_approves_nothing(token, by):
    simulation = Simulation(usual()).go()
    shown = simulation.pending.plan_hash[:7] if token == "7f3a" else token
    simulation.annotate(Verb.APPROVE, shown, by).go()
    assert simulation.done == ["serve"]


def test_who_is_excluded_approves_nothing():
    simulation = Simulation(usual(), excluded=("bob@dawsos.com",)).go()
    simulation.approve("bob@dawsos.com").go()
    assert simulation.done == ["serve"]
    simulation.approve("alice@dawsos.com").go()
    assert simulation.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    "name", ["Frank  van Dam", " frank", "frank ", "fr\u200bank", "fr\u202eank", "fr\tank", "fr\x1bank"]
)
def test_a_name_is_excluded_exactly_as_it_is(name):
    simulation = Simulation(usual(), excluded=(name,)).go()
    simulation.approve(name).go()
    assert (simulation.pending.excluded, simulation.done) == ([name], ["serve"])


def test_everybody_who_edited_the_runbook_is_excluded():
    simulation = Simulation(usual(), excluded=("alice@dawsos.com", "bob@dawsos.com")).go()
    assert simulation.pending.excluded == ["alice@dawsos.com", "bob@dawsos.com"]
    assert (
        simulation.pending.excluded_because == "alice@dawsos.com edited the runbook; bob@dawsos.com edited the runbook"
    )
    simulation.approve("alice@dawsos.com").go().approve("bob@dawsos.com").go()
    assert simulation.done == ["serve"]
    simulation.approve("carol@dawsos.com").go()
    assert simulation.done == ["serve", "rebuild"]


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
    simulation = Simulation(usual(), excluded=editors).go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_POLICY_MISSING)
    assert told in simulation.status.message
    assert (simulation.status.pending_approval, simulation.done) == (None, ["serve"])


@pytest.mark.parametrize(("length", "asked"), [(253, True), (254, False)])
def test_whoever_opened_it_under_a_name_that_cannot_be_excluded_keeps_nobody_waiting(length, asked):
    name, opened = "a" * length, by_hand()
    opened.metadata.annotations[OPENED_BY] = name
    simulation = Simulation(usual(), opened).go()
    assert (simulation.status.reason == reasons.APPROVAL_POLICY_MISSING) is not asked
    assert (simulation.pending.excluded == [name]) if asked else ("cannot be excluded" in simulation.status.message)


def test_an_approval_covers_nothing_once_the_editors_are_not_known():
    simulation = Simulation(usual()).go().approve()
    simulation.excluded = None
    simulation.go()
    assert (simulation.status.reason, simulation.done) == (reasons.APPROVAL_POLICY_MISSING, ["serve"])


def test_a_rejected_plan_stops_and_can_be_asked_for_again():
    simulation = Simulation(usual()).go().reject().go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.REJECTED)
    assert simulation.status.message.startswith(
        "rebuild was rejected by alice@dawsos.com and not done. Still in place: serve."
    )
    simulation.go(24 * HOUR)
    assert simulation.done == ["serve"]
    simulation.retry().go().approve().go()
    assert simulation.done == ["serve", "rebuild"]


def test_a_rejected_step_that_may_be_skipped_is_skipped():
    simulation = Simulation(usual(remediate=[job("rebuild", approval={"onReject": "skip"})])).go().reject().go()
    assert simulation.states()["rebuild"] == "Skipped"
    assert simulation.status.phase is Phase.VERIFYING


def test_each_rejected_step_follows_its_own_rule():
    steps = [job("rebuild", approval={"onReject": "skip"}), sql("publish")]
    simulation = Simulation(usual(remediate=steps)).go().reject().go()
    assert simulation.states()["rebuild"] == "Skipped"
    assert simulation.states()["publish"] == "Rejected"
    assert simulation.status.phase is Phase.NEEDS_HUMAN


def test_a_rejected_restore_step_stays_rejected_although_the_alert_is_gone():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().resolve().go()
    assert simulation.pending.steps == ["replay"]
    simulation.reject().go(24 * HOUR)
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    assert simulation.done == ["serve", "undo-serve"]


def test_a_restore_step_that_nobody_approves_calls_a_person_for_good():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().resolve().go(5 * HOUR)
    assert simulation.status.reason == reasons.APPROVAL_EXPIRED
    assert len(simulation.status.approvals) == 4


def test_a_plan_that_drifted_is_void_and_asked_again_showing_the_difference():
    simulation = Simulation(usual()).go().approve()
    simulation.does["rebuild"] = "do something else"
    simulation.go()
    assert simulation.done == ["serve"]
    assert simulation.pending.changed == "rebuild: what do rebuild → do something else"
    assert "Asked again because: rebuild: what do rebuild → do something else" in simulation.status.message
    assert [record.state.value for record in simulation.status.approvals] == ["Voided"]
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]


def test_a_count_that_differs_below_an_approved_bound_voids_nothing():
    counts = itertools.count(1)

    class Growing(Simulation):
        def preview(self, step: str) -> Preview:
            return Preview("do it", in_trial="up to 9 rows", in_trial_counted=f"{next(counts)} rows")

    simulation = Growing(usual()).go()
    entry = simulation.pending.plan[0]
    assert (entry.in_trial, entry.in_trial_counted) == ("up to 9 rows", "2 rows")
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]
    assert simulation.status.approvals[-1].state.value != "Voided"


class Counting(Simulation):
    """Its trials count the same until something is acted upon, then more; acts remember what they are held to."""

    held: ClassVar[dict[str, str | None]] = {}

    def preview(self, step: str) -> Preview:
        return Preview("do it", in_trial=f"{len(self.held)} rows" if step == "rebuild" else "0 rows")

    def answer(self, seen, request):
        if isinstance(request, Do) and request.how is How.ACT and request.call.step != "serve":
            self.held = {**self.held, request.call.step: request.preview.in_trial}
        return super().answer(seen, request)


def test_the_first_step_of_a_plan_is_held_to_what_its_trial_counted_and_later_ones_are_not():
    simulation = Counting(usual(remediate=[sql("drain"), sql("publish")])).go().approve().go()
    assert simulation.done == ["serve", "drain", "publish"]
    assert simulation.held == {"drain": "0 rows", "publish": None}


def test_a_table_that_moves_at_the_last_moment_is_asked_about_again():
    simulation = Counting(usual())
    simulation.script["rebuild"] = [NotDone(0.0, "would have been 1 row, in trial it was 0 rows; rolled back")]
    simulation.go().approve().go()
    assert simulation.done == ["serve"]
    assert simulation.pending.changed == "rebuild: in trial 0 rows → 1 rows"


def test_an_approval_given_too_long_ago_is_asked_for_again():
    steps = [sql("drain", retry={"attempts": 2, "backoff": "5s"}), sql("publish")]
    simulation = Simulation(usual(remediate=steps))
    simulation.script["drain"] = [failed(retryable=True)]
    simulation.go().approve().go()
    assert simulation.states()["drain"] == "Pending"
    simulation.now += HOUR
    simulation.go()
    assert simulation.done == ["serve"]
    assert simulation.pending.changed == "the approval was given too long ago"


def test_an_approval_that_does_not_say_until_when_covers_nothing():
    simulation = Simulation(usual()).go().approve()
    given = machine.decide(simulation.view(simulation.status))
    assert isinstance(given, Transition)
    endless = given.status.approvals[-1].model_copy(update={"expires_at": None})
    simulation.write(simulation.view(given.status.model_copy(update={"approvals": [endless]})))
    simulation.go()
    assert simulation.done == ["serve"]
    assert simulation.pending.changed == "the approval was given too long ago"


def test_a_step_that_may_be_tried_again_is_under_the_same_approval():
    simulation = Simulation(usual(remediate=[sql("drain", retry={"attempts": 2, "backoff": "5s"})]))
    simulation.script["drain"] = [failed(retryable=True)]
    simulation.go().approve().go()
    assert simulation.status.message == "drain failed (connection refused) and is tried again at 00:30:05 UTC."
    assert simulation.status.waiting_for == "drain again at 00:30"
    simulation.go(timedelta(seconds=5))
    assert simulation.done == ["serve", "drain"]


@pytest.mark.parametrize("on_failure", ["stop", "escalate", None])
def test_an_approval_ends_with_the_first_step_that_fails(on_failure):
    asked = {"onFailure": on_failure} if on_failure else {}
    simulation = Simulation(usual(remediate=[sql("drain", **asked), job("rebuild")]))
    simulation.script["drain"] = [failed()]
    simulation.go().approve().go()
    assert simulation.done == ["serve"]
    assert (simulation.status.phase, simulation.status.approvals[-1].state.value) == (Phase.NEEDS_HUMAN, "Consumed")
    assert simulation.retry().go().pending.steps == ["drain", "rebuild"]


@pytest.mark.parametrize("effected", [False, True])
def test_the_rest_of_a_plan_goes_on_under_its_approval_where_a_step_says_that_it_does_after_a_failure(effected):
    simulation = Simulation(usual(remediate=[sql("drain", onFailure="continue"), job("rebuild"), sql("replay")]))
    simulation.script["drain"] = [failed(effected=effected)]
    simulation.go().approve().go()
    assert simulation.done[-2:] == ["rebuild", "replay"]
    (given,) = simulation.status.approvals
    assert (given.state.value, given.reason) == ("Consumed", "drain failed")


def test_the_last_step_of_a_plan_ends_its_approval_also_where_it_fails_and_the_runbook_goes_on():
    simulation = Simulation(usual(remediate=[sql("drain"), job("rebuild", onFailure="continue")]))
    simulation.script["rebuild"] = [failed()]
    simulation.go().approve().go()
    assert simulation.status.approvals[-1].state.value == "Consumed"
    assert simulation.status.phase is Phase.VERIFYING


def test_a_step_that_may_have_happened_ends_the_approval_whatever_it_says_of_a_failure():
    simulation = Simulation(usual(remediate=[post("replay", onFailure="continue"), job("rebuild")]))
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go()
    assert simulation.done == ["serve"]
    assert simulation.status.approvals[-1].state.value == "Consumed"


def test_an_approval_does_not_outlive_a_step_that_nobody_can_tell_about():
    simulation = Simulation(usual(remediate=[post("replay"), job("rebuild")]))
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go().tell("not-done").go()
    assert simulation.done == ["serve"]
    assert simulation.pending.steps == ["replay", "rebuild"]


def test_an_approval_ends_when_its_last_step_turns_out_not_to_be_needed():
    # the second step's condition changes under way: the alert's count is part of it
    second = job("rebuild", when="steps.drain.state != 'Succeeded'")
    simulation = Simulation(usual(remediate=[sql("drain"), second])).go().approve().go()
    assert simulation.states()["rebuild"] == "Skipped"
    assert simulation.status.approvals[-1].state.value == "Consumed"


def test_a_job_that_fails_calls_a_person_and_is_tried_again_only_with_a_new_approval():
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [failed("Job rebuild failed: exit code 1", effected=True)]
    simulation.go().approve().go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.STEP_FAILED)
    assert simulation.status.message.startswith("Remediate step rebuild failed: Job rebuild failed: exit code 1.")
    simulation.retry().go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild", "rebuild"]
    assert len({effect.key for effect in simulation.effects}) == 3


def test_protective_acts_ask_unless_the_settings_allow_them():
    revoke = post("revoke", protective=True)
    assert Simulation(runbook(mitigate=[revoke])).go().pending.steps == ["revoke"]
    assert unasked(runbook(mitigate=[revoke]), "revoke").go().done == ["revoke"]


def test_approvals_that_cannot_be_trusted_stop_destructive_steps():
    simulation = Simulation(usual()).go().approve()
    simulation.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    simulation.go()
    assert simulation.done == ["serve"]
    assert simulation.status.reason == reasons.APPROVAL_POLICY_MISSING
    assert simulation.status.waiting_for == "a person: approvals cannot be trusted"
    simulation.policy_problem = ""
    simulation.retry().go()
    assert simulation.done == ["serve", "rebuild"]


def test_an_approval_is_void_once_a_step_before_its_own_has_to_be_asked_for():
    diagnose = [read("look", outputs={"bad": "result.rows.size() > 0"})]
    drain = post("drain", when="steps.look.outputs.bad", protective=True)
    simulation = Simulation(usual(diagnose=diagnose, mitigate=[drain])).go().approve()
    simulation.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."
    simulation.go()
    simulation.policy_problem, simulation.script["look"] = "", [Succeeded({"rows": [{}]}, "1 row")]
    simulation.retry().go()
    assert (simulation.pending.steps, simulation.pending.changed) == (["drain"], "")
    simulation.approve().go()
    assert simulation.pending.steps == ["rebuild"]
    assert simulation.pending.changed == "drain has to be done first, and was not approved with it"
    assert [(record.steps, record.state.value, record.by) for record in simulation.status.approvals] == [
        (["rebuild"], "Voided", "alice@dawsos.com"),
        (["drain"], "Consumed", "alice@dawsos.com"),
    ]
    assert simulation.done == ["drain"]


def test_a_rejected_step_stops_even_where_its_failure_would_not():
    simulation = Simulation(usual(remediate=[job("rebuild", onFailure="continue")])).go().reject().go()
    assert simulation.status.reason == reasons.REJECTED


def test_an_incident_opened_by_hand_waits_for_the_approval_of_its_restore_step():
    simulation = Simulation(usual(restore=[sql("replay", approval={})]), by_hand()).go().approve().go()
    assert simulation.pending.steps == ["replay"]
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild", "replay", "undo-serve"]
    assert simulation.status.phase is Phase.RESOLVED


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
    simulation = Simulation(usual(remediate=[job("rebuild"), second, *last]))
    for steps in plans:
        assert simulation.go().pending.steps == steps
        simulation.approve()
    assert simulation.go().status.phase is Phase.VERIFYING


def test_a_step_that_is_asked_for_alone_shares_its_plan_with_nothing_that_follows():
    simulation = Simulation(usual(remediate=[job("rebuild", approval={"alone": True}), sql("publish")])).go()
    assert simulation.pending.steps == ["rebuild"]
    assert simulation.approve().go().pending.steps == ["publish"]


def test_a_plan_never_covers_what_was_done_already():
    diagnose = [read("look", outputs={"full": "result.rows.size() > 0"})]
    remediate = [sql("drain", when="steps.look.outputs.full"), job("rebuild")]
    simulation = Simulation(usual(diagnose=diagnose, remediate=remediate))
    simulation.script["check"] = [failed()]
    simulation.go().approve().go()
    simulation.script["look"] = [Succeeded({"rows": [{}]}, "1 row")]
    assert simulation.retry().go().pending.steps == ["drain"]
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild", "drain"]


@pytest.mark.parametrize("edited", [False, True])
def test_whoever_decides_is_told_that_the_runbook_was_edited_since(edited):
    simulation = Simulation(usual()).go()
    seen = simulation.view(simulation.status)
    seen = replace(seen, runbook=replace(seen.pinned, edited=edited))
    told = " was edited after this Incident began; this plan uses the version from before the edit"
    assert present.present(seen)[0].message.endswith(f"{told}.") is edited
    unasked_yet = seen.with_status(seen.status.model_copy(update={"pending_approval": None}))
    asked = undoing.asked(unasked_yet, simulation.pending.plan, "nonce").pending_approval
    assert asked.edited_since.endswith(told) is edited
