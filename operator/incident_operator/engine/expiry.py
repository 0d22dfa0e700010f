"""Deletes closed Incidents when their time to live is over: slowly, for nobody waits for it, and never an open one.

The first Incident of a group goes after all others of it: its name is what tells a receiver that knows nothing of the group
that there are others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from incident_operator.api.incident import CLOSED_PHASES, GROUP_LABEL, Incident
from incident_operator.core.alerts import merging
from incident_operator.engine.recorder import ended_at
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.apiserver import METADATA_ONLY, Page, Reads, page_of, pages
from incident_operator.kubernetes.discovery import EVERYWHERE, Scopes
from incident_operator.kubernetes.partial_objects import Metadata

_ROUND = timedelta(hours=1)
"""Between two looks, unless the time to live is shorter than a day."""
_SECONDS_EACH = 1.0
"""Pause after a deletion: sixty a minute at most."""
_CHUNK = 500
_log = structlog.get_logger()


class _Item(msgspec.Struct):
    metadata: Metadata


_ITEM = msgspec.json.Decoder(_Item)


@dataclass(frozen=True, slots=True)
class Expiry:
    """Works in the process that leads, and holds nothing of what it finds."""

    client: apiserver.Kube
    reads: Reads
    clock: Callable[[], datetime]
    ttl: timedelta
    """Zero keeps Incidents for ever."""
    namespaces: Scopes = EVERYWHERE
    leads: Callable[[], bool] = lambda: True
    """Whether this process is the one that deletes."""
    seconds_each: float = _SECONDS_EACH

    async def run(self) -> None:
        """Delete what has expired, round after round, until cancelled."""
        while self.ttl:
            try:
                if self.leads():
                    await self.round()
            except (apiserver.ApiError, msgspec.MsgspecError) as error:
                _log.warning("Not all closed Incidents could be checked; the next round continues", error=str(error))
            await asyncio.sleep(min(_ROUND, self.ttl / 24).total_seconds())
        await asyncio.Event().wait()

    async def round(self) -> int:
        """Look at all closed Incidents once, and return how many were deleted. Raises `ApiError`."""
        deleted = 0
        for namespace in self.namespaces:
            for phase in sorted(CLOSED_PHASES):
                async for found in self._closed(namespace, phase):
                    if not self.leads():
                        return deleted
                    if self._is_old(found) and await self._expire(found["namespace"], found["name"]):
                        deleted += 1
                        await asyncio.sleep(self.seconds_each)
        return deleted

    async def _closed(self, namespace: str | None, phase: str) -> AsyncIterator[Metadata]:
        selectors: list[dict[str, str]] = [{"fieldSelector": f"status.phase={phase}"}, {}]
        while selectors:
            try:
                async for page in self._pages(namespace, selectors.pop(0)):
                    selectors.clear()
                    for item in page.items:
                        yield _ITEM.decode(item).metadata
            except apiserver.Invalid:
                if not selectors:
                    raise
                continue  # before Kubernetes 1.32: all are looked at

    def _pages(self, namespace: str | None, query: Mapping[str, str]) -> AsyncIterator[Page]:
        path = discovery.incidents(namespace)

        async def read(asked: Mapping[str, str], most: int) -> bytes:
            return await self.reads.page(path, asked, METADATA_ONLY, most)

        return pages(read, query, _CHUNK)

    def _is_old(self, found: Metadata) -> bool:
        """Tell whether it may have expired: it ended later than it began."""
        return self.clock() - datetime.fromisoformat(found["creationTimestamp"]) >= self.ttl

    async def _expire(self, namespace: str, name: str) -> bool:
        try:
            incident = Incident.model_validate(await self.client.get(discovery.incidents(namespace, name)))
            if not self._has_expired(incident) or await self._has_followers(incident):
                return False
            # exactly what was read
            preconditions = {"uid": incident.metadata.uid, "resourceVersion": incident.metadata.resource_version}
            how = {"preconditions": preconditions, "propagationPolicy": "Background"}
            body = {"apiVersion": "v1", "kind": "DeleteOptions", **how}
            await self.client.delete(discovery.incidents(namespace, name), body=body)
        except (apiserver.NotFound, apiserver.Conflict):
            return False  # somebody else deleted or changed it
        except ValueError as error:
            _log.warning(
                "A closed Incident cannot be read and is kept", namespace=namespace, name=name, error=str(error)
            )
            return False
        _log.info("Deleted a closed Incident", namespace=namespace, incident=name)
        return True

    def _has_expired(self, incident: Incident) -> bool:
        if incident.status.phase not in CLOSED_PHASES or incident.metadata.deletion_timestamp is not None:
            return False
        ended = ended_at(incident) or incident.metadata.creation_timestamp
        return ended is not None and self.clock() - ended >= self.ttl

    async def _has_followers(self, incident: Incident) -> bool:
        meta = incident.metadata
        group, split = meta.labels.get(GROUP_LABEL), merging.split_name(meta.name)
        if group is None or split is None or split[1] != 1:
            return False
        query = {"labelSelector": f"{GROUP_LABEL}={group}", "limit": "2"}
        page = page_of(await self.reads.page(discovery.incidents(meta.namespace), query, METADATA_ONLY))
        return len(page.items) > 1
