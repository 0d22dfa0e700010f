"""What was told and acknowledged, beside what is stored: what is lost, what is there twice. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proofs.storm.alerts import Alert, fingerprint

_GROUP = "incidents.dev/group"
_CLOSED = {"Resolved", "Failed"}


@dataclass(slots=True)
class Ledger:
    """Fills up while a storm goes on."""

    sent: dict[str, Alert] = field(default_factory=dict)
    """Id → an alert that was written to a socket, acknowledged or not."""
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    """Id → the statuses that a 2xx acknowledged."""
    posts: Counter[str] = field(default_factory=Counter)
    """Answer → how many; `none` for no answer."""
    dropped: list[str] = field(default_factory=list)
    """Answers 4xx, after which a real Alertmanager would have told no more."""

    def sending(self, alerts: Iterable[Alert]) -> None:
        """Note what is about to be written."""
        for alert in alerts:
            self.sent[alert.id] = alert

    def told(self, alerts: Iterable[Alert]) -> None:
        """Note what was acknowledged."""
        for alert in alerts:
            self.acknowledged.setdefault(alert.id, set()).add(alert.status)

    @property
    def progress(self) -> int:
        """Messages that were acknowledged."""
        return sum(count for answer, count in self.posts.items() if answer.startswith("2"))


@dataclass(frozen=True, slots=True)
class Stored:
    """What etcd holds."""

    incidents: int
    statuses: Mapping[str, tuple[str, ...]]
    """Id of an alert → its status in each place where it is listed."""
    omitted: int
    """Alerts that Incidents only count."""
    groups: Mapping[str, int]
    """Digest of a group → how many Incidents it has."""
    ends: Mapping[str, tuple[bool, bool]]
    """Name of an Incident → whether an alert of it fires, and whether it is closed."""


def stored(incidents: Iterable[Mapping[str, Any]]) -> Stored:
    """Count what is in Incidents as the apiserver lists them."""
    statuses: dict[str, tuple[str, ...]] = {}
    groups: Counter[str] = Counter()
    ends: dict[str, tuple[bool, bool]] = {}
    omitted = number = 0
    for incident in incidents:
        number += 1
        spec = incident.get("spec") or {}
        omitted += spec.get("alertsOmitted", 0)
        groups[incident["metadata"]["labels"].get(_GROUP, "")] += 1
        closed = (incident.get("status") or {}).get("phase") in _CLOSED
        listed_alerts = spec.get("alerts", [])
        firing = any(listed.get("status", "firing") == "firing" for listed in listed_alerts)
        ends[incident["metadata"]["name"]] = (firing, closed)
        for listed in listed_alerts:
            statuses[listed["id"]] = (*statuses.get(listed["id"], ()), listed.get("status", "firing"))
    return Stored(number, statuses, omitted, groups, ends)


@dataclass(frozen=True, slots=True)
class Balance:
    """The verdict over a storm."""

    sent: int
    acknowledged: int
    stored: int
    lost: tuple[str, ...]
    """Acknowledged as firing, and not there (after counting what Incidents only count)."""
    doubled: tuple[str, ...]
    """Alerts that stand in more than one place."""
    invented: tuple[str, ...]
    """Stored, but never sent."""
    wrong: tuple[str, ...]
    """Firing although the end was told last, or over although the beginning was."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.invented or self.wrong)


def balance(ledger: Ledger, held: Stored) -> Balance:
    """Compare. An occurrence of which only the end was ever told needs no Incident."""
    missing = sorted(
        each for each, statuses in ledger.acknowledged.items() if "firing" in statuses and each not in held.statuses
    )
    return Balance(
        sent=len(ledger.sent),
        acknowledged=len(ledger.acknowledged),
        stored=len(held.statuses) + held.omitted,
        lost=tuple(missing[: max(0, len(missing) - held.omitted)]),
        doubled=tuple(sorted(each for each, found in held.statuses.items() if len(found) > 1)),
        invented=tuple(sorted(each for each in held.statuses if each not in ledger.sent)),
        wrong=tuple(sorted(_wrong(ledger, held))),
    )


def _wrong(ledger: Ledger, held: Stored) -> Iterable[str]:
    """Judge the last occurrence of each set of labels, for that is what fires or does not.

    An earlier occurrence may be left as firing where the next began before its end was told: Alertmanager then never tells
    it. But once the last one is over, all have to be.
    """
    occurrences: dict[str, list[str]] = {}
    for each in ledger.acknowledged:
        occurrences.setdefault(fingerprint(ledger.sent[each].labels), []).append(each)
    for listed in occurrences.values():
        last = max(listed, key=lambda each: ledger.sent[each].starts_at)
        if "resolved" in ledger.acknowledged[last]:
            yield from (each for each in listed if "firing" in held.statuses.get(each, ()))
        elif "resolved" in held.statuses.get(last, ()):
            yield last
