"""Which objects the open Incidents act on, as this process has learned while it visited them: nothing is read for it.

A process that has just begun to lead visits every open Incident, so it knows soon; the first of them may not hear of the others.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from incident_operator.api.meta import ObjectKey

_MOST = 50
"""Incidents that are told of one object."""
_Object = tuple[str, str]
"""Namespace, and the object as kubectl writes it."""


class OpenTargets:
    """A few texts for each open Incident."""

    def __init__(self, is_open: Callable[[ObjectKey], bool] = lambda _: True) -> None:
        """`is_open` tells of an Incident that nobody visits any more whether it counts still."""
        self._is_open = is_open
        self._of: dict[ObjectKey, frozenset[str]] = {}
        self._by_object: dict[_Object, dict[ObjectKey, None]] = {}

    def note(self, incident: ObjectKey, targets: frozenset[str]) -> None:
        """Remember what an open Incident acts on now."""
        known = self._of.get(incident, frozenset())
        if known == targets:
            return
        self.forget(incident)
        if targets:
            self._of[incident] = targets
        for target in targets:
            self._by_object.setdefault((incident.namespace, target), {})[incident] = None

    def forget(self, incident: ObjectKey) -> None:
        """Drop an Incident that is closed or gone."""
        for target in self._of.pop(incident, ()):
            at = (incident.namespace, target)
            found = self._by_object[at]
            del found[incident]
            if not found:
                del self._by_object[at]

    def others(self, incident: ObjectKey) -> Mapping[str, tuple[str, ...]]:
        """Return, for each object of an Incident that others act on too, the names of these, the oldest first."""
        found = {target: self._besides(incident, target) for target in self._of.get(incident, ())}
        return {target: names for target, names in found.items() if names}

    def _besides(self, incident: ObjectKey, target: str) -> tuple[str, ...]:
        at = (incident.namespace, target)
        self._drop_closed(each for each in list(islice(self._by_object[at], _MOST)) if each != incident)
        return tuple(each.name for each in islice(self._by_object[at], _MOST) if each != incident)

    def _drop_closed(self, incidents: Iterable[ObjectKey]) -> None:
        for each in incidents:
            if not self._is_open(each):
                self.forget(each)
