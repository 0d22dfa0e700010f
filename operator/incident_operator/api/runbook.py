"""The Runbook: what to do about an alert, in stages of steps."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from incident_operator.api.actions import ActionHolder
from incident_operator.api.meta import (
    Cel,
    Condition,
    DnsLabel,
    Duration,
    Model,
    ObjectMeta,
    ObjectName,
    Severity,
    Timestamp,
)


class Stage(StrEnum):
    """The fixed order of a Runbook's stages."""

    DIAGNOSE = "diagnose"
    MITIGATE = "mitigate"
    REMEDIATE = "remediate"
    VERIFY = "verify"
    RESTORE = "restore"


class OnFailure(StrEnum):
    """What a failed step means for the rest; each stage has its own default."""

    STOP = "stop"
    CONTINUE = "continue"
    ESCALATE = "escalate"


class UndoOn(StrEnum):
    """When a mitigation is undone."""

    RESOLVED = "Resolved"
    FAILED = "Failed"


class Until(Model):
    """Polls a step until its `expect` is true."""

    every: Duration
    for_: Annotated[Duration, Field(alias="for")]


class Retry(Model):
    """Tries a step again after a failure that certainly had no effect."""

    attempts: Annotated[int, Field(ge=1, le=10)]
    backoff: Duration = "5s"


class ApprovalPolicy(Model):
    """How a step asks for approval."""

    expires_after: Duration = "30m"
    alone: bool = False
    """Gives the step a plan of its own."""
    on_reject: Literal["stop", "skip"] = "stop"


class Undo(ActionHolder):
    """The action that takes a step's effect back."""


class Probe(ActionHolder):
    """A read that tells whether an interrupted, unkeyed effect happened: `expect` true means it did."""

    expect: Cel


class Step(ActionHolder):
    """One step: exactly one action, and the conditions around it."""

    name: DnsLabel
    description: Annotated[str, Field(max_length=1024)] = ""
    when: Cel | None = None
    """CEL bool; false skips the step."""
    expect: Cel | None = None
    """CEL bool over `result`; false fails the step."""
    until: Until | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    """How long one attempt may take; 30s unless said, 10m for a job."""
    on_failure: OnFailure | None = None
    approval: ApprovalPolicy | None = None
    undo: Undo | None = None
    undo_on: Annotated[list[UndoOn], Field(max_length=2)] = Field(default_factory=lambda: [UndoOn.RESOLVED])
    probe: Probe | None = None
    protective: bool = False
    """In mitigate: contains harm and cannot be undone; asks unless the operator's settings allow it unasked."""
    outputs: Annotated[dict[str, Cel], Field(max_length=16)] = Field(default_factory=dict)
    """Small typed values for later steps: name → CEL over `result`."""


class ParameterType(StrEnum):
    """Types that a label may be read as; nothing else of an alert reaches a step."""

    STRING = "string"
    INT = "int"
    DATE = "date"
    K8S_NAME = "k8sName"
    DURATION = "duration"


class Parameter(Model):
    """A typed, validated value taken from the alert: the only way from a label to a step."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)]
    type: ParameterType
    from_: Annotated[Cel | None, Field(alias="from")] = None
    """CEL over `alert` (labels, annotations, startsAt)."""
    default: Annotated[str | None, Field(max_length=253)] = None
    pattern: Annotated[str | None, Field(max_length=253)] = None
    """RE2 that the whole of a string must match."""
    enum: Annotated[list[Annotated[str, Field(max_length=253)]] | None, Field(max_length=64)] = None
    min: int | None = None
    max: int | None = None


class Objectives(Model):
    """Promised times from detection on."""

    acknowledge: Duration | None = None
    mitigate: Duration | None = None
    resolve: Duration | None = None


class Review(Model):
    """What is left to do for people once it is over."""

    tasks: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=50)] = Field(default_factory=list)
    """The post-incident list; printed as a checklist in the report."""
    classification: Annotated[str, Field(max_length=63)] = ""
    tags: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=20)] = Field(default_factory=list)


Steps = Annotated[list[Step], Field(max_length=50)]


class RunbookSpec(Model):
    """What to do, for which alerts, as whom."""

    title: Annotated[str, Field(min_length=1, max_length=253)]
    description: Annotated[str, Field(max_length=4096)] = ""
    severity: Severity = Severity.P2
    service_account_name: ObjectName
    """Everything the Runbook does, it does as this service account of its namespace."""
    match: Annotated[list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=20)]
    """Alertmanager matchers, all of which must hold."""
    group_by: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=16)] = Field(default_factory=list)
    """Alerts that agree in these labels belong to one Incident."""
    suspend: bool = False
    """Incidents are still opened, but wait in NeedsHuman."""
    objectives: Objectives = Field(default_factory=Objectives)
    resolve_timeout: Duration = "1h"
    """How long after verification the alert may go on firing before a human is called."""
    parameters: Annotated[list[Parameter], Field(max_length=32)] = Field(default_factory=list)
    diagnose: Steps = Field(default_factory=list)
    mitigate: Steps = Field(default_factory=list)
    remediate: Steps = Field(default_factory=list)
    verify: Steps = Field(default_factory=list)
    restore: Steps = Field(default_factory=list)
    review: Review = Field(default_factory=Review)

    def steps(self, stage: Stage) -> list[Step]:
        """Return the steps of one stage, in order."""
        listed: dict[Stage, list[Step]] = {
            Stage.DIAGNOSE: self.diagnose,
            Stage.MITIGATE: self.mitigate,
            Stage.REMEDIATE: self.remediate,
            Stage.VERIFY: self.verify,
            Stage.RESTORE: self.restore,
        }
        return listed[stage]


class LastIncident(Model):
    """How the newest closed Incident of a Runbook ended."""

    name: str
    phase: str
    at: Timestamp


class RunbookStatus(Model):
    """Whether the Runbook can be used, and why not."""

    observed_generation: int = 0
    revision: str = ""
    """The ControllerRevision that holds the current spec."""
    alerts: Annotated[str, Field(max_length=512)] = ""
    """The matchers in one line, for `kubectl get`."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why it is not ready; empty when it is."""
    open_incidents: int = 0
    last_incident: LastIncident | None = None
    last: Annotated[str, Field(max_length=128)] = ""
    """The newest closed Incident, for `kubectl get`: `Resolved 2025-10-21T01:02:03Z`."""
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(default_factory=list)


class Runbook(Model):
    """The kind as stored."""

    api_version: str = ""
    kind: str = "Runbook"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: RunbookSpec
    status: RunbookStatus = Field(default_factory=RunbookStatus)
