"""The Incident: one occurrence of trouble. The alerts are in spec, everything done about them in status.

Its annotations and labels are the wire format between people, kubectl and the operator.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from incident_operator.api.approvals import (
    Acknowledgement,
    ApprovalRecord,
    HandledAnswer,
    Over,
    PendingAnswer,
    PendingApproval,
)
from incident_operator.api.meta import (
    GROUP,
    Conditions,
    Extra,
    Model,
    NameRef,
    ObjectMeta,
    Severity,
    Timestamp,
    keyed_by,
    label_value,
    rule,
    validations,
)
from incident_operator.api.runbook import Stage


class Verb(StrEnum):
    """What a person may tell an Incident by `kubectl annotate`; the value is `"<token> <user name>"`."""

    APPROVE = "approve"
    REJECT = "reject"
    ABORT = "abort"
    RETRY = "retry"
    RESOLVE = "resolve"
    OVER = "over"
    ACKNOWLEDGE = "acknowledge"

    @property
    def annotation(self) -> str:
        """The annotation's key, e.g. `incidents.dev/approve`."""
        return f"{GROUP}/{self}"


EDITORS = f"{GROUP}/editors"
"""On a Runbook: who changed its spec since it was last reviewed, a user name a line, stamped at admission."""
REVIEWED = f"{GROUP}/reviewed"
"""On a Runbook: `"<generation> <user name>"` of somebody else who may approve; for that generation nobody is an editor."""
LAST_EDITOR = f"{GROUP}/last-editor"
"""On a Runbook from before `EDITORS`: who last changed its spec, the only editor that is known."""
OPENED_BY = f"{GROUP}/opened-by"
"""On an Incident opened by hand: who created it, stamped at admission."""
EFFECT_KEY = f"{GROUP}/step-key"
"""On an object the operator made or changed: the step key of the effect, its crash marker."""

RUNBOOK_LABEL = f"{GROUP}/runbook"
SEVERITY_LABEL = f"{GROUP}/severity"
GROUP_LABEL = f"{GROUP}/group"
"""On an Incident: the hash of its grouping key, shared by all episodes of that group."""
INCIDENT_LABEL = f"{GROUP}/incident"
STEP_LABEL = f"{GROUP}/step"


def incident_labels(own: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an object that the operator makes: `own`, each value made a valid one, and who manages it."""
    return {"app.kubernetes.io/managed-by": "incident-operator"} | {key: label_value(text) for key, text in own.items()}


LabelValue = Annotated[str, Field(json_schema_extra={"maxLength": 1024})]
"""As the receiver takes it. The definition alone bounds it: what was stored before has to be read."""


class AlertStatus(StrEnum):
    """An alert's own state, in Alertmanager's words."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Model):
    """One occurrence of an alert; labels that all alerts of the Incident share are in `commonLabels`."""

    id: Annotated[str, Field(max_length=64)]
    """`<40 hex of sha256 over the sorted labels>-<startsAt in milliseconds, hex>`: the identity of the occurrence."""
    starts_at: Timestamp
    """When it began, as its sender says."""
    ends_at: Timestamp | None = None
    """When it resolved; absent while it fires."""
    status: AlertStatus = AlertStatus.FIRING
    """Whether it still fires."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Labels of its own, beside those that all alerts of the Incident have."""
    summary: Annotated[str, Field(max_length=512)] = ""
    """Its annotation `summary`."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """Its annotation of that name."""
    runbook_url: Annotated[str, Field(alias="runbookURL", max_length=2048)] = ""
    """Its annotation `runbook_url`: an http or https URL, without user and password."""
    dashboard_url: Annotated[str, Field(alias="dashboardURL", max_length=2048)] = ""
    """Its annotation `dashboard_url`, in the same way."""
    annotations: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """The other annotations; expressions see all of them as `annotations`."""
    generator_url: Annotated[str, Field(alias="generatorURL", max_length=2048)] = ""
    """Where the rule that raised it can be seen."""
    end_told_by: Annotated[str, Field(max_length=512)] = ""
    """Who reported the end, where it was not Alertmanager's own message."""


class Silence(Model):
    """What a Connection of type alertmanager last saw: alerts of this Incident are silenced."""

    alerts: Annotated[int, Field(ge=1)]
    """How many of those that fire."""
    until: Timestamp | None = None
    """When the last of the silences ends; absent where that could not be read."""
    by: Annotated[str, Field(max_length=253)] = ""
    """Who made that one, as Alertmanager has it: a name that nobody checked."""
    connection: Annotated[str, Field(max_length=253)]
    """The Connection that says so; no other one may remove it."""
    end_is_noticed: bool = False
    """Whether that Connection asks each Alertmanager by itself, and so notices when such an alert ends."""


def _immutable(field: str) -> Extra:
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} is immutable: it says which trouble this Incident is about",
    )


class IncidentSpec(Model):
    """The alerts, and the Runbook that answers them. The operator's; a person opens one with the same fields."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            *(_immutable(field) for field in ("runbookRef", "severity", "group")),
        )
    )

    runbook_ref: NameRef | None = None
    """The Runbook that answers the alerts; absent where none matched."""
    severity: Severity = Severity.P2
    """How urgent it is, as the Runbook says."""
    group: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
    """The values of the Runbook's `groupBy` labels."""
    common_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Labels that all alerts share."""
    alerts: Annotated[list[Alert], Field(max_length=2500)] = Field(default_factory=list)
    """The alerts, the first ones first."""
    alerts_omitted: Annotated[int, Field(ge=0)] = 0
    """Alerts that did not fit into this object; they are counted, never refused."""
    truncated_alerts: Annotated[int, Field(ge=0)] = 0
    """Alerts that Alertmanager cut from its message (`truncatedAlerts`)."""
    silence: Silence | None = None
    """Its alerts that Alertmanager silences; Alertmanager sends no message when they resolve."""

    def labels_of(self, alert: Alert) -> dict[str, str]:
        """Return all labels of a listed alert (of one without details: those that all alerts share)."""
        return {**self.common_labels, **alert.labels}

    @property
    def resolved(self) -> bool:
        """Whether every alert has resolved; an Incident without alerts (opened by hand) has not."""
        return bool(self.alerts) and all(alert.status is AlertStatus.RESOLVED for alert in self.alerts)


class Phase(StrEnum):
    """Where the Incident stands, for people."""

    PENDING = "Pending"
    DIAGNOSING = "Diagnosing"
    MITIGATING = "Mitigating"
    AWAITING_APPROVAL = "AwaitingApproval"
    REMEDIATING = "Remediating"
    VERIFYING = "Verifying"
    RESTORING = "Restoring"
    RESOLVED = "Resolved"
    NEEDS_HUMAN = "NeedsHuman"
    FAILED = "Failed"
    SUPPRESSED = "Suppressed"


CLOSED_PHASES = frozenset({Phase.RESOLVED, Phase.FAILED, Phase.SUPPRESSED})


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    AWAITING_APPROVAL = "AwaitingApproval"
    REJECTED = "Rejected"
    UNKNOWN = "Unknown"
    UNDONE = "Undone"
    UNDO_FAILED = "UndoFailed"


class UndoState(StrEnum):
    """Whether a step's effect has been taken back."""

    PENDING = "Pending"
    DONE = "Done"
    FAILED = "Failed"


class StepRecord(Model):
    """What is known about one step; an undo has a record of its own, named `undo-<step>`, in stage restore."""

    name: Annotated[str, Field(max_length=68)]
    """The step of the Runbook."""
    stage: Stage
    """Its stage."""
    action: Annotated[str, Field(max_length=32)]
    """Its action, as written."""
    state: StepState = StepState.PENDING
    """Where it stands."""
    effect: Annotated[str, Field(max_length=16)] = "read"
    """The effect class of its action."""
    attempt: int = 0
    """Attempts begun; part of the step key."""
    key: Annotated[str | None, Field(max_length=64)] = None
    """sha256(incident uid / stage / step / attempt): what makes the effect happen once."""
    failures: int = 0
    """Attempts that failed; `retry` counts them. One that certainly did not begin is not among them."""
    since: Timestamp | None = None
    """Since when the step is tried: attempts that certainly did not begin share the time that one may take."""
    seen: dict[str, Any] | None = None
    """The state that the act started from, such as the uid of its target: used to look it up, and to stop it."""
    started_at: Timestamp | None = None
    """When the last attempt began."""
    finished_at: Timestamp | None = None
    """When it ended."""
    polled_at: Timestamp | None = None
    """When it was last looked at, while it runs or is polled."""
    not_before: Timestamp | None = None
    """A retry waits until then."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """Why it failed or was skipped, in one CamelCase word."""
    summary: Annotated[str, Field(max_length=512)] = ""
    """What came out, in one line."""
    outputs: dict[str, Any] | None = None
    """Its outputs, for later steps."""
    captured: dict[str, Any] | None = None
    """What the action needs to take its effect back, e.g. {before: 2, after: 5}."""
    did: Annotated[str, Field(max_length=1024)] = ""
    """What the act did, with the values that were bound, in the words of a plan; empty for a read, and before it begins."""
    evidence: Annotated[str | None, Field(max_length=80)] = None
    """Digest of the full result as it is kept, `sha256:…`; absent where the summary tells it all."""
    evidence_in: Annotated[str | None, Field(max_length=63)] = None
    """The ConfigMap that holds it, under the key `<name>.json`; absent where it could not be kept."""
    undo: UndoState | None = None
    """Whether its effect was taken back; absent where there is nothing to undo."""


class ObjectiveState(StrEnum):
    """Whether a promised time was kept."""

    PENDING = "Pending"
    MET = "Met"
    MISSED = "Missed"


class Objective(Model):
    """One promised time."""

    name: Literal["acknowledge", "mitigate", "resolve"]
    """What is promised."""
    deadline: Timestamp
    """Until when."""
    state: ObjectiveState = ObjectiveState.PENDING
    """Whether it was kept."""


class StoredReport(Model):
    """The report of a closed Incident, beside it."""

    config_map: Annotated[str, Field(max_length=63)]
    """The ConfigMap that holds it, under the key `report.md`."""
    digest: Annotated[str, Field(max_length=80)]
    """Digest of it, `sha256:…`."""


class Times(Model):
    """The moments that matter."""

    detected: Timestamp | None = None
    """When the first alert began."""
    acknowledged: Timestamp | None = None
    """When a person first answered."""
    mitigated: Timestamp | None = None
    """When the harm was contained."""
    resolved: Timestamp | None = None
    """When it was over."""


class IncidentStatus(Model):
    """Everything done about it. Written by the operator only, in `kubernetes/state.py` only."""

    observed_generation: int | None = None
    """The generation of the spec that the newest write knew. A change of the spec that changes nothing here is not written."""
    phase: Phase = Phase.PENDING
    """Where it stands."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """Why it is in this phase, one CamelCase word."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """One line for the reader at 03:00: what it waits for, for whom, until when."""
    step: Annotated[str, Field(max_length=68)] = ""
    """The step it is at, for `kubectl get`."""
    waiting_for: Annotated[str, Field(max_length=128)] = ""
    """For `kubectl get`: `approval until 03:51`."""
    alerts: Annotated[str, Field(max_length=64)] = ""
    """For `kubectl get -o wide`: `3 firing/1 resolved`."""
    mitigated_after: Annotated[str, Field(max_length=32)] = ""
    """For `kubectl get -o wide`: `2m10s`."""
    runbook_revision: Annotated[str, Field(max_length=253)] = ""
    """The ControllerRevision with the Runbook as it was when the Incident began."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The values of the Runbook's parameters."""
    times: Times = Field(default_factory=Times)
    """The moments that matter."""
    objectives: Annotated[list[Objective], Field(max_length=3)] = Field(default_factory=list)
    """The promised times, and whether they were kept."""
    conditions: Conditions = Field(default_factory=list)
    """Observations for machines."""
    steps: Annotated[list[StepRecord], Field(max_length=500, json_schema_extra=keyed_by("name"))] = Field(
        default_factory=list
    )
    """What became of each step, in the order in which they began."""
    pending_approval: PendingApproval | None = None
    """The plan that waits for a person."""
    approvals: Annotated[list[ApprovalRecord], Field(max_length=20)] = Field(default_factory=list)
    """Earlier answers to plans."""
    pending_answer: PendingAnswer | None = None
    """Another question that waits for a person."""
    answers: Annotated[list[HandledAnswer], Field(max_length=50)] = Field(default_factory=list)
    """Answers that were acted on."""
    over: Over | None = None
    """Who said that the alert is over; restore, undo and close then follow as after a `resolved` of Alertmanager."""
    acknowledgement: Acknowledgement | None = None
    """Who said that they are on it, and until when that counts."""
    report: StoredReport | None = None
    """Where the report is, once it is closed."""
    written_by: Annotated[str, Field(max_length=64)] = ""
    """Which operator process wrote this, and the number of its write, so that a process recognises its own writes."""


class Incident(Model):
    """One occurrence of trouble: its alerts, and everything that was done about them."""

    api_version: str = ""
    kind: str = "Incident"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: IncidentSpec = Field(default_factory=IncidentSpec)
    status: IncidentStatus = Field(default_factory=IncidentStatus)
    unread_bytes: Annotated[int, Field(exclude=True)] = 0
    """How long its spec is where that is more than is read: its alerts are left out then. Not stored; 0 for all others."""

    @property
    def is_over(self) -> bool:
        """Whether every alert has resolved, or a person said so and none fires that came later."""
        said = self.status.over
        if said is None:
            return self.spec.resolved
        return not any(alert.status is AlertStatus.FIRING for alert in self.spec.alerts[said.alerts :])
