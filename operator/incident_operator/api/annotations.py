"""Annotation and label keys: the wire format between people, kubectl and the operator."""

from collections.abc import Mapping
from enum import StrEnum

from incident_operator.api import names
from incident_operator.api.meta import GROUP


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


def labels(own: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an object that the operator makes: `own`, each value made a valid one, and who manages it."""
    return {"app.kubernetes.io/managed-by": "incident-operator"} | {
        key: names.label_value(text) for key, text in own.items()
    }
