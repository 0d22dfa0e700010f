"""Into which Incident of its group an alert goes: the open one, an earlier one, a new one, or none."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from incident_operator.core.alerts import received_alerts as identities
from incident_operator.core.alerts.received_alerts import ReceivedAlert


@dataclass(frozen=True, slots=True)
class Episode:
    """What is remembered of one stored Incident; small, for there are many."""

    number: int
    group: str
    """The group's digest; another group's where two share the five characters in the name, empty where the operator did not make it."""
    open: bool
    firing: tuple[str, ...] = ()
    """Ids of listed alerts that fire."""
    resolved: tuple[str, ...] = ()
    """Ids of listed alerts that have resolved."""
    truncated: int = 0
    version: int = 0
    """metadata.resourceVersion"""
    uid: str = ""
    silence: str = ""
    """What is stored of silences, as `silence_key` has it; empty where nothing is."""
    generation: int = 0
    own: bool = True
    """Whether the operator made it; one that somebody else made takes nothing in, and only its name is taken."""


@dataclass(frozen=True, slots=True)
class Open:
    """Create the group's next Incident."""

    number: int
    changes: tuple[ReceivedAlert, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge changes into a stored Incident."""

    number: int
    changes: tuple[ReceivedAlert, ...]
    """May be empty where only `truncatedAlerts` rose."""


Step = Open | Merge


@dataclass(frozen=True, slots=True)
class Plan:
    """What to store. Empty: everything is known."""

    steps: tuple[Step, ...] = ()
    never_stored: tuple[ReceivedAlert, ...] = ()
    """Resolved, but no Incident ever held them."""
    unsure: bool = False
    """Whether an alert resolved that is not remembered: what is stored has to be read before that is believed."""


@dataclass(frozen=True, slots=True)
class _Known:
    episode: Episode
    firing: frozenset[str]
    firing_fingerprints: frozenset[str]
    resolved: frozenset[str]


@dataclass(slots=True)
class _Sorted:
    opening: list[ReceivedAlert] = field(default_factory=list)
    never_stored: list[ReceivedAlert] = field(default_factory=list)
    unsure: bool = False
    into: dict[int, list[ReceivedAlert]] = field(default_factory=dict)


def plan(episodes: Sequence[Episode], group: str, changes: Iterable[ReceivedAlert], truncated: int) -> Plan:
    """Return what to store of the changes, given all episodes under the group's stem; the open one comes first."""
    own = [
        _Known(
            episode,
            frozenset(episode.firing),
            frozenset(identities.fingerprint_of(each) for each in episode.firing),
            frozenset(episode.resolved),
        )
        for episode in sorted(episodes, key=lambda each: (not each.open, -each.number))
        if episode.group == group
    ]
    current = own[0].episode if own and own[0].episode.open else None
    result = _Sorted()
    for alert in changes:
        _sort(alert, own, current, result)
    if current and truncated > current.truncated:
        result.into.setdefault(current.number, [])
    steps: list[Step] = [Merge(number, tuple(into)) for number, into in result.into.items()]
    if result.opening:
        steps.append(Open(_next_number(episodes), tuple(result.opening)))
    return Plan(tuple(steps), tuple(result.never_stored), result.unsure)


def _sort(alert: ReceivedAlert, own: Sequence[_Known], current: Episode | None, result: _Sorted) -> None:
    """Add one alert to what is stored: which Incidents it changes, or that it opens one."""
    fingerprint = identities.fingerprint_of(alert.id)
    if any(alert.id in known.resolved for known in own):
        if alert.firing:
            return
        # an end that is told again ends what began before it and was told since, by the slower of two Alertmanagers
        for known in own:
            if any(_is_older(each, alert) for each in known.firing):
                result.into.setdefault(known.episode.number, []).append(alert)
        return
    is_held = any(alert.id in known.firing for known in own)
    if not alert.firing:
        holders = [known.episode.number for known in own if fingerprint in known.firing_fingerprints]
        result.unsure |= not is_held
        if not holders:
            result.never_stored.append(alert)
        for number in holders:
            result.into.setdefault(number, []).append(alert)
    elif is_held:
        return
    elif current:
        result.into.setdefault(current.number, []).append(alert)
    else:
        result.opening.append(alert)


def _is_older(alert_id: str, than: ReceivedAlert) -> bool:
    """Tell whether an alert has the same labels, and began before another one."""
    began = identities.started_at(alert_id)
    same = identities.fingerprint_of(alert_id) == identities.fingerprint_of(than.id)
    return same and began is not None and began < than.starts_at


def _next_number(episodes: Sequence[Episode]) -> int:
    """Return the number of the next Incident: the first where it is free, for its name tells a receiver of the others.

    Else the one after the operator's own, whatever numbers somebody else has used.
    """
    taken = {episode.number for episode in episodes}
    own = max((episode.number for episode in episodes if episode.own), default=0)
    first = own + 1 if 1 in taken else 1
    return next(number for number in itertools.count(first) if number not in taken)
