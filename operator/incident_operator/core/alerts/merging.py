"""An Incident's name and spec, made of alerts: which belong together, and how changes are merged into what is stored.

Labels that all alerts share stand once in `commonLabels`, and an alert's own `labels` are what differs: the two together
are exactly its labels. Alerts beyond `DETAILED_BYTES` keep only id, start and status; beyond `LISTED_ALERTS` they are counted: a spec is
bounded, however many alerts a group holds.
"""

import hashlib
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from incident_operator.api.incident import GROUP_LABEL, OPENED_BY, Alert, AlertStatus, IncidentSpec
from incident_operator.api.meta import NameRef, Severity, with_ending
from incident_operator.core import sanitize
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.received_alerts import (
    DASHBOARD_URL,
    DESCRIPTION,
    RUNBOOK_URL,
    SUMMARY_NAME,
    ReceivedAlert,
    kept_label,
    kept_link,
)

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
    return with_ending(runbook or _UNMATCHED, digest[:_HASH_IN_NAME], _STEM)


DETAILED_BYTES = 80 * 1024
LISTED_ALERTS = 1000
"""About 115 bytes each without details: with them and the labels a spec stays under 200 KiB, an Incident under 256."""


def opened(group: Group, severity: Severity, changes: Sequence[ReceivedAlert], truncated: int) -> IncidentSpec:
    """Return the spec of a new Incident for these firing alerts."""
    runbook = NameRef(name=group.runbook) if group.runbook else None
    values = {name: kept_label(value) for name, value in group.values}
    return merged(IncidentSpec(runbook_ref=runbook, severity=severity, group=values), changes, truncated)


def merged(spec: IncidentSpec, changes: Sequence[ReceivedAlert], truncated: int) -> IncidentSpec:
    """Return the spec with the changes in it; equal to `spec` where there is nothing new.

    A firing alert is added unless it is known. A resolved one resolves every listed alert of the same labels that began
    before its end: Alertmanager may move `startsAt` when a second Prometheus reports the same alert. Nothing fires again.
    """
    known = {alert.id for alert in spec.alerts}
    fresh = [alert for alert in changes if alert.firing and alert.id not in known]
    listed = fresh[: max(0, LISTED_ALERTS - len(spec.alerts))]
    common = spec.common_labels
    if listed:
        start = common if spec.alerts else listed[0].kept
        common = {name: value for name, value in start.items() if all(each.kept.get(name) == value for each in listed)}
    no_longer_common = {name: value for name, value in spec.common_labels.items() if name not in common}
    alerts = _resolved(spec.alerts, changes)
    if no_longer_common:
        alerts = [each.model_copy(update={"labels": {**no_longer_common, **each.labels}}) for each in alerts]
    alerts += [_alert(alert, common) for alert in listed]
    return spec.model_copy(
        update={
            "common_labels": common,
            "alerts": _bounded(common, alerts),
            "alerts_omitted": max(spec.alerts_omitted, len(fresh) - len(listed)),
            "truncated_alerts": max(spec.truncated_alerts, truncated),
        }
    )


def to_json(spec: IncidentSpec) -> dict[str, Any]:
    """Return the spec as it is stored: alerts without their empty fields."""
    return {**spec.model_copy(update={"alerts": []}).to_json(), "alerts": [_lean(alert) for alert in spec.alerts]}


def stored_size(value: Any) -> int:
    """Return at most how many bytes a JSON value takes in etcd."""
    return sanitize.stored_size(value)


def _resolved(alerts: Iterable[Alert], changes: Iterable[ReceivedAlert]) -> list[Alert]:
    enders: defaultdict[str, _Enders] = defaultdict(_Enders)
    for change in changes:
        if not change.firing:
            enders[received_alerts.fingerprint_of(change.id)].add(change)
    ended = []
    for alert in alerts:
        same_labels = enders.get(received_alerts.fingerprint_of(alert.id))
        ender = same_labels.first(alert) if same_labels and alert.status is not AlertStatus.RESOLVED else None
        if ender is None:
            ended.append(alert)
            continue
        end = _whole_second(ender.ends_at) if ender.ends_at else None
        told = {"status": AlertStatus.RESOLVED, "ends_at": end, "end_told_by": ender.end_told_by}
        ended.append(alert.model_copy(update=told))
    return ended


class _Enders:
    """Resolved alerts of the same labels, such that the first one that ends an alert is found without asking each."""

    def __init__(self) -> None:
        self._alerts: list[ReceivedAlert] = []
        self._places: dict[str, int] = {}
        self._latest: list[datetime] = []
        """The latest end of an alert and all before it."""

    def add(self, alert: ReceivedAlert) -> None:
        """Add one behind the others."""
        self._places.setdefault(alert.id, len(self._alerts))
        self._alerts.append(alert)
        self._latest.append(max([alert.ends_at or _NEVER, *self._latest[-1:]]))

    def first(self, alert: Alert) -> ReceivedAlert | None:
        """Return the first that is of the same occurrence, or that ended after it began."""
        start = received_alerts.started_at(alert.id) or alert.starts_at
        place = min(self._places.get(alert.id, len(self._alerts)), bisect_left(self._latest, start))
        return self._alerts[place] if place < len(self._alerts) else None


_NEVER = datetime.max.replace(tzinfo=UTC)


def _alert(alert: ReceivedAlert, common: Mapping[str, str]) -> Alert:
    annotations = dict(alert.annotations or {})
    links = {name: kept_link(annotations.get(name, "")) for name in (RUNBOOK_URL, DASHBOARD_URL)}
    told = {SUMMARY_NAME, DESCRIPTION, *(name for name, url in links.items() if url)}
    return Alert(
        id=alert.id,
        starts_at=_whole_second(alert.starts_at),
        labels={name: value for name, value in alert.kept.items() if name not in common},
        summary=annotations.get(SUMMARY_NAME, ""),
        description=annotations.get(DESCRIPTION, ""),
        runbook_url=links[RUNBOOK_URL],
        dashboard_url=links[DASHBOARD_URL],
        annotations={name: annotations[name] for name in sorted(annotations.keys() - told)},
        generator_url=alert.generator_url,
    )


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _bounded(common: Mapping[str, str], alerts: Iterable[Alert]) -> list[Alert]:
    used = stored_size(common)
    bounded = []
    for alert in alerts:
        compact = Alert(id=alert.id, starts_at=alert.starts_at, status=alert.status)
        untold = compact.model_copy(update={"ends_at": alert.ends_at, "labels": alert.labels})
        # all of it, or its labels without its texts, or not even these
        for each in (alert, untold) if used < DETAILED_BYTES else ():
            size = stored_size(_lean(each))
            if used + size <= DETAILED_BYTES:
                used += size
                bounded.append(each)
                break
        else:
            bounded.append(compact)
    return bounded


def _lean(alert: Alert) -> dict[str, Any]:
    return {key: value for key, value in alert.to_json().items() if value not in ({}, "")}
