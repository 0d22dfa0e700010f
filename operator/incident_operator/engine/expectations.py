"""Knows the watch events that are expected, and tell nothing new: of versions that a reconciliation has read, or stored itself."""

from dataclasses import dataclass
from datetime import datetime

from incident_operator.api.incident import CLOSED_PHASES, Incident, Phase
from incident_operator.api.meta import ObjectKey
from incident_operator.core.lru_cache import LRUCache

_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How this process closed an Incident."""

    version: int
    phase: Phase
    at: datetime | None


class Expectations:
    """Remembers the newest version of each Incident that a reconciliation of this process knows, and those that it closed."""

    def __init__(self) -> None:
        self._versions: LRUCache[ObjectKey, int] = LRUCache(_KEPT)
        self._endings: LRUCache[ObjectKey, Ending] = LRUCache(_KEPT)
        self.newest = 0
        """The newest version of any Incident that a reconciliation of this process has read, or stored."""

    def expect(self, key: ObjectKey, resource_version: str) -> None:
        """Remember a version that a reconciliation read and decides upon, or that shows its own write alone."""
        version = int(resource_version)
        self.newest = max(self.newest, version)
        self._versions.put(key, max(version, self._versions.get(key) or 0))

    def read(self, key: ObjectKey, resource_version: str) -> None:
        """Remember a version that was just read, whatever was known: an apiserver that was restored has older ones again."""
        self.newest = max(self.newest, int(resource_version))
        self._versions.put(key, int(resource_version))

    def is_expected(self, key: ObjectKey, resource_version: str) -> bool:
        """Tell whether an event shows nothing but what a reconciliation knows."""
        return int(resource_version) <= (self._versions.get(key) or 0)

    def closed(self, incident: Incident) -> None:
        """Remember that we stored a closing status, if it is one: it is how that Incident leaves the watch."""
        if incident.status.phase not in CLOSED_PHASES:
            return
        meta = incident.metadata
        key = ObjectKey(meta.namespace, meta.name)
        self._endings.put(key, Ending(int(meta.resource_version), incident.status.phase, ended_at(incident)))

    def ending(self, key: ObjectKey, resource_version: str) -> Ending | None:
        """Return how we closed it, if that is what this version shows."""
        known = self._endings.get(key)
        return known if known is not None and known.version == int(resource_version) else None

    def forget(self, key: ObjectKey) -> None:
        """Drop a key that is closed or gone."""
        self._versions.drop(key)
        self._endings.drop(key)


def ended_at(incident: Incident) -> datetime | None:
    """Return when an Incident ended: when it was resolved, else when its success was judged."""
    succeeded = [c.last_transition_time for c in incident.status.conditions if c.type == "Succeeded"]
    return incident.status.times.resolved or next(iter(succeeded), None)
