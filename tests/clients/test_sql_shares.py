"""How many sessions of one database a namespace may hold: what hangs leaves some to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.api.meta import ObjectMeta
from incident_operator.clients import sql
from incident_operator.clients.connections import Endpoint
from incident_operator.clients.sql import Sessions
from incident_operator.clients.sql_errors import SqlError
from incident_operator.kubernetes.fair_shares import FLOW, Flow
from incident_operator.kubernetes.priority import SESSIONS


def endpoint(database: str) -> Endpoint:
    spec = {"type": "postgres", "postgres": {"host": "db", "database": database}}
    meta = ObjectMeta(name="db", namespace="prod")
    return Endpoint(Connection(metadata=meta, spec=ConnectionSpec.model_validate(spec)), {"username": "rb"}, "1/1")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions without a database."""

    @asynccontextmanager
    async def connected(where: Endpoint, seconds: float, *, read_only: bool) -> AsyncIterator[object]:
        yield object()

    monkeypatch.setattr(sql, "connected", connected)


def entered(sessions: Sessions, namespace: str, order: list[str], go: asyncio.Event, **of: Any) -> "asyncio.Task[None]":
    """Open a session as a visit of that namespace does, and hold it until told to go on."""

    async def hold() -> None:
        FLOW.set(Flow(namespace, of.get("level", 2)))
        async with sessions.open(endpoint(of.get("database", "packs")), of.get("seconds", 30.0), read_only=True):
            order.append(namespace)
            await go.wait()

    return asyncio.create_task(hold())


async def test_four_hanging_statements_of_one_namespace_leave_a_session_to_others(opened: None) -> None:
    sessions, order, go, goes_on = Sessions(), list[str](), asyncio.Event(), asyncio.Event()
    goes_on.set()
    hanging = [entered(sessions, "eve", order, go) for _ in range(2 * SESSIONS)]
    await asyncio.sleep(0)
    for _ in range(SESSIONS):
        await entered(sessions, "prod", order, goes_on, seconds=0.5)
    with pytest.raises(SqlError, match="all 4 sessions stayed busy"):
        await entered(sessions, "eve", order, goes_on, seconds=0.05)
    await entered(sessions, "eve", order, goes_on, database="another")
    assert order == ["eve"] * SESSIONS + ["prod"] * SESSIONS + ["eve"]
    go.set()
    await asyncio.gather(*hanging)


async def test_the_severest_gets_the_next_session_and_the_turn_goes_round_the_namespaces(opened: None) -> None:
    sessions, order, go = Sessions(), list[str](), asyncio.Event()
    tasks = [entered(sessions, "busy", order, go) for _ in range(SESSIONS)]
    tasks += [entered(sessions, namespace, order, go, level=3) for namespace in ("eve", "eve", "eve", "prod")]
    tasks += [entered(sessions, "shop", order, go, level=0)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)
    assert sorted(order[SESSIONS : SESSIONS + 3]) == ["eve", "eve", "shop"], (
        "two were lent at once, in the order of coming"
    )
    assert order[SESSIONS + 3 :] == ["prod", "eve"]
