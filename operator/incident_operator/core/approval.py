"""How approval works: what is asked, what an answer looks like, when it counts, and what ends it.

A plan is what will be done, rendered, hashed over its canonical JSON (RFC 8785), and compared before it is done. The annotation that answers
is made trustworthy by the admission policy; here it is only read.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import rfc8785

from incident_operator.api.approvals import ApprovalRecord, ApprovalState, PendingApproval, PlanEntry
from incident_operator.api.incident import IncidentStatus, StepState, Verb
from incident_operator.api.meta import rfc3339
from incident_operator.core import sanitize, texts
from incident_operator.core.texts import fitting

DIGEST = "digest"
"""The detail that binds all that is sent; people are told what differs, and of the digest where nothing else does."""
MAX_LINES = 400
"""Of one step, as `kubectl describe` shows them."""
MAX_STEP_BYTES = 32 * 1024
MAX_PLAN_BYTES = 96 * 1024
"""Steps that do not fit are asked for once those before them are done."""
_OTHERS = "Other open Incidents act on "
_SHOWN = 200
_SHOWN_OTHERS = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """What a plan is bound to besides its steps."""

    incident_uid: str
    runbook_revision: str
    parameters: Mapping[str, Any]
    expires_at: datetime
    nonce: str


def plan_hash(entries: Sequence[PlanEntry], binding: Binding) -> str:
    """Return sha256 over the canonical JSON of the plan and all it is bound to."""
    content = {
        "incident": binding.incident_uid,
        "runbookRevision": binding.runbook_revision,
        "parameters": sanitize.canonical(dict(binding.parameters)),
        "steps": [sanitize.canonical(entry.to_json()) for entry in entries],
        "expiresAt": rfc3339(binding.expires_at),
        "nonce": binding.nonce,
    }
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def told(do: str, details: Mapping[str, Any]) -> str:
    """Return on one line what is done and the values that are bound in it, e.g. `UPDATE … = %(pack)s (pack=PP-1)`."""
    values = ", ".join(dict.fromkeys(f"{name}={_brief(value)}" for name, value in _params(details)))
    return f"{do} ({values})" if values else do


def _params(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the bound parameters of every statement, in the order in which they are sent."""
    match value:
        case Mapping():
            for name, each in value.items():
                yield from each.items() if name == "params" and isinstance(each, Mapping) else _params(each)
        case list():
            for each in value:
                yield from _params(each)


def size(entries: Sequence[PlanEntry]) -> int:
    """Return how many bytes the plan takes in the Incident."""
    return sum(len(entry.to_bytes()) for entry in entries)


def too_large(entry: PlanEntry) -> str:
    """Return why nobody can be asked to read what a step does, and what helps; empty where it is small enough.

    Nothing is cut: what is left out would be approved unread.
    """
    lines, taken = _lines(entry.to_json()), len(entry.to_bytes())
    if lines <= MAX_LINES and taken <= MAX_STEP_BYTES:
        return ""
    return (
        f"not approvable: its plan has {lines} lines and {taken} bytes; "
        f"a step may have {MAX_LINES} lines and {MAX_STEP_BYTES} bytes at most. "
        "Split the step, or move long texts to a place where they are reviewed: an image, a database function"
    )


def _lines(value: Any) -> int:
    """Count the lines that `kubectl describe` takes."""
    match value:
        case Mapping():
            return sum(_lines(item) + isinstance(item, Mapping | list) for item in value.values())
        case list():
            return sum(_lines(item) for item in value)
        case _:
            return 1


def others(target: str, incidents: Sequence[str]) -> str:
    """Return the line that people read first where other open Incidents act on the same object, with some of their names."""
    more = f" and {len(incidents) - _SHOWN_OTHERS} more" if len(incidents) > _SHOWN_OTHERS else ""
    return f"{_OTHERS}{target} too: {', '.join(incidents[:_SHOWN_OTHERS])}{more}"


def difference(approved: PlanEntry, rendered: PlanEntry, *, trial_binds: bool, remedy: str = "") -> str:
    """Say how a step differs from what was approved; empty when it does not.

    The attempt number makes none, nor does what a trial counted below a bound that was agreed to, nor which other Incidents act
    on the same object: that there are any, where there were none, is one. `remedy` is how the step may ask for a bound instead,
    told where its trial differs.
    """
    then, now = approved.allows or [], rendered.allows or []
    if _of_others(then) or not _of_others(now):
        # of other Incidents only what the person who approved did not know of is a difference
        then, now = ([line for line in lines if not line.startswith(_OTHERS)] for lines in (then, now))
    changes = [_change("what", approved.do, rendered.do), _change("allows", then or None, now or None)]
    keys = sorted({*approved.details, *rendered.details} - {DIGEST})
    changes += [_change(key, approved.details.get(key), rendered.details.get(key)) for key in keys]
    if trial_binds and (moved := _change("in trial", approved.in_trial, rendered.in_trial)):
        changes.append(f"{moved} ({remedy})" if remedy else moved)
    found = [change for change in changes if change]
    if not found and approved.details.get(DIGEST) != rendered.details.get(DIGEST):
        found = ["what would be sent differs in a part that the plan shows by its digest only"]
    return f"{approved.step}: {'; '.join(found)}" if found else ""


def _of_others(lines: Sequence[str]) -> bool:
    return any(line.startswith(_OTHERS) for line in lines)


def _change(name: str, then: object, now: object) -> str:
    if _plain(then) == _plain(now):
        return ""
    if isinstance(then, list) and isinstance(now, list) and len(_plain(then)) > _SHOWN:
        # the items between what the two begin and what they end with in common
        shortest = min(len(then), len(now))
        head = next((at for at in range(shortest) if then[at] != now[at]), shortest)
        rest = shortest - head
        tail = next((at for at in range(rest) if then[-1 - at] != now[-1 - at]), rest)
        then, now = then[head : len(then) - tail], now[head : len(now) - tail]
    return f"{name} {_brief(then)} → {_brief(now)}"


def _plain(value: object) -> str:
    return json.dumps(sanitize.canonical(value), sort_keys=True, default=str)


def _brief(value: object) -> str:
    return texts.cut(value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str), _SHOWN)


MIN_PREFIX = 8
MAX_ASKS = 3
"""How often the same steps are asked for before a person is called."""
_HISTORY = 20
_PLANS_KEPT = 48 * 1024
"""Bytes of ended plans kept in the history; of older ones only the names of their steps are."""
_NAME_LIMIT = 253
_REASON_LIMIT = 1024
_ENDS_EARLY = frozenset({StepState.FAILED, StepState.UNKNOWN})
_DONE = frozenset({StepState.SUCCEEDED, StepState.SKIPPED, StepState.UNDONE, StepState.UNDO_FAILED})
WHOAMI = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person wrote: `<token> <user name>`."""

    token: str
    user: str
    """The name exactly as it is written: by it four eyes are told apart."""

    @property
    def by(self) -> str:
        """The name as it is kept, fit for people to read."""
        return sanitize.text(self.user, _NAME_LIMIT)


def answer(annotations: Mapping[str, str], verb: Verb) -> Answer | None:
    """Read an annotation; the user name may hold blanks, so only the first one separates."""
    token, _, user = annotations.get(verb.annotation, "").partition(" ")
    return Answer(token, user) if token and user.strip() else None


def command(namespace: str, incident: str, verb: Verb, token: str) -> str:
    """Return the line a person pastes; `--overwrite` replaces an answer to an older question only (policy)."""
    return f'kubectl annotate --overwrite -n {namespace} incident {incident} {verb.annotation}="{token} {WHOAMI}"'


def answers_plan(found: Answer, pending: PendingApproval) -> bool:
    """Tell whether an answer names the pending plan by a prefix of its hash."""
    return len(found.token) >= MIN_PREFIX and pending.plan_hash.startswith(found.token)


def active(status: IncidentStatus) -> ApprovalRecord | None:
    """Return the approval that is being used, if there is one."""
    newest = status.approvals[-1] if status.approvals else None
    return newest if newest is not None and newest.state is ApprovalState.ACTIVE else None


def entry_for(approved: ApprovalRecord, step: str) -> PlanEntry | None:
    """Return what was approved for a step."""
    return next((entry for entry in approved.plan if entry.step == step), None)


def consume(status: IncidentStatus, by: str, valid_for: timedelta, now: datetime) -> IncidentStatus:
    """Turn the pending plan into an active approval; it stays good for the plan's own running time."""
    record = _answered(status, ApprovalState.ACTIVE, by, now).model_copy(update={"expires_at": now + valid_for})
    return _close_pending(status, record)


def reject(status: IncidentStatus, by: str, now: datetime) -> IncidentStatus:
    """Record a rejection."""
    return _close_pending(status, _answered(status, ApprovalState.REJECTED, by, now))


def expire(status: IncidentStatus, now: datetime) -> IncidentStatus:
    """Record that nobody answered in time."""
    return _close_pending(status, _answered(status, ApprovalState.EXPIRED, "", now))


def withdraw(status: IncidentStatus, reason: str, now: datetime) -> IncidentStatus:
    """Take a pending question back because it is no longer needed."""
    if status.pending_approval is None:
        return status
    record = _answered(status, ApprovalState.VOIDED, "", now)
    return _close_pending(status, record.model_copy(update={"reason": sanitize.text(reason, _REASON_LIMIT)}))


def end_active(status: IncidentStatus, state: ApprovalState, reason: str = "") -> IncidentStatus:
    """End the active approval: used up, or void because the world changed."""
    if (current := active(status)) is None:
        return status
    ended = current.model_copy(update={"state": state, "reason": sanitize.text(reason, _REASON_LIMIT)})
    return status.model_copy(update={"approvals": [*status.approvals[:-1], ended]})


def used(status: IncidentStatus, goes_on: Collection[str] = ()) -> IncidentStatus:
    """End the active approval once its steps are done, or one of them has failed: what follows is asked anew.

    The plan is carried on after a failure of the steps in `goes_on`: whoever approved it approved that as well.
    """
    if (current := active(status)) is None:
        return status
    states = {record.name: record.state for record in status.steps}
    failed = [name for name in current.steps if states.get(name) in _ENDS_EARLY]
    ends = [name for name in failed if states[name] is not StepState.FAILED or name not in goes_on]
    if not ends and not all(name in failed or states.get(name) in _DONE for name in current.steps):
        return status
    told = [*ends, *failed][:1]
    return end_active(status, ApprovalState.CONSUMED, f"{told[0]} failed" if told else "")


def times_expired(status: IncidentStatus, step: str) -> int:
    """Count how often in a row a question that starts with this step went unanswered, since a person last answered."""
    count = 0
    answered = status.answers[-1].at if status.answers else None
    for record in reversed(status.approvals):
        if record.state is not ApprovalState.EXPIRED or record.steps[:1] != [step]:
            return count
        if answered is not None and record.at <= answered:
            return count
        count += 1
    return count


def approver(status: IncidentStatus, step: str) -> str:
    """Return who approved a step that was done: whoever answered last. Empty where nobody was asked."""
    asked = (record for record in reversed(status.approvals) if step in record.steps)
    return next((record.by for record in asked if record.by), "")


def voided_because(status: IncidentStatus, step: str) -> str:
    """Return why the newest approval of a step no longer holds, for the question that asks for it again."""
    newest = next((record for record in reversed(status.approvals) if step in record.steps), None)
    return newest.reason if newest is not None and newest.state is ApprovalState.VOIDED else ""


def _answered(status: IncidentStatus, state: ApprovalState, by: str, now: datetime) -> ApprovalRecord:
    pending = status.pending_approval
    if pending is None:
        raise ValueError("no plan is pending")
    return ApprovalRecord(
        plan_hash=pending.plan_hash,
        state=state,
        by=by,
        at=now,
        asked_at=pending.asked_at,
        steps=pending.steps,
        plan=pending.plan,
    )


def _close_pending(status: IncidentStatus, record: ApprovalRecord) -> IncidentStatus:
    """End a question: the newest plans are kept whole as far as there is room; one that is still carried out in any case."""

    def taken(each: ApprovalRecord) -> int:
        return 0 if each.state is ApprovalState.ACTIVE else size(each.plan)

    history = [*status.approvals, record][-_HISTORY:]
    whole, _ = fitting(reversed(history), taken, _PLANS_KEPT)
    older = [each.model_copy(update={"plan": []}) for each in history[: len(history) - len(whole)]]
    return status.model_copy(update={"pending_approval": None, "approvals": [*older, *reversed(whole)]})
