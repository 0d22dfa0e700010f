"""How the status changes: one small pure function for each thing that can happen to a step or an Incident."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from incident_operator.api.approvals import AnswerVerb, HandledAnswer, PendingAnswer
from incident_operator.api.incident import IncidentStatus, Phase, StepRecord, StepState, UndoState, Verb
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons, sanitize
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Effect

SUMMARY_LIMIT = 512
MESSAGE_LIMIT = 2048
DID_LIMIT = 1024
CLOCKS_DIFFER = timedelta(seconds=5)
"""How far the clocks of two processes may be apart where both are right: neither is behind the apiserver's by more than a second."""
_ANSWERS_KEPT = 50
ABORT_TOKEN, UNDO_TOKEN = "now", "undo"
"""What an abort says: stop, or stop and take back what is in place."""
FINISHED = frozenset(
    {
        StepState.SUCCEEDED,
        StepState.SKIPPED,
        StepState.UNDONE,
        StepState.FAILED,
        StepState.REJECTED,
        StepState.UNDO_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an outcome means for the step, after `expect` and `outputs` were evaluated."""

    state: StepState
    summary: str
    reason: str = ""
    outputs: Mapping[str, Any] | None = None
    captured: Mapping[str, Any] | None = None
    evidence: str | None = None
    """Digest of the full result, empty where the summary tells it all; None where there is no new one."""
    effected: bool = False
    """Whether the world was changed, so that an undo is due some day."""
    again_at: datetime | None = None
    """When to look or try again; the step stays unfinished."""
    not_done: bool = False
    """Whether the act certainly has not happened: it is begun again as if for the first time, and did not fail."""


def find(status: IncidentStatus, name: str) -> StepRecord | None:
    """Return the record of a step or an undo."""
    return next((record for record in status.steps if record.name == name), None)


def known(status: IncidentStatus, name: str) -> StepRecord:
    """Return the record of a step or an undo that there is. Raises `LookupError` where there is none."""
    record = find(status, name)
    if record is None:
        raise LookupError(f"no record of {name}")
    return record


def replace(status: IncidentStatus, *changed: StepRecord) -> IncidentStatus:
    """Return the status with these records in place of their namesakes."""
    by_name = {record.name: record for record in changed}
    return status.model_copy(update={"steps": [by_name.get(record.name, record) for record in status.steps]})


def update(status: IncidentStatus, name: str, **changes: Any) -> IncidentStatus:
    """Return the status with some fields of one record changed."""
    return status.model_copy(
        update={"steps": [r.model_copy(update=changes) if r.name == name else r for r in status.steps]}
    )


def record_intent(
    status: IncidentStatus, run: Run, now: datetime, seen: Mapping[str, Any] | None = None, did: str = ""
) -> IncidentStatus:
    """Write down the intent of an effect, what it does and is begun upon, or that a read is being polled."""
    record = known(status, run.record)
    return update(
        status,
        run.record,
        state=StepState.RUNNING,
        attempt=run.attempt,
        key=run.key,
        seen=sanitize.cleaned(seen) if seen is not None else None,
        did=sanitize.text(did, DID_LIMIT),
        since=None if record.effect == Effect.READ else record.since,
        started_at=_whole(now),
        finished_at=None,
        polled_at=None,
        not_before=None,
        reason="",
        summary="",
        # what an earlier attempt found out or changed is not what this one will
        **(dict.fromkeys(("outputs", "captured", "evidence", "evidence_in")) if record.effect != Effect.READ else {}),
    )


def record_outcome(
    status: IncidentStatus, run: Run, result: StepResult, *, undoable: bool, now: datetime, begun: bool = True
) -> IncidentStatus:
    """Write down what became of an attempt; `begun` is False where its intent was not stored, so that it does not count."""
    record = known(status, run.record)
    finished = result.state not in {StepState.RUNNING, StepState.PENDING}
    changes: dict[str, Any] = {
        "state": result.state,
        "attempt": run.attempt if begun else record.attempt,
        "key": run.key if begun else record.key,
        "failures": record.failures + (result.state is StepState.PENDING and not result.not_done),
        "since": _since(record, result, now),
        "seen": record.seen if result.state is not StepState.PENDING else None,
        "started_at": record.started_at or _whole(now),
        "finished_at": _whole(now) if finished else None,
        "polled_at": None if finished else _whole(now),
        "not_before": result.again_at,
        "reason": result.reason,
        "summary": sanitize.text(result.summary, SUMMARY_LIMIT),
        # an answer of an earlier attempt must not outlive a failure: what is not known is unknown
        "outputs": sanitize.unmistakable(result.outputs) if finished else record.outputs,
        "captured": sanitize.cleaned(result.captured) if result.effected else record.captured,
        **_evidence(record, result.evidence),
    }
    if undoable and result.effected and not run.undo and run.stage is Stage.MITIGATE:
        changes["undo"] = UndoState.PENDING
    changed = update(status, run.record, **changes)
    return _record_undo_outcome(changed, run, result) if run.undo else changed


def _evidence(record: StepRecord, found: str | None) -> Mapping[str, str | None]:
    """Return what the record tells of the full result: a new one is not stored yet, the same one is where it was."""
    if found is None or found == record.evidence:
        return {}
    return {"evidence": found or None, "evidence_in": None}


def _since(record: StepRecord, result: StepResult, now: datetime) -> datetime | None:
    """Return since when the present try goes on; a failure, a success and a person's retry end it."""
    if result.not_done:
        return record.since or _whole(now)
    return record.since if result.state is StepState.RUNNING else None


def _record_undo_outcome(status: IncidentStatus, run: Run, result: StepResult) -> IncidentStatus:
    match result.state:
        case StepState.SUCCEEDED:
            return record_undo(status, run.step, StepState.UNDONE, UndoState.DONE)
        case StepState.FAILED:
            return record_undo(status, run.step, StepState.UNDO_FAILED, UndoState.FAILED)
        case _:
            return status


def record_undo(status: IncidentStatus, step: str, state: StepState, undo: UndoState) -> IncidentStatus:
    """Write down how the undo of a step ended; a step that had failed stays failed, so that its stage stays stopped."""
    failed = known(status, step).state is StepState.FAILED
    return update(status, step, state=StepState.FAILED if failed else state, undo=undo)


def skip(status: IncidentStatus, names: Iterable[str], reason: str, summary: str) -> IncidentStatus:
    """Leave steps out, and say why."""
    changed = status
    for name in names:
        told = sanitize.text(summary, SUMMARY_LIMIT)
        changed = update(changed, name, state=StepState.SKIPPED, reason=reason, summary=told, not_before=None)
    return changed


def not_needed(status: IncidentStatus, name: str, condition: str) -> IncidentStatus:
    """Leave a step out because its own `when` is false; what an earlier attempt found out is void."""
    return update(skip(status, [name], reasons.CONDITION_FALSE, f"not needed: {condition}"), name, outputs=None)


def mark(status: IncidentStatus, names: Iterable[str], state: StepState, reason: str = "") -> IncidentStatus:
    """Set the state of several steps."""
    changed = status
    for name in names:
        changed = update(changed, name, state=state, reason=reason)
    return changed


def reset(status: IncidentStatus, names: Iterable[str]) -> IncidentStatus:
    """Put steps back to Pending; their attempts stay counted, so that a new attempt has a new key."""
    wanted = set(names)
    steps = [_put_back(record) if record.name in wanted else record for record in status.steps]
    return status.model_copy(update={"steps": steps})


def _put_back(record: StepRecord) -> StepRecord:
    changes: dict[str, Any] = {"state": StepState.PENDING, "reason": "", "summary": "", "failures": 0}
    changes |= dict.fromkeys(("since", "seen", "started_at", "finished_at", "polled_at", "not_before"))
    if record.undo is UndoState.DONE:
        changes["undo"] = None
    return record.model_copy(update=changes)


def halt(
    status: IncidentStatus,
    reason: str,
    message: str,
    question: PendingAnswer | None = None,
    *,
    remedy: str = "",
    phase: Phase = Phase.NEEDS_HUMAN,
) -> IncidentStatus:
    """Stop for a human (or for good), with the reason and what they can do; a long message never costs the remedy."""
    told = sanitize.text(message, MESSAGE_LIMIT - len(remedy) - 1)
    update = {"phase": phase, "reason": reason, "message": f"{told} {remedy}".strip(), "pending_answer": question}
    return status.model_copy(update=update)


def go_on(status: IncidentStatus) -> IncidentStatus:
    """Leave NeedsHuman; the phase follows from the steps again."""
    return status.model_copy(update={"phase": Phase.PENDING, "reason": "", "message": "", "pending_answer": None})


def handled(status: IncidentStatus, verb: str, token: str, by: str, now: datetime) -> IncidentStatus:
    """Remember an answer that was acted on, and that somebody is there."""
    entry = HandledAnswer(verb=verb, token=token, by=by, at=now)
    kept = [*status.answers, entry]
    if len(kept) > _ANSWERS_KEPT:  # an abort holds for good, however much is said after it
        kept.remove(next(answer for answer in kept if answer.verb != Verb.ABORT.value))
    return acknowledged(status.model_copy(update={"answers": kept}), now)


def abort(status: IncidentStatus) -> HandledAnswer | None:
    """Return the abort of the Incident, once one is recorded; it holds for good, and the newest one says how."""
    return next((answer for answer in reversed(status.answers) if answer.verb == Verb.ABORT.value), None)


def aborted_by(status: IncidentStatus) -> str | None:
    """Return who aborted the Incident."""
    said = abort(status)
    return said.by if said is not None else None


def abort_undoes(status: IncidentStatus) -> bool:
    """Tell whether the Incident was aborted, and what is in place is to be taken back."""
    said = abort(status)
    return said is not None and said.token == UNDO_TOKEN


def acknowledged(status: IncidentStatus, now: datetime) -> IncidentStatus:
    """Note the first time a person answered."""
    if status.times.acknowledged is not None:
        return status
    return status.model_copy(update={"times": status.times.model_copy(update={"acknowledged": _whole(now)})})


def question(record: StepRecord, asked: str, verbs: Sequence[AnswerVerb], commands: Sequence[str]) -> PendingAnswer:
    """Build the question about a step; `asked` is the token that an answer has to name."""
    return PendingAnswer(token=asked, verbs=list(verbs), step=record.name, answer_with=list(commands))


def token(record: StepRecord) -> str:
    """Return the token of a question about the record's present attempt."""
    return f"{record.name}/{record.attempt}"


def waits_until(record: StepRecord, now: datetime) -> datetime | None:
    """Return until when a record is not looked at, or tried; None where it is due.

    A clock that went back behind the look that set it makes nothing wait longer.
    """
    if record.not_before is None or now >= record.not_before:
        return None
    set_by_another_clock = record.polled_at is not None and went_back(record.polled_at, now)
    return None if set_by_another_clock else record.not_before


def went_back(since: datetime, now: datetime) -> bool:
    """Tell whether the clock is behind a moment that has been, by more than two processes' clocks differ."""
    return now < since - CLOCKS_DIFFER


def later(now: datetime, seconds: float) -> datetime:
    """Return a moment in the future, never rounded into the past."""
    moment = now + timedelta(seconds=seconds)
    return _whole(moment + timedelta(microseconds=999_999))


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
