"""The step key: the name of one attempt of one effect, the same however often the operator dies in between."""

import hashlib

from incident_operator.api.runbook import Stage

UNDO_PREFIX = "undo-"


def step_key(incident_uid: str, stage: Stage, step: str, attempt: int) -> str:
    """Return sha256(incident uid / stage / step / attempt) in hex, which each mark of an act carries."""
    return hashlib.sha256(f"{incident_uid}/{stage}/{step}/{attempt}".encode()).hexdigest()


def undo_name(step: str) -> str:
    """Return the name of the record that takes a step back."""
    return f"{UNDO_PREFIX}{step}"
