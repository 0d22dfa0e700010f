"""Namespaces that refuse Incidents: for how long their alerts are sent again, and when they are given up.

A refusal may pass: a chart that is upgraded changes its roles one after another, and an apiserver that starts refuses for a moment what it
allows. One that stays would have Alertmanager send the same message for ever, with all that other namespaces have in it.
"""

import asyncio
from dataclasses import dataclass, field

GIVE_UP_SECONDS = 300.0
"""After how long of nothing but refusals a namespace's alerts are counted as lost. Alertmanager's own `group_interval` is as long."""
_FORGET_SECONDS = 900.0
"""A refusal that comes so long after the one before has nothing to do with it."""


@dataclass(slots=True)
class Refusals:
    """Since when each namespace refuses."""

    give_up_seconds: float = GIVE_UP_SECONDS
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Namespace to its first refusal and its last, in the event loop's time."""

    def refused(self, namespace: str) -> bool:
        """Note a refusal, and tell whether the namespace is given up."""
        now = asyncio.get_running_loop().time()
        first, last = self._spans.get(namespace, (now, now))
        if now - last > _FORGET_SECONDS:
            first = now
        self._spans[namespace] = (first, now)
        return now - first >= self.give_up_seconds

    def taken(self, namespace: str) -> None:
        """Note that the namespace took an Incident, or a change of one."""
        self._spans.pop(namespace, None)
