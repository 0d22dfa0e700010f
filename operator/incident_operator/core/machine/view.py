"""What the machine sees when it decides: the Incident, its Runbook or why there is none, and the time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from incident_operator.api.incident import Incident, IncidentStatus, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core.alerts.scope import AlertScope
from incident_operator.core.machine import keys
from incident_operator.core.machine.decisions import Run
from incident_operator.core.runbooks.compiled import Compiled, CompiledStep
from incident_operator.core.runbooks.editors import Editors
from incident_operator.core.runbooks.unasked import ALL_ASK, Leave

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
    """Of the objects that this Incident acts on (`core/machine/targets.py`): the names of other open Incidents that do too."""

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
        return self.compiled.steps[name.removeprefix(keys.UNDO_PREFIX)]

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
    return record.name.startswith(keys.UNDO_PREFIX)


def next_run(view: View, record: StepRecord) -> Run:
    """Return the attempt to make now: a new one, or the one that is under way."""
    under_way = record.state is StepState.RUNNING and record.key is not None
    attempt = record.attempt if under_way else record.attempt + 1
    key = keys.step_key(view.incident.metadata.uid, record.stage, record.name, attempt)
    return Run(
        record=record.name,
        step=record.name.removeprefix(keys.UNDO_PREFIX),
        stage=record.stage,
        attempt=attempt,
        key=key,
        undo=is_undo(record),
    )
