"""Runs the parts until the process is told to stop: then what is under way ends, the Lease is given back, and all stops.

Signals are ours: kopf, told to stop, cancels whatever else runs in its loop, acts included.
"""

import asyncio
import signal
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog

from incident_operator import handlers
from incident_operator.clients.access import Access
from incident_operator.clients.kube import Kube
from incident_operator.engine.busy import Busy
from incident_operator.engine.lease import Elector
from incident_operator.feed import IncidentFeed
from incident_operator.inbox import Inbox
from incident_operator.relisting import Relisting
from incident_operator.settings import Settings

_FINISH_SECONDS = 20.0
"""How long acts under way may take to end after SIGTERM; the Pod's grace period is longer."""
_END_SECONDS = 5.0
"""How long everything else may take to end after that."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """What the process was told by signals."""

    to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    to_hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """A second signal: what is under way is left to the next process."""

    def hear(self) -> None:
        """Note a signal."""
        (self.to_hurry if self.to_stop.is_set() else self.to_stop).set()


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, once it is built."""

    inbox: Inbox
    feed: IncidentFeed
    relisting: Relisting
    kubernetes: Access
    client: Kube
    ending: asyncio.Event
    """Set when the process is about to end: nothing is begun any more."""
    elector: Elector
    busy: Busy


async def run(parts: Parts, settings: Settings) -> None:
    """Run until told to stop, or until a part fails; raises what it failed with."""
    told, stop = Told(), asyncio.Event()
    watching = await _start_kopf(parts, settings, stop)
    with _hearing(told):
        driving = (parts.inbox.incidents.run(), parts.inbox.runbooks.run(), parts.elector.run())
        engine = _tasks(*driving, parts.feed.run(), parts.relisting.run())
        waiting = asyncio.create_task(told.to_stop.wait())
        try:
            await asyncio.wait([waiting, *watching, *engine], return_when=asyncio.FIRST_COMPLETED)
            await finish(parts, told)
        finally:
            stop.set()
            results = await _end([waiting, *watching, *engine])
    _raise_failure(results)


async def finish(parts: Parts, told: Told) -> None:
    """Let acts under way end and be recorded, then let others lead; what takes longer is left to them when the Lease is over."""
    parts.ending.set()
    _log.info("Stopping: what is under way is finished first", seconds=_FINISH_SECONDS)
    idle, hurried = _tasks(parts.busy.idle(), told.to_hurry.wait())
    await asyncio.wait([idle, hurried], timeout=_FINISH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finished = idle.done()
    await _end([idle, hurried])
    if finished:
        await parts.elector.release()


async def _start_kopf(parts: Parts, settings: Settings, stop: asyncio.Event) -> Sequence[asyncio.Task[Any]]:
    """Start kopf's tasks; its own way to wait for them would, at the end, cancel every other task there is."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry, parts.inbox, parts.kubernetes)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=handlers.settings(),
        standalone=True,
        # kopf's own default asks for a login name, which a container's user may lack; its type is not exported
        identity=settings.instance,  # type: ignore[arg-type]
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    return list(tasks)


@contextmanager
def _hearing(told: Told) -> Iterator[None]:
    """Hear signals for the block's time; whoever listened before, as kopf does, is not told."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, told.hear)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _tasks(*work: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(each) for each in work]


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    """Cancel tasks and return how they ended; one that does not end in time is left behind with the process."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_END_SECONDS)
    return await asyncio.gather(*(task for task in tasks if task.done()), return_exceptions=True)


def _raise_failure(results: Sequence[Any]) -> None:
    """Raise what a part failed with; where its own parts failed together, the first of that."""
    for result in results:
        if isinstance(result, BaseExceptionGroup):
            _raise_failure(result.exceptions)
        elif isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
