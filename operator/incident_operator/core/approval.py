"""How approval works: what is asked, what an answer looks like, when it counts, and what ends it.

The annotation itself is made trustworthy by the admission policy; here it is only read. Design §6.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from incident_operator.api.annotations import Verb
from incident_operator.api.approvals import ApprovalRecord, ApprovalState, PendingApproval, PlanEntry
from incident_operator.api.incident import IncidentStatus, StepState
from incident_operator.core import plan, sanitize
from incident_operator.core.fitting import fitting

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
    history = _within_bounds([*status.approvals, record][-_HISTORY:])
    return status.model_copy(update={"pending_approval": None, "approvals": history})


def _within_bounds(history: list[ApprovalRecord]) -> list[ApprovalRecord]:
    whole, _ = fitting(reversed(history), _size_once_ended, _PLANS_KEPT)
    older = history[: len(history) - len(whole)]
    return [*(record.model_copy(update={"plan": []}) for record in older), *reversed(whole)]


def _size_once_ended(record: ApprovalRecord) -> int:
    """Return what a plan takes of the room for ended ones: nothing where it is still carried out, for it is kept in any case."""
    return 0 if record.state is ApprovalState.ACTIVE else plan.size(record.plan)
