"""What is known of stored Incidents without asking: fed by watch events and by what the receiver stores itself.

It answers two questions: is this news at all, and what is the next number. It may lag behind; whatever is decided from it
is checked by the apiserver (a name that exists, a resourceVersion that moved) when it is stored. Of an Incident that the
operator did not make it knows only that the name is taken. Only open Incidents are watched: of closed ones it knows those that this
process saw closing or has read, newest first up to `CLOSED_KEPT`, and says of which sequence it knows all (`is_complete`).

`Sightings` remember what each Alertmanager process has listed, and so which alerts have ended though nobody is told: Alertmanager sends no
`resolved` for an alert that resolves while it is silenced, inhibited or muted. That it is missing from a list says little by itself: the
process may have been started again, or may never have heard of it. So an alert has ended where every process that listed it misses it in
two later lists of its own, and none lists it. Bounded by the alerts that are looked for.
"""

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from incident_operator.api.incident import CLOSED_PHASES, GROUP_LABEL, AlertStatus, Silence
from incident_operator.core.alerts import merging, received_alerts
from incident_operator.core.alerts.episodes import Episode
from incident_operator.core.alerts.merging import IncidentSequence
from incident_operator.receiver.alertmanager import Sighting

CLOSED_KEPT = 4000
"""Closed Incidents that are remembered, of whole sequences at a time; about a kilobyte each."""
MISSES = 2
"""Later lists of the same process in which an alert is missing, until it has ended."""
_Key = tuple[str, str]


class IncidentIndex:
    """Open Incidents named as the receiver names them, and some closed ones; about a kilobyte each."""

    def __init__(self, closed_kept: int = CLOSED_KEPT) -> None:
        self._closed_kept = closed_kept
        self._closed: OrderedDict[_Key, int] = OrderedDict()
        """How many closed ones are remembered of a stem; the one that changed last is last."""
        self._closed_total = 0
        self._complete: dict[_Key, set[str]] = {}
        self._episodes: dict[_Key, dict[int, Episode]] = {}
        self._holders: dict[str, IncidentSequence | dict[IncidentSequence, int]] = {}
        """The sequence of the one Incident in which alerts of these labels fire; of several, how many each sequence has."""
        self._ready = False
        self.newest = 0
        """The newest version that was noted of any Incident."""

    @property
    def ready(self) -> bool:
        """Whether the first list is in. Until then an alert that was answered long ago would look new."""
        return self._ready

    def mark_ready(self) -> None:
        """Say that every Incident of the first list was noted."""
        self._ready = True

    def note(self, incident: Mapping[str, Any]) -> None:
        """Remember an Incident as the apiserver returned it; an older state than the known one is ignored."""
        place = _place(incident)
        if place is None:
            return
        key, number = place
        known = self._find(key, number)
        version = _version(incident)
        self.newest = max(self.newest, version)
        if known is None or known.version < version:
            episode = _episode(incident, number, version, known)
            before = self._episodes.setdefault(key, {}).pop(number, None)
            self._episodes[key][number] = episode
            self._replace(key, before, episode)

    def forget(self, incident: Mapping[str, Any]) -> None:
        """Drop a deleted Incident, unless another of that name was stored since."""
        place = _place(incident)
        if place is None:
            return
        key, number = place
        known = self._find(key, number)
        if known is not None and known.version <= _version(incident):
            self._drop(key, number)

    def forget_name(self, sequence: IncidentSequence, number: int) -> None:
        """Drop an Incident that the apiserver says does not exist."""
        self._drop((sequence.namespace, sequence.stem), number)

    def forget_closed(self, namespace: str) -> None:
        """Forget the closed Incidents of a namespace: they may be gone with it, and nobody watches them. What matters is read again."""
        for key in [each for each in self._closed if each[0] == namespace]:
            self._forget_closed(key)
        for key in [each for each in self._complete if each[0] == namespace]:
            del self._complete[key]

    def episodes(self, sequence: IncidentSequence) -> tuple[Episode, ...]:
        """Return all remembered Incidents named like those of the sequence, whichever group they are of."""
        return tuple(self._episodes.get((sequence.namespace, sequence.stem), {}).values())

    def holders(self, fingerprint: str) -> tuple[IncidentSequence, ...]:
        """Return the sequences with an Incident in which an alert of these labels fires, whatever the Runbooks say now."""
        held = self._holders.get(fingerprint, {})
        return tuple(held) if isinstance(held, dict) else (held,)

    def firing_in(self, namespace: str) -> Iterator[tuple[IncidentSequence, Episode]]:
        """Yield the open Incidents of a namespace in which alerts fire."""
        for key, numbered in self._episodes.items():
            if key[0] == namespace:
                found = (each for each in numbered.values() if each.open and each.own and each.firing)
                yield from ((IncidentSequence(*key, each.group), each) for each in found)

    def mark_complete(self, sequence: IncidentSequence) -> None:
        """Say that every stored Incident of the sequence is known: it was listed, or its first one was just created."""
        self._complete.setdefault((sequence.namespace, sequence.stem), set()).add(sequence.digest)

    def is_complete(self, sequence: IncidentSequence) -> bool:
        """Return whether every stored Incident of the sequence is known, the closed ones too."""
        return sequence.digest in self._complete.get((sequence.namespace, sequence.stem), ())

    def _find(self, key: _Key, number: int) -> Episode | None:
        return self._episodes.get(key, {}).get(number)

    def _drop(self, key: _Key, number: int) -> None:
        before = self._take_out(key, number)
        if before is not None:
            self._replace(key, before, None)

    def _take_out(self, key: _Key, number: int) -> Episode | None:
        known = self._episodes.get(key, {})
        found = known.pop(number, None)
        if found is not None and not known:
            del self._episodes[key]
        return found

    def _replace(self, key: _Key, before: Episode | None, after: Episode | None) -> None:
        """Keep account of one Incident that changed: what the others of its name hold is not looked at."""
        self._hold(key, before, after)
        more = _is_closed(after) - _is_closed(before)
        count = self._closed.pop(key, 0) + more
        self._closed_total += more
        if count:
            self._closed[key] = count
        if self._closed_total > self._closed_kept and len(self._closed) > 1:
            self._forget_closed(next(iter(self._closed)))

    def _hold(self, key: _Key, before: Episode | None, after: Episode | None) -> None:
        held, was_held = _held(key, after), _held(key, before)
        for fingerprint, sequence in held - was_held:
            self._count_holder(fingerprint, sequence, 1)
        for fingerprint, sequence in was_held - held:
            self._count_holder(fingerprint, sequence, -1)

    def _forget_closed(self, key: _Key) -> None:
        """Forget the closed ones of a stem, all at once: what is known of a sequence is all of it, or counts as unknown."""
        self._complete.pop(key, None)
        self._closed_total -= self._closed.pop(key, 0)
        for number in [each.number for each in self._episodes.get(key, {}).values() if not each.open]:
            self._hold(key, self._take_out(key, number), None)

    def _count_holder(self, fingerprint: str, sequence: IncidentSequence, more: int) -> None:
        known = self._holders.get(fingerprint, {})
        held = known if isinstance(known, dict) else {known: 1}
        held[sequence] = held.get(sequence, 0) + more
        if not held[sequence]:
            del held[sequence]
        if held:
            self._holders[fingerprint] = sequence if held == {sequence: 1} else held
        else:
            self._holders.pop(fingerprint)


def silence_key(silence: Mapping[str, Any] | None) -> str:
    """Return a stored silence as a text that is equal where it is."""
    return json.dumps(dict(silence), sort_keys=True) if silence else ""


def silence_of(kept: str) -> Silence:
    """Return the silence of such a text, which is not empty."""
    return Silence.model_validate_json(kept)


def _held(key: _Key, episode: Episode | None) -> set[tuple[str, IncidentSequence]]:
    if episode is None:
        return set()
    sequence = IncidentSequence(*key, episode.group)
    return {(received_alerts.fingerprint_of(each), sequence) for each in episode.firing}


def _is_closed(episode: Episode | None) -> bool:
    return episode is not None and not episode.open


def _place(incident: Mapping[str, Any]) -> tuple[_Key, int] | None:
    metadata = incident["metadata"]
    split = merging.split_name(metadata["name"])
    return ((metadata["namespace"], split[0]), split[1]) if split else None


def _version(incident: Mapping[str, Any]) -> int:
    return int(incident["metadata"]["resourceVersion"])


def is_open(incident: Mapping[str, Any]) -> bool:
    """Return whether an Incident takes alerts in."""
    closed = (incident.get("status") or {}).get("phase") in CLOSED_PHASES
    return not closed and "deletionTimestamp" not in incident["metadata"]


def _episode(incident: Mapping[str, Any], number: int, version: int, known: Episode | None) -> Episode:
    metadata = incident["metadata"]
    generation = metadata.get("generation", 0)
    if not merging.is_own(incident):
        return Episode(number, "", open=False, version=version, uid=metadata.get("uid", ""), own=False)
    # one that was deleted and made again, unseen, is of the same generation too
    if known and known.own and generation and (known.uid, known.generation) == (metadata.get("uid", ""), generation):
        return dataclasses.replace(known, open=is_open(incident), version=version)
    spec = incident.get("spec") or {}
    return Episode(
        number=number,
        group=metadata["labels"][GROUP_LABEL],
        open=is_open(incident),
        firing=_ids(spec, AlertStatus.FIRING),
        resolved=_ids(spec, AlertStatus.RESOLVED),
        truncated=spec.get("truncatedAlerts", 0),
        silence=silence_key(spec.get("silence")),
        version=version,
        uid=metadata.get("uid", ""),
        generation=generation,
    )


def _ids(spec: Mapping[str, Any], status: AlertStatus) -> tuple[str, ...]:
    alerts = spec.get("alerts") or []
    return tuple(alert["id"] for alert in alerts if alert.get("status", AlertStatus.FIRING) == status)


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
            before, now = self._seen.get(each.process, {}), dict[str, _Last]()
            for name in wanted:
                if (sighting := each.alerts.get(name)) is not None:
                    now[name] = _Last(sighting.suppressed)
                elif (last := before.get(name)) is not None:
                    now[name] = replace(last, misses=min(last.misses + 1, MISSES))
            self._seen[each.process] = now
        if not complete:
            return frozenset()
        self._seen = {each.process: self._seen[each.process] for each in lists}
        ended = set()
        for name in wanted:
            lasts = [known[name] for known in self._seen.values() if name in known]
            if any(last.suppressed for last in lasts) and all(last.misses >= MISSES for last in lasts):
                ended.add(name)
        return frozenset(ended)


def silenced(lists: Sequence[Listed], name: str) -> tuple[str, ...]:
    """Return the silences of an alert; none where a process lists it without, which will tell of it."""
    found = [each.alerts[name].silenced_by for each in lists if name in each.alerts]
    return tuple(sorted({one for each in found for one in each})) if found and all(found) else ()
