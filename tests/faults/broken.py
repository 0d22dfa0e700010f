"""Operators that are broken on purpose, each in one place: the checker has to catch every one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from incident_operator.actions import sql_effects
from incident_operator.actions.protocol import Call
from incident_operator.clients.cluster import Account
from incident_operator.core.effects import Effect
from incident_operator.core.machine.decisions import Begin
from incident_operator.core.machine.view import View
from incident_operator.core.outcomes import Outcome, Undetermined
from incident_operator.engine.approvals import Approvals
from incident_operator.engine.calls import Calls
from incident_operator.engine.executor import Executor
from incident_operator.engine.progress import Progress


def apply(name: str) -> None:
    """Break this process in the named way."""
    ENGINES[name]()


@dataclass(frozen=True, slots=True)
class _Forgetful:
    """A recorder that only says that it has stored something."""

    async def publish(self, progress: Progress, view: View) -> Progress:
        return progress.knowing(view.status)


def _without_intent() -> None:
    """It acts first, and writes afterwards."""
    begin = Executor.begin

    async def at_once(self: Executor, progress: Progress, view: View, decision: Begin) -> Progress:
        return await begin(replace(self, recorder=_Forgetful()), progress, view, decision)

    Executor.begin = at_once  # type: ignore[method-assign]


def _with_blind_retry() -> None:
    """It does again whatever got no answer."""
    run = Calls.run

    async def stubbornly(self: Calls, call: Call, effect: Effect) -> Outcome:
        outcome = await run(self, call, effect)
        return await run(self, call, effect) if isinstance(outcome, Undetermined) else outcome

    Calls.run = stubbornly  # type: ignore[method-assign]


def _without_marker() -> None:
    """It changes rows without leaving a mark in the same transaction."""

    async def claimed(*_: Any) -> bool:
        return True

    async def nothing(*_: Any) -> None:
        return None

    sql_effects.claim = claimed
    sql_effects.store = nothing


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


def _without_rendering_again() -> None:
    """It carries out an approved plan without a look at whether it is still the same."""

    async def unchanged(*_: Any) -> None:
        return None

    Approvals.changed = unchanged  # type: ignore[method-assign]


ENGINES: Mapping[str, Callable[[], None]] = {
    "no intent": _without_intent,
    "blind retry": _with_blind_retry,
    "no marker": _without_marker,
    "cached read": _with_cached_reads,
    "approval not rendered again": _without_rendering_again,
}
