"""The few fields of Incidents and Runbooks that lists and watches are read for; all others are skipped while parsing.

Validation of the whole is for whoever works on the Incident: here even a strange one has a name.
"""

from typing import TypedDict

Annotations = TypedDict("Annotations", {"incidents.dev/abort": str, "incidents.dev/opened-by": str}, total=False)
"""What a person says that cannot wait until the Incident is looked at next, and that the operator did not make it."""


class Metadata(TypedDict, total=False):
    """Who it is, and which state of it this is."""

    namespace: str
    name: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: Annotations


class Alert(TypedDict, total=False):
    """One alert's identity and state."""

    id: str
    status: str


class Silence(TypedDict, total=False):
    """What was last seen of silences."""

    alerts: int
    until: str
    by: str
    connection: str
    endIsNoticed: bool


class Named(TypedDict, total=False):
    """A reference."""

    name: str


class Spec(TypedDict, total=False):
    """What decides when it is reconciled, and whether an alert is news."""

    runbookRef: Named | None
    severity: str
    alerts: list[Alert]
    truncatedAlerts: int
    silence: Silence


class Times(TypedDict, total=False):
    """When it ended."""

    resolved: str


class Condition(TypedDict, total=False):
    """When a condition last changed."""

    type: str
    lastTransitionTime: str


class Status(TypedDict, total=False):
    """Whether it is open, and how it ended."""

    phase: str
    times: Times
    conditions: list[Condition]


class PartialIncident(TypedDict, total=False):
    """An Incident as far as lists and watches are concerned."""

    metadata: Metadata
    spec: Spec
    status: Status


class RunbookSpec(TypedDict, total=False):
    """What alerts are matched by."""

    match: list[str]
    severity: str
    groupBy: list[str]


class RunbookStatus(TypedDict, total=False):
    """Which version was checked."""

    observedGeneration: int


class PartialRunbook(TypedDict, total=False):
    """A Runbook as far as lists and watches are concerned."""

    metadata: Metadata
    spec: RunbookSpec
    status: RunbookStatus
