"""Operators that are broken on purpose, each in one place: the checker has to catch every one of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from incident_operator.actions.sql import claim
from incident_operator.api.incident import Incident
from incident_operator.core import approval
from incident_operator.core.machine.carry_out import Do, How, Ran, Show, Store
from incident_operator.core.machine.view import View
from incident_operator.core.outcomes import Failure, Undetermined
from incident_operator.engine.calls import Calls
from incident_operator.engine.executor import Executor
from incident_operator.engine.recorder import Progress
from incident_operator.kubernetes.accounts import Account


def apply(name: str) -> None:
    """Break this process in the named way."""
    ENGINES[name]()


def _without_intent() -> None:
    """It acts first, and writes afterwards."""
    store = Executor._stored

    async def later(self: Executor, progress: Progress, view: View, request: Store) -> tuple[Progress, Incident]:
        if not request.intent:
            return await store(self, progress, view, request)
        progress = progress.knowing(request.status)
        return progress, progress.working

    Executor._stored = later  # type: ignore[method-assign]


def _with_blind_retry() -> None:
    """It does again whatever got no answer."""
    run = Calls.ran

    async def stubbornly(self: Calls, request: Do) -> Ran:
        ran = await run(self, request)
        again = request.how is How.ACT and isinstance(ran.outcome, Undetermined)
        return await run(self, request) if again else ran

    Calls.ran = stubbornly  # type: ignore[method-assign]


def _without_look() -> None:
    """It does again what was interrupted, and leaves it to the mark that nothing happens twice."""
    run = Calls.ran

    async def again(self: Calls, request: Do) -> Ran:
        if request.how is not How.LOOK:
            return await run(self, request)
        shown = await self.shown(Show(request.call, trial=False))
        acting = request if isinstance(shown, Failure) else replace(request, how=How.ACT, preview=shown)
        return await run(self, acting)

    Calls.ran = again  # type: ignore[method-assign]


def _without_marker() -> None:
    """It changes rows without leaving a mark in the same transaction."""

    async def claimed(*_: Any) -> bool:
        return True

    async def nothing(*_: Any) -> None:
        return None

    claim.claim = claimed
    claim.store = nothing


def _with_cached_reads() -> None:
    """It believes what it once read of a workload."""
    get, known = Account.get, dict[str, Any]()

    async def remembered(self: Account, path: str, **more: Any) -> Any:
        if "/deployments/" not in path:
            return await get(self, path, **more)
        if path not in known:
            known[path] = await get(self, path, **more)
        return known[path]

    Account.get = remembered  # type: ignore[method-assign]


def _without_comparing() -> None:
    """It carries out an approved plan without a look at whether it is still the same."""
    approval.difference = lambda *_, **__: ""


ENGINES: Mapping[str, Callable[[], None]] = {
    "no intent": _without_intent,
    "blind retry": _with_blind_retry,
    "no look": _without_look,
    "no marker": _without_marker,
    "cached read": _with_cached_reads,
    "approval not rendered again": _without_comparing,
}
