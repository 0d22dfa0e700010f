"""What happens while no operator runs: it was killed between an intent and its act, and starts again when this is done."""

import asyncio
from contextlib import suppress

from incident_operator.kubernetes.apiserver import Kube
from proofs.faults.apiserver import Plot
from proofs.faults.history import Ban
from proofs.faults.observer import Seen
from proofs.faults.operators import Operator
from proofs.faults.scenario import Example, Json, Scenario
from proofs.faults.troubles import LATE, Fault

_DAYS = 3
_PATIENCE = 20.0
"""Seconds after which a request that was held back arrives, whether the next process has told what it found or not."""
_INTO = 5.0
"""Seconds after which the next process leads and looks; an open transaction keeps it waiting for longer."""
_WHY = {
    Fault.THEN_ABORTED: "it was aborted",
    Fault.THEN_EXPIRED: "its approval had expired",
    Fault.THEN_RESOLVED: "its alert had resolved",
    Fault.THEN_CHANGED: "what was approved had changed",
    Fault.THEN_DISTRUSTED: "no approval could be trusted",
    Fault.THEN_DELETED: "its Incident was deleted",
}


class Meanwhile:
    """The time between two processes, in one run."""

    def __init__(self, scenario: Scenario, example: Example, operator: Operator, seen: Seen, account: Kube) -> None:
        self._scene, self._example, self._operator = scenario, example, operator
        self._seen, self._account = seen, account
        self._tasks: list[asyncio.Task[None]] = []
        self.bans: list[Ban] = []

    async def strike(self, fault: Fault, plot: Plot) -> None:
        """End the operator, let happen what has to, and start it again, whoever still waits for that."""
        striking = asyncio.create_task(self._struck(fault, plot))
        self._tasks.append(striking)
        await asyncio.shield(striking)

    async def over(self) -> None:
        """End what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _struck(self, fault: Fault, plot: Plot) -> None:
        await self._operator.end()
        before = _running(await self._scene.live(self._seen))
        await self._happens(fault, plot)
        if fault in _WHY:
            self.bans.append(Ban(_WHY[fault], await self._scene.now()))
        plot.struck = fault is not Fault.THEN_NOTHING
        if fault in LATE:
            patience = _INTO if fault is Fault.DELAYED_INTO else _PATIENCE
            self._tasks.append(asyncio.create_task(self._until_told(plot, before, patience)))
        self._operator.start()

    async def _happens(self, fault: Fault, plot: Plot) -> None:
        match fault:
            case Fault.THEN_ABORTED | Fault.DELAYED_ABORTED:
                await self._scene.abort()
            case Fault.THEN_EXPIRED:
                self._operator.later_by = _DAYS
            case Fault.THEN_RESOLVED:
                await self._scene.resolve(self._account)
            case Fault.THEN_CHANGED:
                await self._example.change(self._scene)
            case Fault.THEN_DISTRUSTED:
                plot.distrusts = True
            case Fault.THEN_DELETED:
                await self._scene.delete_incidents(self._seen)

    async def _until_told(self, plot: Plot, before: set[tuple[str, str]], patience: float) -> None:
        """Wait until the next process tells of the acts that were under way that one is over, or is another attempt."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for under_way in (True, False):  # what is seen may still be older than what is stored
                    while (before <= _running(self._scene.incident(self._seen))) is not under_way:
                        await asyncio.sleep(0.01)
        plot.looked.set()


def _running(incident: Json | None) -> set[tuple[str, str]]:
    steps = incident.get("status", {}).get("steps", []) if incident else []
    return {
        (step["name"], step["key"])
        for step in steps
        if step["state"] == "Running" and step.get("effect", "read") != "read"
    }
