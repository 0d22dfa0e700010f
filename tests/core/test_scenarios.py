"""The life of an Incident, told from outside: what happens, what is done about it, what is never done."""

from datetime import timedelta

import pytest

from core.builders import PROBE, START, UNDO, alert, incident, job, post, read, runbook, scale, sql, usual, view
from core.simulator import Crashed, World, failed, unfinished
from incident_operator.api.annotations import Verb
from incident_operator.api.incident import Phase
from incident_operator.core import machine, reasons
from incident_operator.core.decisions import Stop
from incident_operator.core.outcomes import Unknown
from incident_operator.core.view import Blocked

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_from_alert_to_resolved_each_effect_happens_once_and_in_order():
    world = World(usual()).go()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    world.approve().go()
    assert world.status.message.startswith("Verified. Waits for the alert to resolve until 01:30 UTC")
    world.resolve().go()
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.status.message == "Resolved in 0s. Done: serve, rebuild, undo-serve. Approved by alice@dawsos.com."
    assert world.phases == [
        "Mitigating",
        "AwaitingApproval",
        "Remediating",
        "Verifying",
        "Restoring",
        "Resolved",
    ]


def test_writes_are_one_for_each_act_and_one_for_each_wait():
    world = World(usual()).go().approve().go().resolve().go()
    acts, waits, end = 3, 2, 1
    assert world.writes == acts + waits + end
    before = world.writes
    world.go(HOUR)
    assert world.writes == before


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
    assert world.status.approvals[-1].reason == "the alert resolved before this began"


def test_a_resolved_alert_stops_before_the_next_destructive_step_of_an_approved_plan():
    world = World(usual(remediate=[job("rebuild"), sql("publish")]))
    world.script["rebuild"] = [unfinished(), unfinished()]
    world.go().approve().go()
    world.resolve().go(HOUR)
    assert world.done == ["serve", "undo-serve"] or "publish" not in world.done
    assert world.states()["publish"] == "Skipped"
    assert world.status.phase is Phase.RESOLVED


def test_an_alert_that_comes_back_wants_again_what_was_left_out():
    world = World(usual(verify=[read("check", until={"every": "1m", "for": "10m"}, expect="result.rows.size() > 0")]))
    world.go().resolve().go()
    assert world.states()["rebuild"] == "Skipped"
    world.fire().go()
    assert world.states()["rebuild"] == "AwaitingApproval"
    assert world.pending.changed == "the alert resolved before this began"


def test_an_approval_that_nobody_gives_is_asked_for_three_times_then_a_person_is_called():
    world = World(usual()).go()
    first = world.pending.plan_hash
    world.go(timedelta(minutes=30))
    assert (world.pending.asked, world.pending.plan_hash == first) == (2, False)
    world.go(HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert world.status.waiting_for == "a person: ApprovalExpired"
    world.retry().go()
    assert world.pending.asked == 1


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


def test_a_rejected_plan_stops_and_can_be_asked_for_again():
    world = World(usual()).go().reject().go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.REJECTED)
    assert world.status.message.startswith("rebuild was rejected by alice@dawsos.com and not done. Still in place: serve.")
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
    assert world.done == ["serve"]


def test_a_restore_step_that_nobody_approves_calls_a_person_for_good():
    world = World(usual(restore=[sql("replay", approval={})])).go().resolve().go(5 * HOUR)
    assert world.status.reason == reasons.APPROVAL_EXPIRED
    assert len(world.status.approvals) == 4


def test_restoring_is_not_asked_for_any_more_when_the_alert_fires_again():
    world = World(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    assert world.pending.steps == ["replay"]
    world.fire().go()
    assert world.status.pending_approval is None
    assert world.status.phase is Phase.RESTORING or world.status.phase is Phase.VERIFYING
    world.resolve().go().approve().go()
    assert world.status.phase is Phase.RESOLVED


def test_a_plan_that_drifted_is_void_and_asked_again_showing_the_difference():
    world = World(usual()).go().approve()
    world.does["rebuild"] = "do something else"
    world.go()
    assert world.done == ["serve"]
    assert world.pending.changed == "rebuild: what do rebuild → do something else"
    assert "Asked again, because: rebuild: what do rebuild → do something else" in world.status.message
    assert [record.state.value for record in world.status.approvals] == ["Voided"]
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


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


def test_a_step_that_may_be_tried_again_is_under_the_same_approval():
    world = World(usual(remediate=[sql("drain", retry={"attempts": 2, "backoff": "5s"})]))
    world.script["drain"] = [failed(retryable=True)]
    world.go().approve().go()
    assert world.status.message == "drain failed (connection refused) and is tried again at 00:30:05 UTC."
    assert world.status.waiting_for == "drain again at 00:30"
    world.go(timedelta(seconds=5))
    assert world.done == ["serve", "drain"]


def test_an_approval_ends_with_the_first_step_that_fails():
    world = World(usual(remediate=[sql("drain", onFailure="continue"), job("rebuild")]))
    world.script["drain"] = [failed()]
    world.go().approve().go()
    assert world.done == ["serve"]
    assert world.pending.steps == ["rebuild"]


def test_an_approval_does_not_outlive_a_step_that_nobody_can_tell_about():
    world = World(usual(remediate=[post("replay"), job("rebuild")]))
    world.script["replay"] = [Unknown("connection lost")]
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


def test_every_verification_that_stops_stops():
    world = World(usual(verify=[read("nice", onFailure="continue"), read("must")]))
    world.script["nice"], world.script["must"] = [failed()], [failed("still 503")]
    world.go().approve().go()
    assert world.status.message.startswith("Verify step must failed: still 503.")


def test_restore_takes_back_in_reverse_order_after_its_own_steps():
    world = World(usual(**TWO, restore=[sql("replay")])).go().approve().go().resolve().go()
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
        "http replay may or may not have run (begun at 2025-10-21T00:30:00Z, the operator stopped before its outcome "
        "was known); it is never repeated by itself. Look whether it happened, then tell: kubectl annotate"
    )
    world.tell("done").go()
    assert world.states()["replay"] == "Succeeded"


@pytest.mark.parametrize(("happened", "done"), [(True, ["serve", "replay"]), (False, ["serve", "replay", "replay"])])
def test_a_probe_tells_whether_an_interrupted_effect_happened(happened, done):
    world = World(usual(remediate=[post("replay", probe=PROBE)]), probed=happened).go().approve()
    world.crash_at = world.moments + 4
    world.go_through_crashes()
    assert world.done == done
    assert world.status.approvals[-1].state.value == "Consumed"


def test_the_probe_of_a_step_says_nothing_about_its_undo():
    undo = {"http": {"connection": "api", "method": "DELETE", "path": "/block"}}
    world = World(runbook(mitigate=[post("block", probe=PROBE, undo=undo)])).go().resolve()
    world.crash_at = world.moments + 4
    world.go_through_crashes()
    assert world.done == ["block", "undo-block"]
    assert world.status.reason == reasons.STEP_UNKNOWN


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
        "Aborted by alice@dawsos.com; nothing more is done. Still in place, not undone: serve."
    )
    seen = view(usual(), world.stored, world.now)
    assert machine.decide(seen) == Stop()


def test_abort_never_calls_an_unknown_effect_one_that_did_not_happen():
    world = World(usual(remediate=[post("replay")]))
    world.script["replay"] = [Unknown("connection lost")]
    world.go().approve().go().abort().go()
    assert world.states()["replay"] == "Unknown"
    assert "May or may not have happened: replay." in world.status.message


def test_protective_acts_ask_unless_the_settings_allow_them():
    revoke = post("revoke", protective=True)
    assert World(runbook(mitigate=[revoke])).go().pending.steps == ["revoke"]
    assert World(runbook(mitigate=[revoke]), unasked=frozenset({"http"})).go().done == ["revoke"]


def test_an_alert_that_goes_on_firing_calls_a_person():
    world = World(usual()).go().approve().go(2 * HOUR)
    assert world.status.reason == reasons.ALERT_STILL_FIRING
    assert world.status.message.startswith("The alert still fires 1h after everything was done; somebody has to look.")
    world.resolve().go()
    assert world.status.phase is Phase.RESOLVED


def test_without_anything_to_verify_a_person_is_still_told_what_to_do():
    world = World(runbook(mitigate=[scale("grow")])).go(2 * HOUR)
    assert world.status.reason == reasons.ALERT_STILL_FIRING
    assert "Close this incident: kubectl annotate" in world.status.message


@pytest.mark.parametrize(
    "blocked",
    [Blocked(reasons.NO_RUNBOOK, "No runbook matches."), Blocked(reasons.RUNBOOK_NOT_READY, "It is not ready.")],
)
def test_without_a_runbook_a_person_is_called_and_nothing_is_done(blocked):
    world = World(blocked).go(24 * HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, blocked.reason)
    assert world.writes == 1
    assert world.copy().resolve().go().status.message == "The alert resolved by itself; nothing was done."
    assert world.copy().abort().go().status.phase is Phase.FAILED
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_a_runbook_lost_under_way_closes_nothing_and_is_taken_up_again_when_it_is_back():
    world = World(usual()).go()
    world.compiled = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.resolve().go()
    assert world.status.phase is Phase.NEEDS_HUMAN
    assert world.status.pending_approval is None
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.RESOLVED
    assert world.done == ["serve", "undo-serve"]


def test_an_invalid_parameter_calls_a_person_until_the_runbook_is_mended():
    strict = usual(parameters=[{"name": "date", "type": "date", "from": "alert.labels.pack_date"}])
    world = World(strict, incident(alert(pack_date="2025-13-41"))).go(HOUR)
    assert world.status.message.startswith('label pack_date="2025-13-41" is not a date; nothing was done.')
    assert world.status.reason == reasons.PARAMETER_INVALID
    assert world.status.runbook_revision == ""
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.AWAITING_APPROVAL


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


@pytest.mark.parametrize("moment", range(1, 14))
def test_killed_at_any_moment_each_effect_still_happens_once(moment):
    world = World(usual(), crash_at=moment)
    world.go_through_crashes()
    if world.status.pending_approval is not None:
        world.approve()
    world.go_through_crashes().resolve().go_through_crashes()
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.status.phase is Phase.RESOLVED


def _rows(count):
    from incident_operator.core.outcomes import Succeeded

    return Succeeded({"rows": [{}] * count}, f"{count} rows")
