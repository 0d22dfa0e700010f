"""What each Alertmanager process has listed, and which alerts have ended though nobody is told: those that were silenced.

Alertmanager sends no `resolved` for an alert that resolves while it is silenced, inhibited or muted. That it is missing from a
list says little by itself: the process may have been started again, or may never have heard of it. So an alert has ended where
every process that listed it misses it in two later lists of its own, and none lists it. Pure, and bounded by the alerts that
are looked for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from incident_operator.receiver.alertmanager import Sighting

MISSES = 2
"""Later lists of the same process in which an alert is missing, until it has ended."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One list of one process."""

    process: str
    """What names the process; another one after it was started again."""
    alerts: Mapping[str, Sighting]
    """All that it knows, by the fingerprint of their labels."""


@dataclass(frozen=True, slots=True)
class _Last:
    suppressed: bool
    """Whether it was when it was last listed."""
    misses: int = 0


@dataclass(slots=True)
class Sightings:
    """What is remembered between two rounds of one Connection."""

    _seen: dict[str, dict[str, _Last]] = field(default_factory=dict)
    """By process, and by fingerprint."""

    def note(self, lists: Sequence[Listed], wanted: Collection[str], *, complete: bool) -> frozenset[str]:
        """Take in a round's lists, and return which of the wanted alerts have ended.

        `complete` tells whether every Alertmanager that there is has answered: one that has not may still list an alert, so
        nothing ends then, and what it listed before is remembered.
        """
        for each in lists:
            before = self._seen.get(each.process, {})
            self._seen[each.process] = {
                name: last for name in wanted if (last := _last(before, each, name)) is not None
            }
        if not complete:
            return frozenset()
        self._seen = {each.process: self._seen[each.process] for each in lists}
        return frozenset(name for name in wanted if self._has_ended(name))

    def _has_ended(self, name: str) -> bool:
        lasts = [known[name] for known in self._seen.values() if name in known]
        return any(last.suppressed for last in lasts) and all(last.misses >= MISSES for last in lasts)


def _last(before: Mapping[str, _Last], now: Listed, name: str) -> _Last | None:
    if (sighting := now.alerts.get(name)) is not None:
        return _Last(sighting.suppressed)
    known = before.get(name)
    return None if known is None else replace(known, misses=min(known.misses + 1, MISSES))


def silenced(lists: Sequence[Listed], name: str) -> tuple[str, ...]:
    """Return the silences of an alert; none where a process lists it without, which will tell of it."""
    found = [each.alerts[name].silenced_by for each in lists if name in each.alerts]
    return tuple(sorted({one for each in found for one in each})) if found and all(found) else ()
