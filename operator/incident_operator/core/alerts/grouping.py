"""Which alerts belong to one Incident, and what that Incident is called."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

_UNMATCHED = "unmatched"
_UNMATCHED_LABEL = "alertname"
_HASH_IN_NAME = 5
_LABEL_HASH = 40
_RUNBOOK_IN_NAME = 50
"""With hash and number at most 63, so that the name also serves as a label's value."""


@dataclass(frozen=True, slots=True)
class IncidentSequence:
    """The Incidents of one group, one after another: what is needed to find those that exist."""

    namespace: str
    stem: str
    """Their name without the number: `<runbook>-<hash>`."""
    digest: str
    """160 bits of SHA-256 over the group: the value of the label `incidents.dev/group`; empty for none."""

    def name(self, number: int) -> str:
        """Return the name of one of them; the same on every replica and at every retry."""
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
    stem = f"{(runbook or _UNMATCHED)[:_RUNBOOK_IN_NAME].rstrip('-.')}-{digest[:_HASH_IN_NAME]}"
    return Group(namespace, runbook, values, IncidentSequence(namespace, stem, digest))


def unmatched(namespace: str, labels: Mapping[str, str]) -> Group:
    """Return the group of an alert that no Runbook matches: one for each `alertname`."""
    return of(namespace, "", (_UNMATCHED_LABEL,), labels)


def split_name(incident: str) -> tuple[str, int] | None:
    """Return stem and number of an Incident's name; None for a name of another form."""
    stem, _, number = incident.rpartition("-")
    if not stem or not number.isascii() or not number.isdigit() or number.startswith("0") or len(number) > 6:
        return None
    return stem, int(number)
