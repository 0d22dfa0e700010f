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
        """Its phase, empty before the first visit."""
        return str(self.status.get("phase", ""))

    def condition(self, kind: str) -> bool:
        """Whether a condition is True."""
        return any(each["type"] == kind and each["status"] == "True" for each in self.status.get("conditions", []))

    def succeeded(self, step: str) -> bool:
        """Whether a step is done."""
        return any(each["name"] == step and each["state"] == "Succeeded" for each in self.status.get("steps", []))


def newest(cluster: Cluster) -> Incident | None:
    """The Incident of the sample's namespace that was created last."""
    found = cluster.get("incidents", "-n", manifests.NAMESPACE) or {}
    bodies = sorted(found.get("items", []), key=lambda body: str(body["metadata"]["creationTimestamp"]))
    return Incident(bodies[-1]) if bodies else None


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
        return incident if incident.condition(condition) else None

    return waiting.until(f"condition {condition} of {name}", look, seconds)


def until_step(cluster: Cluster, name: str, step: str, seconds: float) -> Incident:
    """Wait for a step to succeed."""

    def look() -> Incident | None:
        incident = read(cluster, name)
        return incident if incident.succeeded(step) else None

    return waiting.until(f"step {step} of {name}", look, seconds)


def _if(incident: Incident, *, phase: str) -> Incident | None:
    return incident if incident.phase == phase else None
