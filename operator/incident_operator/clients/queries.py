"""Reads queries' results in a helper process: libpq holds a row whole, however long it is, and not in the operator.

Several at a time, each in a session of its own (`sql_sessions.py`); how many one database may have is counted here, as for acts.
In the helper they need no place any more: it would not know whose turn it is.
A query for which the helper has no memory left is sent once more, for it is a read, and another one may have had it. Where the helper
ends, each one that was under way is sent once more in a helper of its own: one that ends that too is to blame.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from incident_operator.clients import helper_process
from incident_operator.clients.helper_process import Cause, Counts, Helper
from incident_operator.clients.sql import Rows, Sessions, connected
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.connections import Endpoint
from incident_operator.core import action
from incident_operator.core.outcomes import HelperError
from incident_operator.kubernetes.fair_shares import FLOW, Seats

_ALONE_SECONDS = 120.0
"""What a query may take in a helper of its own; the next one waits for it."""
_STARTS_SECONDS = 60.0
"""Most that a helper takes to start, on a node that has little time for it."""
_MIB = 1024 * 1024
_PART = "queries"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Query:
    """One read query."""

    endpoint: Endpoint
    statement: str
    params: Mapping[str, Any]
    most: int
    """Rows."""
    seconds: float
    """What the statement may take."""
    budget: int = action.RESULT_BYTES
    """Bytes of JSON that the rows may take together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a helper may take for all that it reads at one time."""

    memory: int = 128 * _MIB
    """Bytes beyond what it has when it starts."""
    seconds: float = 5.0
    """Of the processor, for one row."""
    silent: float = 60.0
    """Seconds without a sign of life, while queries are under way, after which it counts as hung."""


class _Ended(Exception):
    """The helper ended in the middle of a query."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        """Completes "the result takes …"; empty where it had hung, which is not the fault of a query."""


class Reads(Protocol):
    """Runs read queries: `Queries`, or what stands for it."""

    async def read(self, query: Query) -> Rows:
        """Return the rows, long texts cut. Raises `SqlError`, and `HelperError` where no helper can be had."""
        ...


class Queries:
    """Runs read queries. One for the process; a helper is started when it is first needed."""

    def __init__(
        self,
        sessions: Sessions,
        limits: Limits | None = None,
        start: Callable[[str], Helper] = helper_process.start,
        counts: Counts | None = None,
    ) -> None:
        self._sessions = sessions
        self._limits = limits or Limits()
        self._start = start
        self._counts = counts or Counts()
        self._shared: _Line | None = None
        self._starting = asyncio.Lock()
        self._alone = Seats(1)
        self._closed = False

    async def read(self, query: Query) -> Rows:
        """Return the rows, long texts cut. Raises `SqlError`, and `HelperError` where no helper can be had."""
        async with self._sessions.slot(query.endpoint, query.seconds):
            for last in (False, True):
                try:
                    return await (await self._line()).read(query)
                except _Ended as ended:
                    if ended.why:
                        return await self._read_alone(query)
                except SqlError as error:
                    if last or error.fault is not Fault.TOO_LARGE:
                        raise
                    # another one may have had the memory
            raise HelperError("the helper process for queries does not answer")

    async def aclose(self) -> None:
        """End the helper; queries under way raise `HelperError`, and so do all later ones."""
        self._closed = True
        if self._shared is not None:
            await self._shared.close()

    async def _line(self) -> "_Line":
        async with self._starting:
            if self._closed:
                raise HelperError("the operator is about to end")
            if self._shared is None or self._shared.is_over:
                self._shared = await self._opened()
            return self._shared

    async def _read_alone(self, query: Query) -> Rows:
        """Run it in a helper of its own, one after another in their turns: what ends that can be nothing else."""
        query = replace(query, seconds=min(query.seconds, _ALONE_SECONDS))
        async with self._alone.taken(FLOW.get()):
            line = await self._opened()
            try:
                return await line.read(query)
            except _Ended as ended:
                if not ended.why:
                    raise HelperError("the helper process for queries does not answer") from None
                raise SqlError(Fault.TOO_LARGE, f"the result takes {ended.why}") from None
            finally:
                await line.close()

    async def _opened(self) -> "_Line":
        """Start a helper. Raises `HelperError`."""
        helper = self._start(_PART)
        self._counts.started(_PART)
        return await _Line.opened(helper, self._limits, self._counts)


class _Line:
    """A helper and the queries that are under way in it."""

    def __init__(
        self,
        helper: Helper,
        limits: Limits,
        counts: Counts,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._helper = helper
        self._limits = limits
        self._counts = counts
        self._writer = writer
        self._numbers = itertools.count()
        self._under_way: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._heard_at = _time()
        self._hearing = asyncio.create_task(self._hear(reader))
        self.is_over = False

    @classmethod
    async def opened(cls, helper: Helper, limits: Limits, counts: Counts) -> "_Line":
        """Wait until a helper is ready. Raises `HelperError`."""
        reader, writer = await asyncio.open_connection(sock=helper.line)
        try:
            async with asyncio.timeout(_STARTS_SECONDS):
                writer.write(helper_process.encode({"memory": limits.memory, "seconds": limits.seconds}))
                await helper_process.received(reader)
        except BaseException as error:
            status = helper.kill()
            writer.close()
            if not isinstance(error, OSError | EOFError | ValueError | TimeoutError):
                raise
            counts.died(_PART, helper_process.cause_of(status))
            raise HelperError(f"the helper process for queries did not start (status {status})") from None
        return cls(helper, limits, counts, reader, writer)

    async def read(self, query: Query) -> Rows:
        """Return the rows. Raises `SqlError`, and `_Ended` where the helper ends first."""
        if self.is_over:
            raise _Ended("")
        number, began = next(self._numbers), _time()
        answer = self._under_way[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(helper_process.encode({"number": number, **_asked(query)}))
            while not answer.done():
                await asyncio.wait([answer], timeout=self._limits.silent)
                if not answer.done() and _time() - max(began, self._heard_at) > self._limits.silent:
                    self._over("", Cause.OTHER)
            return _rows(answer.result())
        except asyncio.CancelledError:
            self._writer.write(helper_process.encode({"number": number, "cancelled": True}))
            raise
        finally:
            del self._under_way[number]

    async def close(self) -> None:
        """End the helper, and wait until nothing of it runs here any more."""
        self._end("")
        self._hearing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await self._hearing
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """Take answers and signs of life until the helper ends."""
        try:
            while True:
                message = await helper_process.received(reader)
                self._heard_at = _time()
                answer = self._under_way.get(message.get("number", -1))
                if answer is not None and not answer.done():
                    answer.set_result(message)
        except (OSError, EOFError, ValueError):
            self._over(*self._ended())

    def _over(self, why: str, cause: Cause) -> None:
        if not self.is_over:
            self._counts.died(_PART, cause)
            _log.warning("A helper ended", queries=len(self._under_way), why=why or "it hung")
        self._end(why)

    def _end(self, why: str) -> None:
        """End the helper; whoever waits for it is told why."""
        self.is_over = True
        self._helper.kill()
        self._writer.close()
        for answer in self._under_way.values():
            if not answer.done():
                answer.set_exception(_Ended(why))

    def _ended(self) -> tuple[str, Cause]:
        status = self._helper.kill()
        match cause := helper_process.cause_of(status):
            case Cause.MEMORY:
                return f"more than {self._limits.memory // _MIB} MiB of memory", cause
            case Cause.CPU:
                return f"more than {self._limits.seconds:g}s of processor time for one row", cause
            case Cause.OTHER:
                return f"its helper process with it (status {status})", cause


def _time() -> float:
    return asyncio.get_running_loop().time()


def _asked(query: Query) -> dict[str, Any]:
    endpoint = query.endpoint
    return {
        "connection": endpoint.connection.model_dump(mode="json", by_alias=True),
        "secret": endpoint.secret,
        "statement": query.statement,
        "params": query.params,
        "most": query.most,
        "seconds": query.seconds,
        "budget": query.budget,
    }


def query_of(asked: Mapping[str, Any], endpoint: Endpoint) -> Query:
    """Return the query that a helper was asked for."""
    return Query(endpoint, asked["statement"], asked["params"], asked["most"], asked["seconds"], asked["budget"])


def _rows(answer: Mapping[str, Any]) -> Rows:
    if "rows" in answer:
        return Rows(answer["rows"], truncated=answer["truncated"])
    if "fault" in answer:
        raise SqlError(Fault(answer["fault"]), answer["message"])
    raise RuntimeError(f"the helper process for queries failed: {answer['defect']}")


async def read_here(query: Query) -> Rows:
    """Run a query in this process, for which whoever asked holds a place. Raises `SqlError`."""
    async with connected(query.endpoint, query.seconds, read_only=True) as session:
        return await session.read(query.statement, query.params, query.most, query.budget)
