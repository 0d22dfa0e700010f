"""What the machine sees when it decides, and what it may decide.

It sees the Incident, its Runbook or why there is none, and the time. A decision is one of a closed union that the engine matches
exhaustively. The step key is the name of one attempt of one effect, the same however often the operator dies in between.

Which objects an Incident acts on is told by the text of its Runbook, so nothing is read for it: the workload or Pod that a step names. A
Job is an object of its own, whatever workload its template is from; a Connection is a door to many objects, and who changes which rows
its server decides.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.incident import Incident, IncidentStatus, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiled import Compiled, CompiledAction, CompiledStep
from incident_operator.core.runbooks.reviews import ALL_ASK, Editors, Leave


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


UNDO_PREFIX = "undo-"


def step_key(incident_uid: str, stage: Stage, step: str, attempt: int) -> str:
    """Return sha256(incident uid / stage / step / attempt) in hex, which each mark of an act carries."""
    return hashlib.sha256(f"{incident_uid}/{stage}/{step}/{attempt}".encode()).hexdigest()


def undo_name(step: str) -> str:
    """Return the name of the record that takes a step back."""
    return f"{UNDO_PREFIX}{step}"


AGES = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class Blocked:
    """There is no usable Runbook; the Incident waits in NeedsHuman until there is one."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """The Runbook in force for an Incident, the revision that holds it, and who wrote that very content."""

    compiled: Compiled
    revision: str
    editors: Editors | None
    """Who may not approve it; None where nobody is known, so that nobody may."""
    edited: bool = False
    """Whether the Runbook says something else by now, as far as this process knows: an Incident follows what it began with."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a decision depends on."""

    incident: Incident
    runbook: Pinned | Blocked
    now: datetime
    leave: Leave = ALL_ASK
    """What the operator's settings let run without asking."""
    led_for: timedelta = AGES
    """How long this process has led; whoever led before may still be in the middle of an act."""
    scope: AlertScope = field(default_factory=AlertScope)
    """Whose alerts are whose, and how severe an Incident of a namespace may be."""

    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of the objects that this Incident acts on (`core/machine/view.py`): the names of other open Incidents that do too."""

    @property
    def status(self) -> IncidentStatus:
        """The status as far as it is known, stored or not."""
        return self.incident.status

    @property
    def pinned(self) -> Pinned:
        """The Runbook and its revision, for rungs that come after the one that handles its absence."""
        if isinstance(self.runbook, Blocked):
            raise TypeError("no runbook is in force")
        return self.runbook

    @property
    def compiled(self) -> Compiled:
        """The Runbook, for the same rungs."""
        return self.pinned.compiled

    @property
    def runbook_name(self) -> str:
        """The name of the Runbook, empty where none matched."""
        ref = self.incident.spec.runbook_ref
        return ref.name if ref is not None else ""

    def step(self, record: StepRecord) -> CompiledStep:
        """Return the Runbook's step that a record, or the undo it stands for, belongs to."""
        return self.step_of(record.name)

    def step_of(self, name: str) -> CompiledStep:
        """Return the same by the record's name."""
        return self.compiled.steps[name.removeprefix(UNDO_PREFIX)]

    def records(self, stage: Stage) -> Iterator[StepRecord]:
        """Yield the records of a stage in order; undos come after the stage's own steps."""
        return (record for record in self.status.steps if record.stage is stage)

    def with_status(self, status: IncidentStatus) -> "View":
        """Return the same view with another status."""
        return replace(self, incident=self.incident.model_copy(update={"status": status}))

    def with_incident(self, incident: Incident) -> "View":
        """Return the same view of a newer version of the Incident."""
        return replace(self, incident=incident)


def is_undo(record: StepRecord) -> bool:
    """Tell whether a record stands for an undo."""
    return record.name.startswith(UNDO_PREFIX)


def next_run(view: View, record: StepRecord) -> Run:
    """Return the attempt to make now: a new one, or the one that is under way."""
    under_way = record.state is StepState.RUNNING and record.key is not None
    attempt = record.attempt if under_way else record.attempt + 1
    key = step_key(view.incident.metadata.uid, record.stage, record.name, attempt)
    return Run(
        record=record.name,
        step=record.name.removeprefix(UNDO_PREFIX),
        stage=record.stage,
        attempt=attempt,
        key=key,
        undo=is_undo(record),
    )


_LEFT_OUT = frozenset({StepState.SKIPPED, StepState.REJECTED})
_MAKES_NO_CHANGE = frozenset({Effect.READ, Effect.K8S_CREATE})


def targets_of(view: View) -> frozenset[str]:
    """Return them as kubectl writes them (`deployment/web`), all in the Incident's own namespace."""
    left_out = {record.name for record in view.status.steps if record.state in _LEFT_OUT}
    found = (_target(step.act) for name, step in view.compiled.steps.items() if name not in left_out)
    return frozenset(filter(None, found))


def shared_targets(view: View, run: Run) -> Sequence[str]:
    """Return the line about other open Incidents that act on what a run acts on, if there are any."""
    target = _target(view.compiled.steps[run.step].act)
    incidents = view.others.get(target, ()) if target is not None else ()
    return (approval.others(target, incidents),) if target is not None and incidents else ()


def _target(act: CompiledAction) -> str | None:
    return None if act.effect in _MAKES_NO_CHANGE else act.action.workload(act.spec)
