"""The redactor of each Incident that is worked on: fed with the Secrets of its Runbook's Connections before its first step.

So a text that a step reads is masked also where its credential is that of another step, or was rotated a moment ago.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from incident_operator.api.meta import ObjectKey
from incident_operator.clients.connections import Finds, Teaching
from incident_operator.clients.redaction import Redactor
from incident_operator.core.action import Actions
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.machine.view import View
from incident_operator.core.runbooks import uses

_AGAIN = timedelta(minutes=1)
"""After so long all is read again before a step: what was rotated meanwhile is known by then."""
_SOON = timedelta(seconds=10)
"""The same where one of them could not be read, which must not make each look at a step cost as many requests."""
_REVISIONS = 256


class Tools(Protocol):
    """What the actions reach the world through: `actions/clients.py`."""

    @property
    def connections(self) -> Finds:
        """What finds Connections."""
        ...

    def teaching(self, redactor: Redactor) -> "Tools":
        """Return the same, teaching a redactor each credential that it is given."""
        ...


@dataclass(slots=True)
class Masked:
    """One Incident's redactor, and what its steps reach the world through, which teaches it."""

    redactor: Redactor
    tools: Any
    uid: str
    due_at: datetime | None = None
    """When its Connections are to be read again; None before the first time."""


@dataclass(frozen=True, slots=True)
class Redactors:
    """Keeps a redactor for each Incident while it is worked on. What one of them knows is known to no other."""

    tools: Tools
    actions: Actions
    clock: Callable[[], datetime]
    _of: dict[ObjectKey, Masked] = field(default_factory=dict)
    _named: LRUCache[ObjectKey, frozenset[str]] = field(default_factory=lambda: LRUCache(_REVISIONS))
    """The Connections that a revision names."""

    def of(self, key: ObjectKey, uid: str) -> Masked:
        """Return an Incident's redactor; it knows nothing yet where the Incident is new to this process."""
        known = self._of.get(key)
        if known is None or known.uid != uid:
            redactor = Redactor()
            known = self._of[key] = Masked(redactor, self.tools.teaching(redactor), uid)
        return known

    def is_due(self, view: View) -> bool:
        """Tell whether the Secrets of the Runbook's Connections have to be read before the next step."""
        due_at = self._known(view).due_at
        return due_at is None or self.clock() >= due_at

    async def feed(self, view: View) -> None:
        """Learn all credentials of the Runbook's Connections. One that cannot be read is tried again soon, and stops nothing."""
        masked, began = self._known(view), self.clock()
        account = view.compiled.spec.service_account_name
        teaching: Teaching = masked.tools.connections
        complete = await teaching.learn(view.incident.metadata.namespace, self._names(view), account)
        masked.due_at = began + (_AGAIN if complete else _SOON)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is known for an Incident that is closed, or gone."""
        self._of.pop(key, None)

    def _known(self, view: View) -> Masked:
        meta = view.incident.metadata
        return self.of(ObjectKey(meta.namespace, meta.name), meta.uid)

    def _names(self, view: View) -> frozenset[str]:
        revision = ObjectKey(view.incident.metadata.namespace, view.pinned.revision)
        names = self._named.get(revision)
        if names is None:
            names = uses.connections_of(view.compiled.spec, self.actions)
            self._named.put(revision, names)
        return names
