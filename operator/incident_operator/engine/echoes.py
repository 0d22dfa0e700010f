"""Knows the watch events that our own status writes cause, so that they wake nobody."""

from collections import OrderedDict

from incident_operator.engine.keys import Key

_KEPT = 20_000


class Echoes:
    """Remembers the newest version of each Incident that this process stored itself."""

    def __init__(self) -> None:
        self._versions: OrderedDict[Key, str] = OrderedDict()

    def expect(self, key: Key, resource_version: str) -> None:
        """Remember a version that we stored."""
        self._versions[key] = resource_version
        self._versions.move_to_end(key)
        if len(self._versions) > _KEPT:
            self._versions.popitem(last=False)

    def is_echo(self, key: Key, resource_version: str) -> bool:
        """Tell whether an event shows nothing but what we stored."""
        return self._versions.get(key) == resource_version

    def forget(self, key: Key) -> None:
        """Drop a key that is gone."""
        self._versions.pop(key, None)
