"""What an outcome means for its step, in one table and a few sentences."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import StepRecord, StepState, UndoState
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons
from incident_operator.core.machine import machine, status
from incident_operator.core.machine.outcome import evaluate, evaluate_probe
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded, Undetermined
from incident_operator.core.runbooks import limits
from tests.core.builders import PROBE, START, incident, job, post, read, runbook, scale, sql, view
from tests.core.machine.simulation import OK

GONE = Failed("NotFound", "no such row")
POLL = {"until": {"every": "10s", "for": "1m"}, "expect": "result.rows.size() == 0"}
TWICE = {"retry": {"attempts": 2, "backoff": "7s"}}
ROWS = Succeeded({"rows": [{}]}, "1 row")


def evaluated(step, outcome, *, after=0, attempt=1, failures=0, undo=False):
    compiled = runbook(remediate=[step], mitigate=[scale("grow")])
    name = "undo-grow" if undo else step["name"]
    made = compiled.steps["grow" if undo else step["name"]]
    tried = {"started_at": START, "since": START, "failures": failures}
    record = StepRecord(name=name, stage=made.stage, action=made.act.key, effect=made.act.effect.value, **tried)
    run = Run(name, name.removeprefix("undo-"), made.stage, attempt, "k", undo)
    return evaluate(incident(), made, record, run, outcome, START + timedelta(seconds=after))


@pytest.mark.parametrize(
    ("step", "outcome", "more", "state", "reason", "effected"),
    [
        (sql("act"), OK, {}, "Succeeded", "", True),
        (read("look"), OK, {}, "Succeeded", "", False),
        (read("look", **POLL), OK, {}, "Succeeded", "", False),
        (read("look", **POLL), ROWS, {}, "Running", "", False),
        (read("look", **POLL), ROWS, {"after": 60}, "Failed", reasons.TIMED_OUT, False),
        (read("look", **POLL), GONE, {"after": 59}, "Running", "NotFound", False),
        (read("look", **POLL), GONE, {"after": 60}, "Failed", "NotFound", False),
        (read("look", expect="result.rows.size() == 0"), ROWS, {}, "Failed", reasons.EXPECTATION_FAILED, False),
        (read("look", expect="result.rows[3].x == 1"), ROWS, {}, "Failed", reasons.EXPECTATION_FAILED, False),
        (sql("act", expect="result.rowsChanged == 1"), Succeeded({"rowsChanged": 0}, "0 rows"), {}, "Failed",
         reasons.EXPECTATION_FAILED, True),
        (sql("act"), GONE, {}, "Failed", "NotFound", False),
        (sql("act", **TWICE), GONE, {}, "Pending", "NotFound", False),
        (sql("act", **TWICE), GONE, {"attempt": 7}, "Pending", "NotFound", False),
        (sql("act", **TWICE), GONE, {"failures": 1}, "Failed", "NotFound", False),
        (sql("act", **TWICE), Failed("NotFound", "x", retryable=False), {}, "Failed", "NotFound", False),
        (job("act", **TWICE), Failed("JobFailed", "exit 1", effected=True), {}, "Failed", "JobFailed", True),
        (job("act"), Pending(5, "running"), {"after": 600}, "Running", "", False),
        (job("act"), Pending(5, "running"), {"after": 660}, "Unknown", reasons.TIMED_OUT, False),
        (job("act", timeout="2m"), Pending(5, "running"), {"after": 179}, "Running", "", False),
        (job("act", timeout="2m"), Pending(5, "running"), {"after": 180}, "Unknown", reasons.TIMED_OUT, False),
        (job("act"), NotDone(5, "refused"), {}, "Pending", "", False),
        (job("act"), NotDone(5, "refused"), {"after": 659}, "Pending", "", False),
        (job("act"), NotDone(5, "refused"), {"after": 660}, "Failed", reasons.TIMED_OUT, False),
        (read("look"), Pending(5, "asking"), {"after": 89}, "Running", "", False),
        (read("look"), Pending(5, "asking"), {"after": 90}, "Failed", reasons.TIMED_OUT, False),
        (post("act"), Undetermined("connection lost"), {}, "Unknown", reasons.STEP_UNKNOWN, False),
        (read("look"), Undetermined("connection lost"), {}, "Failed", reasons.STEP_FAILED, False),
        (sql("act"), OK, {"undo": True}, "Succeeded", "", False),
        (sql("act"), GONE, {"undo": True}, "Failed", "NotFound", False),
    ],
)  # fmt: skip
def test_an_outcome_becomes_a_verdict(step, outcome, more, state, reason, effected):
    found = evaluated(step, outcome, **more)
    assert (found.state.value, found.reason, found.effected) == (state, reason, effected)


@pytest.mark.parametrize(("waited", "pause"), [(0, 5), (25, 5), (60, 12), (400, 60)])
def test_an_act_that_could_not_begin_is_begun_again_after_longer_and_longer_pauses(waited, pause):
    found = evaluated(job("act"), NotDone(5, "refused"), after=waited)
    assert found.again_at == START + timedelta(seconds=waited + pause)


@pytest.mark.parametrize(("after", "pause"), [(0, 1), (0.2, 1), (4.2, 5), (30, 30)])
def test_an_unfinished_act_is_looked_at_again_and_never_at_once(after, pause):
    assert evaluated(sql("act"), Pending(after, "x")).again_at == START + timedelta(seconds=pause)


def test_a_poll_and_a_second_attempt_keep_their_distance():
    assert evaluated(read("look", **POLL), ROWS).again_at == START + timedelta(seconds=10)
    assert evaluated(sql("act", **TWICE), GONE).again_at == START + timedelta(seconds=7)


@pytest.mark.parametrize(
    ("outcome", "state", "summary"),
    [
        (
            Succeeded({"json": {"done": True}}, "ok"),
            "Succeeded",
            "its probe says that it happened before the operator stopped",
        ),
        (Succeeded({"json": {"done": False}}, "ok"), "Pending", "had not happened when the operator stopped"),
        (Succeeded({"json": {}}, "ok"), "Unknown", "its probe cannot tell"),
        (Failed("NotFound", "answered 404"), "Unknown", "its probe cannot tell: answered 404"),
        (Pending(5, "asking"), "Unknown", "its probe cannot tell: no answer"),
    ],
)
def test_a_probe_says_it_happened_or_did_not_or_that_it_cannot_tell(outcome, state, summary):
    step = runbook(remediate=[post("act", probe=PROBE)]).steps["act"]
    found = evaluate_probe(incident(), step, outcome, START)
    assert found.state.value == state
    assert summary in found.summary


def test_without_a_probe_nothing_tells():
    step = runbook(remediate=[post("act")]).steps["act"]
    assert evaluate_probe(incident(), step, OK, START).state is StepState.UNKNOWN


def test_outputs_are_taken_and_what_cannot_be_taken_is_told():
    found = evaluated(read("look", outputs={"count": "result.rows.size()", "first": "result.rows[0].id"}), ROWS)
    assert found.outputs == {"count": 1}
    assert found.summary.startswith("1 row; no first: ")


def test_outputs_of_all_steps_together_are_bounded():
    compiled = runbook(diagnose=[read("look", outputs={"text": "result.rows[0].text"})])
    full = StepRecord(
        name="other", stage=Stage.DIAGNOSE, action="get", outputs={"text": "x" * (limits.ALL_OUTPUTS - 1000)}
    )
    record = StepRecord(name="look", stage=Stage.DIAGNOSE, action="sqlQuery")
    made = incident()
    made = made.model_copy(update={"status": made.status.model_copy(update={"steps": [full, record]})})
    run = Run("look", "look", Stage.DIAGNOSE, 1, "k")
    found = evaluate(
        made, compiled.steps["look"], record, run, Succeeded({"rows": [{"text": "y" * 2000}]}, "1 row"), START
    )
    assert found.outputs is None
    assert "no text: it is too large" in found.summary


def test_what_became_of_a_step_that_somebody_took_out_of_the_status_is_not_dropped_silently():
    current, run = incident().status, Run("undo-act", "act", Stage.RESTORE, 1, "k", undo=True)
    told = status.StepResult(StepState.SUCCEEDED, "ok", effected=True)
    with pytest.raises(LookupError, match="no record of undo-act"):
        status.record_outcome(current, run, told, undoable=False, now=START)
    with pytest.raises(LookupError, match="no record of act"):
        status.record_undo(current, "act", StepState.UNDONE, UndoState.DONE)


def test_only_mitigations_are_noted_as_temporary():
    for stage, undo in ((Stage.MITIGATE, UndoState.PENDING), (Stage.REMEDIATE, None)):
        record = StepRecord(name="act", stage=stage, action="sqlExecute", effect="sql-tx")
        current = incident().status.model_copy(update={"steps": [record]})
        told = status.StepResult(StepState.SUCCEEDED, "ok", effected=True)
        settled = status.record_outcome(current, Run("act", "act", stage, 1, "k"), told, undoable=True, now=START)
        assert settled.steps[0].undo is undo


def test_an_outcome_of_a_step_that_nobody_listed_is_a_defect():
    told = status.StepResult(StepState.SUCCEEDED, "ok")
    with pytest.raises(LookupError, match="no record of act"):
        status.record_outcome(
            incident().status, Run("act", "act", Stage.VERIFY, 1, "k"), told, undoable=False, now=START
        )


def test_what_the_outside_says_is_stored_without_what_no_database_takes():
    record = StepRecord(name="act", stage=Stage.DIAGNOSE, action="http")
    current = incident().status.model_copy(update={"steps": [record]})
    told = status.StepResult(StepState.SUCCEEDED, "a\x00b\x1b[31m" + "x" * 600, outputs={"t": "\ud800\x00"})
    settled = status.record_outcome(current, Run("act", "act", Stage.DIAGNOSE, 1, "k"), told, undoable=False, now=START)
    assert settled.steps[0].summary.startswith("a\ufffdb\ufffd[31mx")
    assert len(settled.steps[0].summary) == 512
    assert settled.steps[0].outputs == {"t": '"\\ud800\\u0000"'}
    settled.model_dump_json()


def test_the_same_view_gives_the_same_decision():
    seen = view(runbook(diagnose=[read("look")]), incident())
    assert machine.decide(seen) == machine.decide(seen)


def test_an_act_that_happened_and_ended_badly_keeps_what_its_undo_needs():
    put_back = Failed(reasons.PUT_BACK, "put back to 2", retryable=False, effected=True, captured={"before": 2})
    result = evaluated(scale("act"), put_back)
    assert (result.state, result.effected, result.captured) == (StepState.FAILED, True, {"before": 2})


def test_a_second_look_a_minute_later_is_in_the_time_of_a_step_whatever_its_timeout():
    result = evaluated(scale("act", timeout="1s"), Pending(60, "scaled 2 → 5"))
    assert (result.state, result.again_at) == (StepState.RUNNING, START + timedelta(seconds=60))
