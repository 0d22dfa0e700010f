"""Endpoints, calls and servers for tests of the http and promql actions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from incident_operator.actions import http as http_action
from incident_operator.actions.http import Http
from incident_operator.actions.promql import Promql
from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.api.meta import Model, ObjectMeta
from incident_operator.api.runbook import Stage
from incident_operator.connections import Endpoint
from incident_operator.core.action import Call
from tests.actions.played import Played, clients

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def endpoint(
    url: str,
    secret: dict[str, str] | None = None,
    kind: str = "http",
    probe_path: str = "/",
    headers: dict[str, str] | None = None,
) -> Endpoint:
    safe = {"safePaths": ["/execute", "/query/*"]} if kind == "http" else {}
    spec = ConnectionSpec.model_validate(
        {"type": kind, kind: {"url": url, "probePath": probe_path, "headers": headers or {}, **safe}}
    )
    return Endpoint(Connection(metadata=ObjectMeta(name="api"), spec=spec), secret or {}, "1/1")


class FakeConnections:
    """Answers every name with one endpoint, or raises."""

    def __init__(self, found: Endpoint | Exception) -> None:
        self.found = found

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def sending(connections: FakeConnections) -> Played:
    return Played(http_action.ACTION, clients(connections=connections))


def call(spec: Model, timeout: float = 5.0, key: str = "key-1") -> Call[Any]:
    return Call(
        namespace="prod",
        incident="pack-5f2c1-1",
        incident_uid="uid-1",
        runbook="pack",
        service_account="rb-pack",
        stage=Stage.VERIFY,
        step="execute",
        attempt=1,
        key=key,
        action="promql" if isinstance(spec, Promql) else "http",
        spec=spec,
        timeout=timeout,
        started_at=datetime(2025, 10, 21, tzinfo=UTC),
    )


def request(method: str = "GET", path: str = "/", **other: Any) -> Http:
    return Http.model_validate({"connection": "api", "method": method, "path": path} | other)


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Yield the loopback port at which `serve` answers raw bytes; its tasks end with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(data: bytes, *, then_hang: bool = False, seen: list[bytes] | None = None) -> Serve:
    """Read a request, answer these bytes, and close or hang."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(data)
        await writer.drain()
        if then_hang:
            await asyncio.sleep(3600)

    return serve
