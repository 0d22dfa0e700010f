"""What the operator says of a hostile object, read from what etcd holds. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Told(StrEnum):
    """What people are told of a Runbook, or of an Incident."""

    NOTHING = "nothing"
    REFUSED = "refused"
    """The apiserver did not take it."""
    INVALID = "Invalid"
    NOT_READY = "not ready"
    """For another reason than what it says itself, e.g. a Connection that does not answer."""
    WARNED = "Ready, with a warning"
    READY = "Ready"
    NEEDS_HUMAN = "NeedsHuman"
    FAILED = "a step failed"
    ASKED = "asked for approval"
    DONE = "done"


_CLOSED = frozenset({"Resolved", "Failed", "Suppressed"})
_WAITS = {"Verifying", "Restoring"}
"""Phases in which all that the Runbook does is done, or only the alert is waited for."""


def of_runbook(runbook: Json) -> Told:
    """Return what the operator says of a Runbook as it is now; of an older generation it says nothing."""
    status = runbook.get("status") or {}
    if status.get("observedGeneration") != runbook["metadata"]["generation"]:
        return Told.NOTHING
    ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), None)
    if ready is None:
        return Told.NOTHING
    if ready["status"] == "True":
        return Told.WARNED if ready.get("message") else Told.READY
    return Told.INVALID if ready["reason"] == "Invalid" else Told.NOT_READY


def of_incident(incident: Json) -> Told:
    """Return where an Incident stands, as far as people have to know."""
    status = incident.get("status") or {}
    phase, steps = status.get("phase"), status.get("steps", ())
    if phase == "NeedsHuman":
        return Told.NEEDS_HUMAN
    if any(step["state"] == "Failed" for step in steps):
        return Told.FAILED
    if phase == "AwaitingApproval":
        return Told.ASKED
    return Told.DONE if phase in _CLOSED | _WAITS else Told.NOTHING
