"""The Runbook: what to do about an alert, in stages of steps; its parameters alone bring an alert's labels to a step, as typed values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from incident_operator.api.meta import (
    Cel,
    Conditions,
    DnsLabel,
    Duration,
    Extra,
    Model,
    ObjectMeta,
    ObjectName,
    Severity,
    Timestamp,
    keyed_by,
    rule,
    unordered,
    validations,
)


class ParameterType(StrEnum):
    """Types that a label may be read as; nothing else of an alert reaches a step."""

    STRING = "string"
    INT = "int"
    DATE = "date"
    K8S_NAME = "k8sName"
    DURATION = "duration"


def _only_for(kind: str, field: str) -> Extra:
    return rule(f"!has(self.{field}) || self.type == '{kind}'", f"{field} is for parameters of type {kind}")


class Parameter(Model):
    """A typed, validated value taken from the alert: the only way from a label to a step."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("has(self.from) || has(self.default)", "a parameter needs from, or default, or both"),
            _only_for("string", "pattern"),
            _only_for("string", "enum"),
            _only_for("int", "min"),
            _only_for("int", "max"),
            rule("!has(self.min) || !has(self.max) || self.min <= self.max", "min may not be above max"),
            rule("!has(self.enum) || !has(self.default) || self.default in self.enum", "default has to be one of enum"),
        )
    )

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)]
    """Steps see the value as `params.NAME`."""
    type: ParameterType
    """What the value has to be; anything else stops the Incident."""
    from_: Annotated[Cel | None, Field(alias="from")] = None
    """CEL over `alert` (labels, annotations, startsAt)."""
    default: Annotated[str | None, Field(max_length=253)] = None
    """The value where the alert has none."""
    pattern: Annotated[str | None, Field(max_length=253)] = None
    """RE2 that the whole of a string must match."""
    enum: (
        Annotated[
            list[Annotated[str, Field(max_length=253)]],
            Field(min_length=1, max_length=64, json_schema_extra=unordered()),
        ]
        | None
    ) = None
    """The only texts that are allowed, for a string."""
    min: int | None = None
    """The least, for an int."""
    max: int | None = None
    """The most, for an int."""


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

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self.every.matches('[1-9]')", "every has to be longer than 0s"),
            # the apiserver's duration() knows no days: of those the compiler tells
            rule(
                "(self.every + self.__for__).matches('[dwy]') || duration(self.every) <= duration(self.__for__)",
                "every may not be longer than for",
            ),
        )
    )

    every: Duration
    """How long to wait between two looks."""
    for_: Annotated[Duration, Field(alias="for")]
    """At most 168h."""


class Retry(Model):
    """Tries a step again after a failure that certainly had no effect."""

    attempts: Annotated[int, Field(ge=1, le=10)]
    """How often the step is tried in all."""
    backoff: Duration = "5s"
    """How long to wait before it is tried again."""


class ApprovalPolicy(Model):
    """How a step asks for approval."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self.expiresAfter.matches('[1-9]')", "expiresAfter has to be longer than 0s")
        )
    )

    expires_after: Duration = "30m"
    """How long the question waits for a person."""
    alone: bool = False
    """Gives the step a plan of its own."""
    on_reject: Literal["stop", "skip"] = "stop"
    """Whether a rejection stops the Incident, or skips the steps that were asked for."""


class WithAction(Model):
    """Carries exactly one action under its own key, as JSON: which actions there are is not known here.

    `core/runbooks/reading.py` reads it with the catalogue, and `crdgen/` writes the actions into the definition.
    """

    model_config = ConfigDict(extra="allow")

    @property
    def others(self) -> Mapping[str, Any]:
        """What is written beside the fields below: its action, and what a newer version may know."""
        return self.model_extra or {}


class Undo(WithAction):
    """The action that takes a step's effect back."""


class Probe(WithAction):
    """A read that tells whether an interrupted, unkeyed effect happened: `expect` true means it did."""

    expect: Cel
    """CEL bool over `result`; true means that the act happened."""


class Step(WithAction):
    """One step: exactly one action, and the conditions around it."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("!has(self.until) || has(self.expect)", "until polls expect, so it needs one"),
            rule("!has(self.timeout) || self.timeout.matches('[1-9]')", "timeout has to be longer than 0s"),
            rule(
                "!self.name.startsWith('undo-')", "undo-… is the name of a step's undo; call this step something else"
            ),
        )
    )

    name: DnsLabel
    """Unique in the whole Runbook; other steps refer to it by this name."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """What the step is for; people read it where they are asked, and in the report."""
    when: Cel | None = None
    """CEL bool; false skips the step."""
    expect: Cel | None = None
    """CEL bool over `result`; false fails the step."""
    until: Until | None = None
    """Looks again until `expect` is true; for reads."""
    retry: Retry | None = None
    """How often the step is tried after a failure."""
    timeout: Duration | None = None
    """How long one attempt may take; the default is the action's own. At most 1h, a Job 168h."""
    on_failure: OnFailure | None = None
    """What its failure means for the rest; the default is the stage's."""
    approval: ApprovalPolicy | None = None
    """How a person is asked before the step runs."""
    undo: Undo | None = None
    """Takes the step's effect back."""
    undo_on: Annotated[list[UndoOn], Field(max_length=2, json_schema_extra=unordered())] = Field(
        default_factory=lambda: [UndoOn.RESOLVED]
    )
    """When the undo runs."""
    probe: Probe | None = None
    """Finds out after a crash whether the act happened."""
    protective: bool = False
    """In mitigate: contains harm and cannot be undone; asks unless the operator's settings name the step."""
    outputs: Annotated[dict[str, Cel], Field(max_length=16)] = Field(default_factory=dict)
    """Small typed values for later steps: name → CEL over `result`."""


class Objectives(Model):
    """Promised times from detection on."""

    acknowledge: Duration | None = None
    """Until somebody acknowledges the Incident."""
    mitigate: Duration | None = None
    """Until the harm is contained: the last step of `mitigate` is done."""
    resolve: Duration | None = None
    """Until it is verified that all is well."""


class Review(Model):
    """What is left to do for people once it is over."""

    tasks: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=50)] = Field(default_factory=list)
    """The post-incident list; printed as a checklist in the report."""
    classification: Annotated[str, Field(max_length=63)] = ""
    """What kind of trouble it is, for statistics."""
    tags: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=20)] = Field(default_factory=list)
    """Words to find it by."""


Steps = Annotated[list[Step], Field(max_length=50, json_schema_extra=keyed_by("name"))]

_ALL_STEP_NAMES = " + ".join(
    f"(has(self.{stage.value}) ? self.{stage.value}.map(step, step.name) : [])" for stage in Stage
)


class RunbookSpec(Model):
    """What to do, for which alerts, as whom."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"[{_ALL_STEP_NAMES}].all(names, names.all(name, names.exists_one(other, other == name)))",
                "a step's name is unique in the whole Runbook, whatever its stage",
            ),
        )
    )

    title: Annotated[str, Field(min_length=1, max_length=253)]
    """What the trouble is, in a few words; the title of its Incidents."""
    description: Annotated[str, Field(max_length=4096)] = ""
    """What it means and whom it hurts, for the reader at night."""
    severity: Severity = Severity.P2
    service_account_name: ObjectName
    """The Runbook does everything as this service account of its namespace."""
    match: Annotated[list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=20)]
    """Alertmanager matchers, all of which must hold."""
    group_by: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=16)] = Field(default_factory=list)
    """Alerts that agree in these labels belong to one Incident."""
    suspend: bool = False
    """Incidents are still opened, but wait in NeedsHuman."""
    objectives: Objectives = Field(default_factory=Objectives)
    """Promised times, counted from detection."""
    resolve_timeout: Duration = "1h"
    """How long after verification the alert may go on firing before a human is called."""
    parameters: Annotated[list[Parameter], Field(max_length=32, json_schema_extra=keyed_by("name"))] = Field(
        default_factory=list
    )
    """Typed values read from the alert, for steps to use as `params.NAME`."""
    diagnose: Steps = Field(default_factory=list)
    """First, all at once: steps that only read, to find out what is wrong."""
    mitigate: Steps = Field(default_factory=list)
    """Then, one by one: steps that contain the harm and can be taken back."""
    remediate: Steps = Field(default_factory=list)
    """Then, one by one: steps that repair; a person approves each effect."""
    verify: Steps = Field(default_factory=list)
    """Then, all at once: steps that only read, to see that it helped."""
    restore: Steps = Field(default_factory=list)
    """Once it is verified and the alert has resolved: steps that bring back what mitigations replaced."""
    review: Review = Field(default_factory=Review)
    """What is left for people afterwards."""

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
    """The Incident."""
    phase: str
    """How it ended."""
    at: Timestamp
    """When it was closed."""


class RunbookStatus(Model):
    """Whether the Runbook can be used, and why not."""

    observed_generation: int = 0
    """The generation of the spec that this is about; -1 before the operator has seen any."""
    revision: str = ""
    """The ControllerRevision that holds the current spec."""
    alerts: Annotated[str, Field(max_length=512)] = ""
    """The matchers in one line, for `kubectl get`."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why it is not ready; where it is, who has to look at it in daylight, and what the next release will refuse."""
    open_incidents: int = 0
    """Incidents of it that are not closed."""
    last_incident: LastIncident | None = None
    """The newest closed Incident."""
    last: Annotated[str, Field(max_length=128)] = ""
    """The newest closed Incident, for `kubectl get`: `Resolved 2025-10-21T01:02:03Z`."""
    conditions: Conditions = Field(default_factory=list)
    """`Ready`: whether it can be used."""


class Runbook(Model):
    """What to do about an alert, in stages of steps."""

    api_version: str = ""
    kind: str = "Runbook"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: RunbookSpec
    status: RunbookStatus = Field(default_factory=RunbookStatus)
