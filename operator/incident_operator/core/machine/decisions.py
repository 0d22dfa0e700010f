"""What the state machine may decide: a closed union that the engine matches exhaustively."""

from dataclasses import dataclass
from datetime import datetime

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.incident import IncidentStatus
from incident_operator.api.runbook import Stage


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a step, or of the undo of a step."""

    record: str
    """Name of the step record: the step's own, or `undo-<step>`."""
    step: str
    """Name of the Runbook's step."""
    stage: Stage
    attempt: int
    key: str
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Run these reads together; no intent is needed."""

    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Store the intent of this effect, then run it."""

    run: Run
    approved: PlanEntry | None = None
    """What a person approved; it has to be rendered again and be the same."""
    trial_binds: bool = False
    """Whether the trial's row count is part of what was approved (the plan's first step)."""
    again: bool = False
    """Whether the intent is stored already, and an earlier try may have got through: the service does once what bears its key."""


@dataclass(frozen=True, slots=True)
class Look:
    """Find out what became of this effect, whose intent is stored. It is not done by looking."""

    run: Run


@dataclass(frozen=True, slots=True)
class Probe:
    """An unkeyed effect was interrupted: run its declared probe to learn whether it happened."""

    run: Run


@dataclass(frozen=True, slots=True)
class Ask:
    """Render a plan of these steps, as many of them as can be rendered now, and ask a person."""

    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Transition:
    """Nothing to do in the world: the status changes, and the machine decides again."""

    status: IncidentStatus


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this moment, or before the Incident changes."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Closed: nothing is ever to be done again."""


Turn = Read | Begin | Look | Probe | Ask | Transition
"""What is carried out before the machine decides again."""
Decision = Turn | Wait | Stop
