"""An act is begun once, under every guard, and afterwards only looked at: whatever happens between its intent and the act."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine import carry_out, status
from incident_operator.core.machine.view import Blocked, next_run
from incident_operator.core.outcomes import (
    Effect,
    Failed,
    Failure,
    NotDone,
    Pending,
    Undetermined,
    outcome_of,
    outcome_of_look,
)
from tests.core.builders import UNDO, job, keyed, post, read, scale, sql, usual
from tests.core.machine.simulation import OK, Crashed, Simulation, failed, unfinished

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ACTS = {"sql-tx": sql, "k8s-create": job, "k8s-patch": scale, "keyed-call": keyed, "unkeyed": post}
KNOWN = ["sql-tx", "k8s-create", "k8s-patch"]


def killed_before_the_act(act: str) -> Simulation:
    """Approved, the intent stored, and the operator killed before anything was sent."""
    simulation = Simulation(usual(remediate=[ACTS[act]("purge")])).go().approve()
    for moment in range(1, 12):
        tried = simulation.copy()
        tried.crash_at = simulation.moments + moment
        with pytest.raises(Crashed):
            tried.go()
        tried.crash_at = None
        if tried.states()["purge"] == "Running" and not tried.begun - simulation.begun:
            return tried
    raise AssertionError("there is no such moment")


def aborted(simulation: Simulation) -> None:
    simulation.abort()


def expired(simulation: Simulation) -> None:
    simulation.now += 3 * DAY


def resolved(simulation: Simulation) -> None:
    simulation.resolve()


def drifted(simulation: Simulation) -> None:
    simulation.does["purge"] = "purge something else"


def untrusted(simulation: Simulation) -> None:
    simulation.policy_problem = "approvals cannot be trusted: policy incident-approval is missing."


def runbook_gone(simulation: Simulation) -> None:
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")


MEANWHILE = [aborted, expired, resolved, drifted, untrusted, runbook_gone]


@pytest.mark.parametrize(("act", "meanwhile"), list(product(ACTS, MEANWHILE)))
def test_an_act_that_had_not_begun_is_never_begun_for_the_first_time_once_a_guard_does_not_hold(
    act: str, meanwhile: Callable[[Simulation], None]
) -> None:
    simulation = killed_before_the_act(act)
    meanwhile(simulation)
    simulation.go(HOUR)
    assert "purge" not in simulation.done
    if act in KNOWN and meanwhile is not runbook_gone:
        assert simulation.states()["purge"] != "Unknown", "it certainly was not done"
    elif meanwhile is not runbook_gone or simulation.status.phase is Phase.FAILED:
        assert simulation.states()["purge"] == "Unknown", "nobody can look, so nobody knows"


@pytest.mark.parametrize("act", KNOWN)
def test_an_act_that_had_not_begun_is_begun_by_the_next_operator_under_a_new_key_while_all_guards_hold(
    act: str,
) -> None:
    simulation = killed_before_the_act(act)
    simulation.go(timedelta(minutes=1))
    assert simulation.done == ["serve", "purge"]
    record = next(record for record in simulation.status.steps if record.name == "purge")
    assert record.attempt == 2, "the key of the first attempt is burned"
    assert len(simulation.status.approvals) == 1, "nobody is asked again"


@pytest.mark.parametrize("act", ["sql-tx", "k8s-patch", "keyed-call"])
def test_an_act_that_waits_and_has_certainly_not_begun_ends_with_an_abort(act: str) -> None:
    simulation = Simulation(usual(remediate=[ACTS[act]("purge", timeout="24h")]))
    simulation.script["purge"] = [NotDone(5.0, "connection refused")] * 20_000
    simulation.go().approve().go(HOUR)
    assert simulation.states()["purge"] == "Pending"
    assert "purge has not started (connection refused) and is tried again at" in simulation.status.message
    simulation.abort().go()
    assert simulation.status.phase is Phase.FAILED
    assert simulation.states()["purge"] == "Skipped"
    assert "purge" not in simulation.done


@pytest.mark.parametrize("act", ["sql-tx", "k8s-patch", "keyed-call"])
def test_an_act_that_waits_and_has_not_begun_is_withdrawn_when_the_alert_resolves(act: str) -> None:
    simulation = Simulation(usual(remediate=[ACTS[act]("purge", timeout="24h")]))
    simulation.script["purge"] = [NotDone(5.0, "connection refused")] * 20_000
    simulation.go().approve().go(HOUR).resolve().go(HOUR)
    assert simulation.status.phase is Phase.RESOLVED
    assert simulation.done == ["serve", "undo-serve"]


def test_an_act_that_cannot_begin_fails_when_its_time_is_over_and_is_not_unknown() -> None:
    simulation = Simulation(usual(remediate=[sql("purge")]))
    simulation.script["purge"] = [NotDone(5.0, "connection refused")] * 100
    simulation.go().approve().go(HOUR)
    assert simulation.states()["purge"] == "Failed"
    assert simulation.status.reason == reasons.STEP_FAILED


def test_attempts_that_did_not_begin_are_not_counted_as_failures() -> None:
    simulation = Simulation(usual(remediate=[sql("purge", retry={"attempts": 2, "backoff": "1s"})]))
    simulation.script["purge"] = [NotDone(1.0, "refused"), NotDone(1.0, "refused"), failed(retryable=True), OK]
    simulation.go().approve().go(HOUR)
    assert "purge" in simulation.done


def test_an_abort_is_recorded_at_once_while_an_act_goes_on_and_the_last_word_is_said_after_it() -> None:
    simulation = Simulation(usual())
    simulation.script["rebuild"] = [unfinished()] * 30
    simulation.go().approve().go().abort().go()
    assert simulation.status.phase is Phase.REMEDIATING
    assert simulation.status.reason == reasons.ABORTING
    assert simulation.status.message.startswith("Aborting, as alice@dawsos.com asked: rebuild still runs, until 00:40")
    assert simulation.status.answers[-1].by == "alice@dawsos.com"
    assert simulation.states()["check"] == "Skipped"
    simulation.go(HOUR)
    assert simulation.status.phase is Phase.FAILED
    assert (
        simulation.status.message
        == "Aborted by alice@dawsos.com; nothing more is done. Still in place, not undone: serve (ok)."
    )
    assert simulation.states()["rebuild"] == "Succeeded", "what was done is told as done"


def test_an_abort_while_an_act_goes_on_says_how_to_stop_it() -> None:
    simulation = Simulation(usual())
    simulation.seen = {"stopWith": "kubectl delete job -n prod rebuild-3b9d"}
    simulation.script["rebuild"] = [unfinished()] * 30
    simulation.go().approve().go().abort().go()
    assert simulation.status.message.endswith("Stop it: kubectl delete job -n prod rebuild-3b9d")


def test_an_abort_begins_no_undo_and_no_further_step() -> None:
    simulation = Simulation(
        usual(remediate=[job("rebuild"), sql("publish", undo=None)], mitigate=[sql("serve", undo=UNDO)])
    )
    simulation.script["rebuild"] = [unfinished()] * 3
    simulation.go().approve().go().abort().go(DAY)
    assert simulation.done == ["serve", "rebuild"]


FAILURES = [
    Failure(reason, "x", retryable=retryable, maybe_applied=maybe)
    for reason, retryable, maybe in product(
        [reasons.FORBIDDEN, reasons.NOT_FOUND, reasons.CONNECTION_FAILED, reasons.CONFLICT, reasons.INTERNAL_ERROR],
        [False, True],
        [False, True],
    )
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f"{f.reason} {f.retryable} {f.maybe_applied}")
def test_a_failed_look_is_never_proof(failure: Failure) -> None:
    assert isinstance(outcome_of_look(failure), Pending)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f"{f.reason} {f.retryable} {f.maybe_applied}")
@pytest.mark.parametrize("effect", [effect for effect in Effect if effect is not Effect.READ])
def test_a_failure_of_an_act_that_may_have_been_applied_is_looked_up_or_unknown_and_never_failed(
    failure: Failure, effect: Effect
) -> None:
    found = outcome_of(failure, effect)
    if failure.maybe_applied:
        assert type(found) is (Undetermined if effect is Effect.UNKEYED else Pending)
    else:
        assert isinstance(found, Failed | NotDone)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f"{f.reason} {f.retryable} {f.maybe_applied}")
def test_a_read_that_fails_has_failed(failure: Failure) -> None:
    found = outcome_of(failure, Effect.READ)
    assert isinstance(found, Failed)
    assert found.retryable is failure.retryable


def test_an_intent_that_cannot_be_rendered_any_more_is_unknown_and_has_not_failed() -> None:
    diagnose = [read("look", outputs={"n": "result.rows.size()"})]
    purge = sql("purge")
    purge["sqlExecute"] |= {"statement": "DELETE FROM t WHERE n = %(n)s", "params": {"n": "${steps.look.outputs.n}"}}
    simulation = Simulation(usual(diagnose=diagnose, remediate=[purge]))
    simulation.script["purge"] = [unfinished()]
    simulation.go().approve().go()
    assert simulation.states()["purge"] == "Running"
    simulation.forget("look").go(HOUR)
    assert simulation.states()["purge"] == "Unknown"
    assert (
        "cannot check what became of it: spec.remediate[0].sqlExecute.params.n: look gave no n"
        in simulation.status.message
    )


def test_a_job_that_cannot_be_made_just_now_is_made_later_under_the_same_approval_and_attempt() -> None:
    simulation = Simulation(usual(), unreserved=[NotDone(2.0, "connection refused")]).go().approve().go()
    assert simulation.states()["rebuild"] == "Pending"
    assert "rebuild has not started (connection refused) and is tried again at" in simulation.status.message
    simulation.go(timedelta(minutes=1))
    assert simulation.done == ["serve", "rebuild"]
    assert len(simulation.status.approvals) == 1
    assert next(record.attempt for record in simulation.status.steps if record.name == "rebuild") == 1


def test_a_job_that_cannot_be_made_fails_when_its_time_is_over() -> None:
    simulation = Simulation(usual(), unreserved=[NotDone(2.0, "connection refused")] * 1_000).go().approve().go(HOUR)
    assert (simulation.states()["rebuild"], simulation.status.reason) == ("Failed", reasons.STEP_FAILED)


def test_an_approved_act_that_cannot_be_shown_any_more_voids_its_approval_and_has_not_failed() -> None:
    simulation = Simulation(usual()).go().approve()
    simulation.preview_problem = Failure(reasons.NOT_FOUND, "there is no Deployment scheduler")
    simulation.go()
    assert simulation.states()["rebuild"] == "Pending"
    assert (simulation.status.approvals[-1].state.value, simulation.status.reason) == ("Voided", reasons.PLAN_FAILED)
    assert simulation.status.approvals[-1].reason == "rebuild: there is no Deployment scheduler"


def test_an_approved_act_that_cannot_be_shown_just_now_keeps_its_approval() -> None:
    simulation = Simulation(usual()).go().approve()
    simulation.preview_problem = Failure(reasons.CONNECTION_FAILED, "connection refused", retryable=True)
    simulation.go()
    assert (simulation.states()["rebuild"], simulation.status.approvals[-1].state.value) == ("Pending", "Active")
    simulation.preview_problem = None
    simulation.go(timedelta(minutes=1))
    assert simulation.done == ["serve", "rebuild"]
    assert len(simulation.status.approvals) == 1


def test_an_act_that_nobody_is_asked_for_and_that_cannot_be_shown_has_failed() -> None:
    simulation = Simulation(usual(), preview_problem=Failure(reasons.NOT_FOUND, "there is no such table")).go()
    assert simulation.states()["serve"] == "Failed"
    assert "there is no such table" in simulation.status.message


def told_as_unclear_in_the_end(act: str) -> Simulation:
    """An act went on longer than it may, so that nobody can tell."""
    simulation = Simulation(usual(remediate=[ACTS[act]("purge")])).go().approve()
    simulation.script["purge"] = [unfinished()] * 1000
    simulation.go(HOUR)
    assert (simulation.states()["purge"], simulation.status.pending_answer is not None) == ("Unknown", True)
    return simulation


def test_whoever_says_that_an_unclear_act_was_done_is_believed_without_another_look() -> None:
    simulation = told_as_unclear_in_the_end("k8s-create")
    looks = simulation.ran.count("purge")
    simulation.tell("done").go()
    assert (simulation.states()["purge"], simulation.ran.count("purge")) == ("Succeeded", looks)


def test_whoever_says_that_an_unclear_act_was_not_done_is_believed_where_nothing_tells_what_to_look_for() -> None:
    simulation = told_as_unclear_in_the_end("k8s-create")
    for seen, state in (({"job": "made", "uid": "u-1"}, "Running"), (None, "AwaitingApproval")):
        tried = simulation.copy()
        kept = status.update(tried.stored.status, "purge", seen=seen)
        tried.stored = tried.stored.model_copy(update={"status": kept})
        tried.script["purge"] = [unfinished()]
        assert tried.tell("not-done").go().states()["purge"] == state


def test_what_became_of_an_attempt_says_nothing_of_another_one() -> None:
    simulation = killed_before_the_act("sql-tx")
    seen = simulation.view(simulation.stored.status)
    run = next_run(seen, status.known(seen.status, "purge"))
    another = status.update(seen.status, "purge", key="f" * 64, attempt=run.attempt + 1)
    after = carry_out.recorded(seen.with_status(another).incident, seen, run, carry_out.Ran(OK, simulation.now))
    assert after == another


def test_how_long_a_try_could_not_begin_is_forgotten_when_it_has_failed_or_succeeded() -> None:
    simulation = Simulation(usual(mitigate=[sql("serve", undo=UNDO, retry={"attempts": 2, "backoff": "1m"})]))
    simulation.script["serve"] = [
        NotDone(5.0, "connection refused"),
        failed(retryable=True),
        NotDone(5.0, "connection refused"),
    ]
    waits = [
        status.known(simulation.go(timedelta(seconds=pause)).stored.status, "serve").since for pause in (0, 6, 61, 6)
    ]
    assert [since is not None for since in waits] == [True, False, True, False]
    assert waits[2] != waits[0]
