"""Plays an action as the engine does: shows and acts, reads, or looks; a failure becomes the outcome that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from incident_operator.actions.clients import Clients
from incident_operator.core.action import Action, Call, Preview
from incident_operator.core.outcomes import Effect, Failure, Outcome, outcome_of, outcome_of_look


@dataclass(frozen=True)
class Played:
    """One action with its clients; remembers what each intent would keep."""

    action: Action[Any]
    clients: Clients
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def run(self, call: Call[Any]) -> Outcome:
        """Do it once, as for a first begin."""
        effect = self.action.effect_of(call.spec)
        try:
            if effect is Effect.READ:
                return await self.action.read(call, self.clients)
            return await self._act(call, await self.show(call, trial=False))
        except Failure as failure:
            return outcome_of(failure, effect)

    async def send(self, call: Call[Any], preview: Preview) -> Outcome:
        """Send what an earlier preview showed."""
        try:
            return await self._act(call, preview)
        except Failure as failure:
            return outcome_of(failure, self.action.effect_of(call.spec))

    async def look(self, call: Call[Any]) -> Outcome:
        """Find out what became of it."""
        try:
            return await self.action.look(replace(call, seen=self.seen.get(call.key)), self.clients)
        except Failure as failure:
            return outcome_of_look(failure)

    async def show(self, call: Call[Any], *, trial: bool = True) -> Preview:
        """Return the preview. Raises `Failure`."""
        return await self.action.show(call, self.clients, trial)

    async def _act(self, call: Call[Any], preview: Preview) -> Outcome:
        self.seen[call.key] = preview.seen
        return await self.action.act(replace(call, seen=preview.seen), preview, self.clients)


def clients(**given: Any) -> Clients:
    """Return clients of which a test gives those that its action needs."""
    none = dict.fromkeys(("cluster", "connections", "sessions", "queries", "prometheus", "commands"))
    return Clients(**{**none, "now": lambda: datetime(2025, 10, 21, tzinfo=UTC), **given})
