"""Into which Incident of its group an alert goes: the open one, an earlier one, a new one, or none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from incident_operator.core.alerts import occurrences as identities
from incident_operator.core.alerts.occurrences import Occurrence


@dataclass(frozen=True, slots=True)
class Episode:
    """What is remembered of one stored Incident; small, for there are many."""

    number: int
    group: str
    """The group's digest; another group's where two share the five characters in the name, empty where it has none."""
    open: bool
    firing: tuple[str, ...] = ()
    """Ids of listed alerts that fire."""
    resolved: tuple[str, ...] = ()
    """Ids of listed alerts that have resolved."""
    truncated: int = 0
    version: int = 0
    """metadata.resourceVersion"""
    uid: str = ""
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """Create the group's next Incident."""

    number: int
    news: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class TakeIn:
    """Merge news into a stored Incident."""

    number: int
    news: tuple[Occurrence, ...]
    """May be empty where only `truncatedAlerts` rose."""


Step = Open | TakeIn


@dataclass(frozen=True, slots=True)
class Plan:
    """What to store. Empty: everything is known."""

    steps: tuple[Step, ...] = ()
    never_stored: tuple[Occurrence, ...] = ()
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
    opening: list[Occurrence] = field(default_factory=list)
    never_stored: list[Occurrence] = field(default_factory=list)
    unsure: bool = False
    into: dict[int, list[Occurrence]] = field(default_factory=dict)


def plan(episodes: Sequence[Episode], group: str, news: Iterable[Occurrence], truncated: int) -> Plan:
    """Return what to store of the news, given all episodes under the group's stem; the open one comes first."""
    own = [_known(episode) for episode in sorted(episodes, key=_open_then_newest) if episode.group == group]
    current = own[0].episode if own and own[0].episode.open else None
    result = _Sorted()
    for occurrence in news:
        _sort(occurrence, own, current, result)
    if current and truncated > current.truncated:
        result.into.setdefault(current.number, [])
    return Plan(_steps(result, _next_number(episodes)), tuple(result.never_stored), result.unsure)


def _open_then_newest(episode: Episode) -> tuple[bool, int]:
    return not episode.open, -episode.number


def _known(episode: Episode) -> _Known:
    fingerprints = frozenset(identities.fingerprint_of(each) for each in episode.firing)
    return _Known(episode, frozenset(episode.firing), fingerprints, frozenset(episode.resolved))


def _sort(occurrence: Occurrence, own: Sequence[_Known], current: Episode | None, result: _Sorted) -> None:
    if any(occurrence.id in known.resolved for known in own):
        _sort_known_end(occurrence, own, result)
    elif not occurrence.firing:
        _sort_resolved(occurrence, own, result)
    elif any(occurrence.id in known.firing for known in own):
        return
    elif current:
        result.into.setdefault(current.number, []).append(occurrence)
    else:
        result.opening.append(occurrence)


def _sort_resolved(occurrence: Occurrence, own: Sequence[_Known], result: _Sorted) -> None:
    fingerprint = identities.fingerprint_of(occurrence.id)
    holders = [known.episode.number for known in own if fingerprint in known.firing_fingerprints]
    result.unsure |= not any(occurrence.id in known.firing for known in own)
    if not holders:
        result.never_stored.append(occurrence)
    for number in holders:
        result.into.setdefault(number, []).append(occurrence)


def _sort_known_end(occurrence: Occurrence, own: Sequence[_Known], result: _Sorted) -> None:
    """An end that is told again ends what began before it and was told since, by the slower of two Alertmanagers."""
    if occurrence.firing:
        return
    for known in own:
        if any(_is_older(each, occurrence) for each in known.firing):
            result.into.setdefault(known.episode.number, []).append(occurrence)


def _is_older(occurrence_id: str, than: Occurrence) -> bool:
    if identities.fingerprint_of(occurrence_id) != identities.fingerprint_of(than.id):
        return False
    began = identities.started_at(occurrence_id)
    return began is not None and began < than.starts_at


def _next_number(episodes: Sequence[Episode]) -> int:
    """Return the number of the next Incident: the first where it is free, for its name tells a receiver of the others."""
    numbers = {episode.number for episode in episodes}
    return max(numbers) + 1 if 1 in numbers else 1


def _steps(result: _Sorted, next_number: int) -> tuple[Step, ...]:
    taken_in = tuple(TakeIn(number, tuple(news)) for number, news in result.into.items())
    opened = (Open(next_number, tuple(result.opening)),) if result.opening else ()
    return (*taken_in, *opened)
