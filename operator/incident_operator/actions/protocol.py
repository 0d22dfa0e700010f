"""What an action is: a call in, an outcome out, and a preview for the plan that a person approves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from incident_operator.api.meta import Model
from incident_operator.api.runbook import Stage
from incident_operator.core.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class UndoOf:
    """The effect that a call takes back."""

    key: str
    """Step key of the original effect."""
    captured: Mapping[str, Any]
    """What the original action captured."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an action, fully rendered: no `${…}` is left in `spec`."""

    namespace: str
    incident: str
    incident_uid: str
    runbook: str
    service_account: str
    """The account of that namespace to act as."""
    stage: Stage
    step: str
    attempt: int
    key: str
    """The step key. For a read it names the call; for an effect it is what makes it happen once."""
    action: str
    """The action's key as written, e.g. `sqlExecute`."""
    spec: Model
    """The action's model from `api/actions.py`, rendered."""
    timeout: float
    """Seconds one attempt may take, counted from `started_at`."""
    started_at: datetime
    undo_of: UndoOf | None = None
    """Set where the call takes an earlier effect back; for a naturally undoable action `spec` is the original's."""
    severity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels for objects the action creates (`app.kubernetes.io/managed-by`, `incidents.dev/incident`, …)."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call would do, for the plan; stable: the same world gives the same preview."""

    do: str
    """The act in one sentence or statement."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON: command, bound parameters, target uids, limits."""
    in_trial: str | None = None
    """What a rolled-back trial run did, e.g. `1 row`; None where a trial is not safe or not possible."""


class Action(Protocol):
    """One verb. Stateless but for its clients; told everything else by the call."""

    async def run(self, call: Call) -> Outcome:
        """Do it, or find that it was done under this key. Never raises for what the outside world does."""
        ...

    async def preview(self, call: Call) -> Preview:
        """Say what `run` would do now, without doing it. Raises `PreviewError` where that cannot be told."""
        ...


class PreviewError(Exception):
    """A plan cannot be rendered; the message says why, for people."""
