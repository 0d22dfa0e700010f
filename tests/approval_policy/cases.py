"""The rows' vocabulary: states of an Incident, patches, and what somebody had said before."""

from dataclasses import dataclass, field
from typing import Any

from incident_operator.api.incident import Verb
from tests.approval_policy import people
from tests.approval_policy.people import ALICE, BOB

APPROVE, REJECT, ABORT, RETRY, RESOLVE, OVER, ACKNOWLEDGE = (verb.annotation for verb in Verb)
PLAN = "7f3a9cde" * 8
OLD_PLAN = "91ab33e0" * 8
TOKEN = PLAN[:8]
OLD_TOKEN = OLD_PLAN[:8]

Patch = dict[str, Any]


def waiting_for_approval(plan: str = PLAN, changed: str = "", excluded: tuple[str, ...] = (BOB,)) -> dict[str, Any]:
    """A status in which a plan waits, and Bob is excluded, or whoever is named."""
    pending = {
        "planHash": plan,
        "expiresAt": "2030-01-01T00:00:00Z",
        "nonce": "n",
        "steps": ["rebuild"],
        "plan": [{"step": "rebuild", "attempt": 1, "do": "create Job"}],
        "excluded": list(excluded),
        "excludedBecause": f"{excluded[0][:200]} edited the runbook",
        "changed": changed,
        "approveWith": "kubectl annotate …",
        "rejectWith": "kubectl annotate …",
    }
    return {"phase": "AwaitingApproval", "pendingApproval": pending}


def waiting_for_answer(*verbs: str, token: str = "replay/1") -> dict[str, Any]:
    """A status in which a step's fate is asked for."""
    return {"phase": "NeedsHuman", "pendingAnswer": {"token": token, "verbs": list(verbs), "step": "replay"}}


PLAN_WAITS = waiting_for_approval()
CHANGED_PLAN_WAITS = waiting_for_approval(changed="mark-fresh: 1 row → 1204 rows\nrebuild: gone")
OLD_PLAN_WAITS = waiting_for_approval(OLD_PLAN)
QUESTION_WAITS = waiting_for_answer("retry", "resolve")
RETRY_WAITS = waiting_for_answer("retry")
NOTHING_WAITS = {"phase": "Diagnosing"}
NEVER_VISITED = None
WITH_RUNBOOK = {"runbookRef": {"name": people.RUNBOOK}}
WITHOUT_RUNBOOK: dict[str, Any] = {}
TWO_ALERTS = {
    **WITH_RUNBOOK,
    "alerts": [{"id": f"{number:x}", "startsAt": "2025-10-21T00:10:12Z"} for number in (1, 2)],
}
CLOSED = {"phase": "Resolved"}


def answered(state: str, by: str = "", plan: str = PLAN) -> dict[str, Any]:
    """A status in which no plan waits, and this one was answered, or was not."""
    record = {"planHash": plan, "state": state, "by": by, "at": "2025-10-21T00:41:00Z", "steps": ["rebuild"]}
    return {"phase": "Remediating", "approvals": [record]}


ALICE_WAS_FASTER = answered("Active", ALICE)
OLD_APPROVAL_VOID = {**waiting_for_approval(), "approvals": answered("Voided", ALICE, OLD_PLAN)["approvals"]}


def answers(annotation: str, value: str | None) -> Patch:
    """The merge patch that `kubectl annotate` sends; None takes the annotation away."""
    return {"metadata": {"annotations": {annotation: value}}}


@dataclass(frozen=True)
class Earlier:
    """An annotation that somebody had set, accepted, while the Incident was in `status`."""

    who: str
    annotation: str
    value: str
    status: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One row: who does what, on an Incident in which state, and what the refusal says (None: accepted)."""

    sentence: str
    who: str
    patch: Patch
    refused: str | None = None
    status: dict[str, Any] | None = field(default_factory=lambda: PLAN_WAITS)
    earlier: Earlier | None = None
    spec: dict[str, Any] = field(default_factory=lambda: WITH_RUNBOOK)
    finalizers: tuple[str, ...] = ()
    """Finalizers that it has; the case takes them away, or its namespace would stay."""
    part: str | None = None
    """The subresource that is patched."""


ALICE_APPROVED = Earlier(ALICE, APPROVE, f"{TOKEN} {ALICE}", PLAN_WAITS)
ALICE_APPROVED_THE_OLD_PLAN = Earlier(ALICE, APPROVE, f"{OLD_TOKEN} {ALICE}", OLD_PLAN_WAITS)
ALICE_REJECTED = Earlier(ALICE, REJECT, f"{TOKEN} {ALICE}", PLAN_WAITS)
ALICE_ABORTED = Earlier(ALICE, ABORT, f"now {ALICE}", PLAN_WAITS)
ALICE_UNDOES = Earlier(ALICE, ABORT, f"undo {ALICE}", PLAN_WAITS)
ALICE_SAID_OVER = Earlier(ALICE, OVER, f"2 {ALICE}", PLAN_WAITS)
ALICE_IS_ON_IT = Earlier(ALICE, ACKNOWLEDGE, f"30m {ALICE}", PLAN_WAITS)
ALICE_RETRIED = Earlier(ALICE, RETRY, f"replay/1 {ALICE}", QUESTION_WAITS)
ALICE_RESOLVED = Earlier(ALICE, RESOLVE, f"replay/1=done {ALICE}", QUESTION_WAITS)
