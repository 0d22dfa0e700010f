"""Looks after alerts of which Alertmanager tells nothing: says in their Incidents that they are silenced, and notices their end.

The end is noticed where a Connection has `addresses`, so that each process is asked by itself (`sightings.py`). Where it has a
`url` alone, nobody knows which of several answers: what is silenced is told then, and an end never.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from incident_operator.api.connection import Connection
from incident_operator.api.incident import AlertStatus, Silence
from incident_operator.api.meta import ObjectKey
from incident_operator.clients import alertmanagers
from incident_operator.clients.alertmanagers import AlertmanagerError, Place
from incident_operator.connections import Endpoint
from incident_operator.core import sanitize
from incident_operator.core.alerts import received_alerts
from incident_operator.core.alerts.episodes import Episode
from incident_operator.core.alerts.merging import IncidentSequence
from incident_operator.core.alerts.received_alerts import LabelLimits, ReceivedAlert
from incident_operator.receiver import index
from incident_operator.receiver.alertmanager import listed, silence
from incident_operator.receiver.index import Listed, Sightings
from incident_operator.receiver.intake import Intake
from incident_operator.receiver.refusals import MalformedError

_SILENCES = 20
"""Silences of one Connection that are read in a round; of alerts under others only the number is told."""
_NAME = 253
_log = structlog.get_logger()
_Told = tuple[datetime | None, str]
_Open = Sequence[tuple[IncidentSequence, Episode]]


@dataclass(frozen=True, slots=True)
class Silences:
    """What is silenced, for the process that leads; what was seen is forgotten with it."""

    intake: Intake
    limits: LabelLimits
    clock: Callable[[], datetime]
    seconds: float
    """How long an answer may take."""
    seen: dict[ObjectKey, Sightings]
    """What was seen by each Connection."""

    def keep(self, connections: Iterable[ObjectKey]) -> None:
        """Forget what was seen by Connections that are no more."""
        kept = set(connections)
        for gone in self.seen.keys() - kept:
            del self.seen[gone]

    async def look(
        self, connection: Connection, endpoint: Endpoint, places: Sequence[Place], *, by_itself: bool
    ) -> str:
        """Look once, where alerts fire in open Incidents of the namespace, and return what is wrong; empty where nothing is.

        `by_itself` tells whether each place is one process. Raises `NotStoredError` or `ApiError`.
        """
        key = ObjectKey(connection.metadata.namespace, connection.metadata.name)
        found = self.intake.firing_in(key.namespace)
        wanted = {received_alerts.fingerprint_of(each) for _, episode in found for each in episode.firing}
        if not wanted:
            self.seen.pop(key, None)
            return ""
        heard = await asyncio.gather(*(self._list(endpoint, place, by_itself) for place in places))
        lists = [each for each in heard if isinstance(each, Listed)]
        failures = [each for each in heard if not isinstance(each, Listed)]
        if by_itself:
            seen = self.seen.setdefault(key, Sightings())
            ended = seen.note(lists, wanted, complete=not failures)
            await self._end(key, found, ended)
        if not failures:
            await self._tell(key, endpoint, places, found, lists, by_itself)
        return failures[0].message if failures else ""

    async def _list(self, endpoint: Endpoint, place: Place, by_itself: bool) -> Listed | AlertmanagerError:
        """Return a list, and whose it is: a process that is started again meanwhile is asked anew in the next round."""
        try:
            before = await alertmanagers.process(endpoint, place, self.seconds) if by_itself else ""
            answer = await alertmanagers.all_alerts(endpoint, place, self.seconds)
            after = await alertmanagers.process(endpoint, place, self.seconds) if by_itself else ""
            if before != after:
                return AlertmanagerError(f"{place}: it restarted during the check")
            return Listed(before, await asyncio.to_thread(listed, answer.body, self.limits))
        except AlertmanagerError as error:
            return error
        except MalformedError as error:
            return alertmanagers.not_understood(place, error)

    async def _end(self, key: ObjectKey, found: _Open, ended: frozenset[str]) -> None:
        if not ended:
            return
        now = self.clock().replace(microsecond=0)
        told = f"while it was silenced or inhibited; missing in {index.MISSES} later lists of each Alertmanager, says Connection {key.name}"
        ids = {one for _, episode in found for one in episode.firing if received_alerts.fingerprint_of(one) in ended}
        alerts = [ReceivedAlert(one, AlertStatus.RESOLVED, now, {}, {}, now, end_told_by=told) for one in sorted(ids)]
        if changed := await self.intake.end(alerts, key.namespace):
            _log.info("Silenced alerts have ended", connection=key.name, namespace=key.namespace, incidents=changed)

    async def _tell(
        self,
        key: ObjectKey,
        endpoint: Endpoint,
        places: Sequence[Place],
        found: _Open,
        lists: Sequence[Listed],
        by_itself: bool,
    ) -> None:
        """Write into each Incident what is silenced of it, where that is news."""
        covered: dict[IncidentSequence, list[tuple[str, ...]]] = {}
        for each, episode in found:
            prints = map(received_alerts.fingerprint_of, episode.firing)
            covered[each] = [silences for silences in (index.silenced(lists, one) for one in prints) if silences]
        names = {name for silences in covered.values() for each in silences for name in each}
        said: dict[str, _Told] = {}
        for name in sorted(names)[:_SILENCES]:
            for place in places:
                try:
                    answer = await alertmanagers.silence(endpoint, place, name, self.seconds)
                    said[name] = silence(answer.body)
                except (AlertmanagerError, MalformedError):
                    continue  # a peer may not have heard of it; one that nobody has is left out
                break
        for sequence, episode in found:
            wanted = _silence(key, covered[sequence], said, by_itself)
            told = index.silence_key(wanted.to_json() if wanted is not None else None)
            if told == episode.silence:
                continue
            # Two Connections that differ would overwrite each other for ever; what is over by its own word is nobody's any more.
            kept = index.silence_of(episode.silence) if episode.silence else None
            if kept is not None and kept.connection != key.name and (kept.until is None or kept.until > self.clock()):
                continue
            await self.intake.tell_silence(sequence, episode.number, wanted)


def _silence(
    key: ObjectKey, covered: Sequence[tuple[str, ...]], said: dict[str, _Told], by_itself: bool
) -> Silence | None:
    """Return what is told of the alerts that are covered: the silence that ends last."""
    if not covered:
        return None
    known = [said[name] for each in covered for name in each if name in said]
    until, by = max(known, key=lambda each: (each[0] is not None, each[0]), default=(None, ""))
    return Silence(
        alerts=len(covered),
        until=until.replace(microsecond=0) if until else None,
        by=sanitize.text(by, _NAME),
        connection=key.name,
        end_is_noticed=by_itself,
    )
