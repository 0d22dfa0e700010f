"""An Incident as kubectl returns it, read for the story. Decides nothing."""

from dataclasses import dataclass
from typing import Any

from demonstration import manifests, shell, waiting
from demonstration.cluster import Cluster

STUCK = frozenset({"NeedsHuman", "Failed", "Suppressed"})


@dataclass(frozen=True, slots=True)
class Incident:
    """One reading of an Incident."""

    body: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def status(self) -> dict[str, Any]:
        """What the operator has written so far."""
        return dict(self.body.get("status", {}))

    @property
    def phase(self) -> str:
        """Its phase, empty before the first reconciliation."""
        return str(self.status.get("phase", ""))

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition: its status, reason and message; empty before there is one."""
        return next((dict(each) for each in self.status.get("conditions", []) if each["type"] == kind), {})

    def succeeded(self, step: str) -> bool:
        """Whether a step is done."""
        return any(each["name"] == step and each["state"] == "Succeeded" for each in self.status.get("steps", []))


def newest(cluster: Cluster, runbook: str) -> Incident | None:
    """The Incident of a Runbook of the sample that was created last, once an alert is in it."""
    found = cluster.get("incidents", "-n", manifests.NAMESPACE, "-l", f"incidents.dev/runbook={runbook}") or {}
    bodies = [body for body in found.get("items", []) if body["spec"].get("alerts")]
    return max(map(Incident, bodies), key=lambda each: str(each.body["metadata"]["creationTimestamp"]), default=None)


def read(cluster: Cluster, name: str) -> Incident:
    """The Incident as it is now. Raises shell.Failure where it is gone, or waits for help that nobody here gives."""
    body = cluster.get("incident", name, "-n", manifests.NAMESPACE)
    if body is None:
        raise shell.Failure(f"the Incident {name} is gone")
    incident = Incident(body)
    if incident.phase in STUCK:
        raise shell.Failure(f"the Incident is {incident.phase}: {incident.status.get('message', '')}")
    return incident


def until_phase(cluster: Cluster, name: str, phase: str, seconds: float) -> Incident:
    """Wait for a phase."""
    return waiting.until(f"phase {phase} of {name}", lambda: _if(read(cluster, name), phase=phase), seconds)


def until_condition(cluster: Cluster, name: str, condition: str, seconds: float) -> Incident:
    """Wait for a condition to become True."""

    def look() -> Incident | None:
        incident = read(cluster, name)
        found = incident.condition(condition)
        if found.get("status") == "False":
            raise shell.Failure(f"{name} is not {condition}: {found['message']}")
        return incident if found.get("status") == "True" else None

    return waiting.until(f"condition {condition} of {name}", look, seconds)


def until_step(cluster: Cluster, name: str, step: str, seconds: float) -> Incident:
    """Wait for a step to succeed."""

    def look() -> Incident | None:
        incident = read(cluster, name)
        return incident if incident.succeeded(step) else None

    return waiting.until(f"step {step} of {name}", look, seconds)


def _if(incident: Incident, *, phase: str) -> Incident | None:
    return incident if incident.phase == phase else None
