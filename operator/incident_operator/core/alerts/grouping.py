"""Which alerts belong to one Incident, what that Incident is called, and how such an Incident is known again."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from incident_operator.api import names
from incident_operator.api.annotations import GROUP_LABEL, OPENED_BY

_UNMATCHED = "unmatched"
_UNMATCHED_LABEL = "alertname"
_HASH_IN_NAME = 5
_LABEL_HASH = 40
_STEM = 56
"""With a number of up to six digits at most 63, so that the name also serves as a label's value."""
_DIGITS = 9
_NAME = re.compile(rf"(.+-[0-9a-f]{{{_HASH_IN_NAME}}})-([1-9][0-9]{{0,{_DIGITS - 1}}})", re.ASCII)
"""What `IncidentSequence.name` writes and `split_name` reads; the policy incident-approval has the same for what others create."""


@dataclass(frozen=True, slots=True)
class IncidentSequence:
    """The Incidents of one group, one after another: what is needed to find those that exist."""

    namespace: str
    stem: str
    """Their name without the number: `<runbook>-<hash>`."""
    digest: str
    """160 bits of SHA-256 over the group: the value of the label `incidents.dev/group`; empty for none."""

    def name(self, number: int) -> str:
        """Return the name of one of them, which `split_name` reads; the same on every replica and at every retry.

        Raises `ValueError` for a number that could not be read again.
        """
        if not 1 <= number < 10**_DIGITS:
            raise ValueError(f"{number} is not the number of an Incident")
        return f"{self.stem}-{number}"


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that one Incident at a time answers. Made by `of` or `unmatched`."""

    namespace: str
    runbook: str
    """Name of the Runbook; empty for alerts that none matches."""
    values: tuple[tuple[str, str], ...]
    """The `groupBy` labels with their values; an absent label has the empty value."""
    sequence: IncidentSequence


def of(namespace: str, runbook: str, group_by: Sequence[str], labels: Mapping[str, str]) -> Group:
    """Return the group of an alert under a Runbook."""
    values = tuple((name, labels.get(name, "")) for name in group_by)
    digest = hashlib.sha256(orjson.dumps([namespace, runbook, values])).hexdigest()[:_LABEL_HASH]
    return Group(namespace, runbook, values, IncidentSequence(namespace, _stem(runbook, digest), digest))


def unmatched(namespace: str, labels: Mapping[str, str]) -> Group:
    """Return the group of an alert that no Runbook matches: one for each `alertname`."""
    return of(namespace, "", (_UNMATCHED_LABEL,), labels)


def split_name(incident: str) -> tuple[str, int] | None:
    """Return stem and number of an Incident's name; None for a name that `IncidentSequence.name` does not write."""
    read = _NAME.fullmatch(incident)
    return (read[1], int(read[2])) if read else None


def is_own(incident: Mapping[str, Any]) -> bool:
    """Tell whether the operator made an Incident for a group: nobody opened it, and name, Runbook and group agree."""
    metadata = incident["metadata"]
    split = split_name(metadata["name"])
    if split is None or OPENED_BY in (metadata.get("annotations") or {}):
        return False
    digest = (metadata.get("labels") or {}).get(GROUP_LABEL, "")
    runbook = ((incident.get("spec") or {}).get("runbookRef") or {}).get("name", "")
    return split[0] == _stem(runbook, digest)


def _stem(runbook: str, digest: str) -> str:
    return names.with_ending(runbook or _UNMATCHED, digest[:_HASH_IN_NAME], _STEM)
