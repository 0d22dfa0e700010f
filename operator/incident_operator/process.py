"""Runs the parts until the process is told to stop: then what is under way ends, the Lease is given back, and all stops.

A part that fails is started again, and told; one that fails again and again ends the process, which then ends at once: a
process that neither works nor ends is worse than none. Signals are ours: kopf, told to stop, cancels whatever else runs in its
loop, acts included. kopf watches Connections alone, and of those it sees who they are; it keeps no state and patches nothing. Incidents
and Runbooks, which hold free JSON, come by `informers.py`, which says why.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import kopf
import structlog

from incident_operator.api.meta import GROUP, VERSION
from incident_operator.engine.executor import InFlight
from incident_operator.engine.leader_election import LeaderElector
from incident_operator.informers import Inbox, Informer
from incident_operator.kubernetes import apiserver, partial_objects
from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.apiserver import Kube
from incident_operator.kubernetes.discovery import EVERYWHERE, Scopes
from incident_operator.kubernetes.reflector import HistoryWentBack
from incident_operator.kubernetes.state import wait_until_served
from incident_operator.settings import Settings

_DELETED = "DELETED"


def register(registry: kopf.OperatorRegistry, inbox: Inbox, access: Access) -> None:
    """Register what kopf watches: the typed kind, which changes seldom."""

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator, unused-ignore]
    async def login(**_: Any) -> kopf.AiohttpSession:
        return _session(access)

    @kopf.on.event(GROUP, VERSION, "connections", registry=registry)
    async def connection(event: kopf.RawEvent, **_: Any) -> None:
        (inbox.connection_gone if event["type"] == _DELETED else inbox.connection)(event["object"])


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watch and nothing else, in a prefix of its own."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.watching.chunk_size = partial_objects.AT_A_TIME
    chosen.queueing.idle_timeout = 0.5
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    return chosen


def _session(access: Access) -> kopf.AiohttpSession:
    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if (token := await access.token()) is not None:
            request.headers["Authorization"] = token
        request.server_hostname = access.server_name
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=apiserver.connector(access, limit=0),
        middlewares=(authorize, partial_objects.only),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=access.proxy,
    )
    return kopf.AiohttpSession(server=access.server, aiohttp_session=session, default_namespace=access.namespace)


_FINISH_SECONDS = 20.0
"""How long acts under way may take to end after SIGTERM; the Pod's grace period is longer."""
_END_SECONDS = 5.0
"""How long everything else may take to end after that."""
_OVERDUE_SECONDS = 10.0
"""When the process is ended by force: a thread, or a task that swallows its cancellation, may keep it from ending."""
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a part is started again, after one failure, after two, and so on."""
_SOUND_SECONDS = 120.0
"""A part that ran for so long was well: its failures are counted anew."""
_MOST_FAILURES = 8
"""In a row; then the process ends, and whoever watches it starts another."""
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
    runbook_informer: Informer
    incident_informer: Informer
    kubernetes: Access
    client: Kube
    ending: asyncio.Event
    """Set when the process is about to end: nothing is begun any more."""
    elector: LeaderElector
    in_flight: InFlight
    namespaces: Scopes = EVERYWHERE
    """Those that are served."""


async def run(parts: Parts, settings: Settings, at_end: Callable[[], None] = lambda: None) -> None:
    """Run until told to stop, or until a part fails for good; raises what it failed with."""
    told = Told()
    running = {
        "incidents": parts.inbox.incidents.run,
        "runbooks": parts.inbox.runbooks.run,
        "leader election": parts.elector.run,
        "watch of runbooks": parts.runbook_informer.run,
        "watch of incidents": parts.incident_informer.run,
        "watch of connections": lambda: _kopf(parts, settings, told),
    }
    with _hearing(told):
        kept = _tasks(*(kept_running(name, part) for name, part in running.items()))
        waiting = asyncio.create_task(told.to_stop.wait())
        try:
            await asyncio.wait([waiting, *kept], return_when=asyncio.FIRST_COMPLETED)
            await finish(parts, told)
        finally:
            at_end()
            results = await _end([waiting, *kept])
    _raise_failure(results)


async def kept_running(name: str, part: Callable[[], Awaitable[None]], pauses: Sequence[float] = _PAUSES) -> None:
    """Run a part until it ends by itself, or is cancelled. Raises what it failed with at last, and `HistoryWentBack` at once."""
    failures, loop = 0, asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            return await part()
        except Exception as error:
            if _needs_another_process(error):
                raise
            failures = 1 if loop.time() - began >= _SOUND_SECONDS else failures + 1
            if failures >= _MOST_FAILURES:
                raise
            pause = pauses[min(failures, len(pauses)) - 1]
            _log.exception(
                "Part failed and is started again", part=name, error=str(error), failures=failures, seconds=pause
            )
        await asyncio.sleep(pause)


def _needs_another_process(error: BaseException) -> bool:
    """Tell whether what this process remembers is what is wrong."""
    if isinstance(error, BaseExceptionGroup):
        return any(_needs_another_process(each) for each in error.exceptions)
    return isinstance(error, HistoryWentBack)


def end_at_the_latest(seconds: float = _OVERDUE_SECONDS) -> None:
    """End the process by force once so many seconds are over, whatever still hangs then."""

    def end() -> None:
        sys.stderr.write(f"incident-operator did not end within {seconds:g}s and is ended by force\n")
        os._exit(1)

    overdue = threading.Timer(seconds, end)
    overdue.daemon = True
    overdue.start()


async def finish(parts: Parts, told: Told) -> None:
    """Let acts under way end and be recorded, then let others lead; what takes longer is left to them when the Lease is over."""
    parts.ending.set()
    _log.info("Stopping: what is under way is finished first", seconds=_FINISH_SECONDS)
    idle, hurried = _tasks(parts.in_flight.idle(), told.to_hurry.wait())
    await asyncio.wait([idle, hurried], timeout=_FINISH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finished = idle.done()
    await _end([idle, hurried])
    if finished:
        await parts.elector.release()


async def _kopf(parts: Parts, settings: Settings, told: Told) -> None:
    """Have kopf watch Connections; its own way to wait for its tasks would, at the end, cancel every other task there is."""
    if not parts.namespaces:
        await asyncio.Event().wait()  # there is nothing to watch
    await wait_until_served(parts.client)
    registry, stop = kopf.OperatorRegistry(), asyncio.Event()
    register(registry, parts.inbox, parts.kubernetes)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(),
        standalone=True,
        # kopf's own default asks for a login name, which a container's user may lack; its type is not exported
        identity=settings.instance,  # type: ignore[arg-type]
        clusterwide=parts.namespaces == EVERYWHERE,
        namespaces=[each for each in parts.namespaces if each is not None],
        stop_flag=stop,
    )
    _hear(told)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        results = await _end(list(tasks))
    _raise_failure(results)
    raise RuntimeError("kopf stopped by itself")


@contextmanager
def _hearing(told: Told) -> Iterator[None]:
    """Hear signals for the block's time."""
    _hear(told)
    try:
        yield
    finally:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


def _hear(told: Told) -> None:
    """Be told of signals, and nobody else: kopf listens from when it is started."""
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, told.hear)


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
