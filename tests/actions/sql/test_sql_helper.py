"""Queries in their helper process, on a real PostgreSQL: what one takes is not the operator's, and the others go on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from incident_operator.clients.queries import Limits, Queries, Query
from incident_operator.clients.sql import SESSIONS, Sessions
from incident_operator.core.outcomes import Failed, HelperError, Succeeded
from incident_operator.kubernetes.fair_shares import FLOW, Flow
from tests.actions.played import Played
from tests.actions.sql.endpoints import Database, FakeConnections, call, query, reading
from tests.helper.meddling import Counted, Peak, Starting, is_gone

MIB = 1024 * 1024
HUGE = "SELECT repeat('x', 200000000) AS t"
SLOW = "SELECT 'slow' AS t FROM pg_sleep(0.5)"
WAITING = "SELECT 1 AS t FROM pg_sleep(60)"


@pytest.fixture
def starting() -> Starting:
    return Starting()


@pytest.fixture
async def helped(packs: Database, starting: Starting) -> AsyncIterator[Played]:
    async with aclosing(Queries(Sessions(), Limits(memory=64 * MIB), starting)) as queries:
        yield reading(FakeConnections(packs.endpoint("app_read")), queries=queries)


@pytest.fixture
async def impatient(packs: Database, starting: Starting) -> AsyncIterator[Played]:
    """The same, where a helper counts as hung after a few seconds."""
    async with aclosing(Queries(Sessions(), Limits(silent=3.0), starting)) as queries:
        yield reading(FakeConnections(packs.endpoint("app_read")), queries=queries)


async def run(helped: Played, statement: str, **other: Any) -> Any:
    return await helped.run(call(query(statement, **other)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def running(packs: Database, like: str) -> int:
    """How many sessions are in the middle of such a statement."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'app_read' AND query LIKE"
    return int(packs.value(f"{asked} '%{like}%'"))


async def test_a_row_that_is_too_long_fails_its_own_step_and_takes_nothing_of_the_operator(packs, helped):
    await run(helped, "SELECT 1")
    peak = Peak()
    slow, huge = await asyncio.gather(run(helped, SLOW), helped.run(call(query(HUGE), timeout=60.0)))
    assert peak.grown < 32 * MIB
    assert isinstance(huge, Failed)
    assert (huge.reason, huge.retryable) == ("ResponseTooLarge", False)
    assert "memory" in huge.message
    assert isinstance(slow, Succeeded)


async def test_what_is_read_there_is_what_would_be_read_here(packs, helped, reader):
    statement = """SELECT 1.5 AS n, NULL AS none, 12345678901234567890 AS big, 'NaN'::float8 AS nan, ARRAY[1, 2] AS many,
      '{"a": [1, null]}'::jsonb AS doc, %(t)s::text AS t, repeat('x', 20000) AS long, generate_series(1, 30) AS row"""
    asked = {"params": {"t": "naïve ☃ \U0001d54f"}, "maxRows": 20}
    there = await run(helped, statement, **asked)
    assert isinstance(there, Succeeded)
    assert there.result["truncated"]
    assert repr(there) == repr(await run(reader, statement, **asked))  # NaN is not equal to itself


@pytest.mark.parametrize(
    "statement", ["SELECT 1/0", "SELECT * FROM nowhere", "UPDATE pricing_pack SET id = 'x'", "SELECT 1 AS a, 2 AS a"]
)
async def test_what_goes_wrong_there_is_told_as_it_would_be_here(packs, helped, reader, statement):
    there = await run(helped, statement)
    assert isinstance(there, Failed)
    assert there == await run(reader, statement)


async def test_a_name_of_a_host_is_looked_up_there_too(packs):
    nobody = FakeConnections(packs.endpoint(host="localhost", port=1))
    async with aclosing(Queries(Sessions())) as queries:
        there = await run(reading(nobody, queries=queries), "SELECT 1")
    assert isinstance(there, Failed)
    assert there == await run(reading(nobody), "SELECT 1")


async def test_a_query_that_finds_no_memory_because_of_another_one_is_sent_once_more(packs, helped, starting):
    await run(helped, "SELECT 1")
    huge = asyncio.create_task(helped.run(call(query(HUGE), timeout=60.0)))
    small = []
    while not huge.done():
        small.append(await run(helped, "SELECT repeat('x', 1000000) AS t"))
    assert all(isinstance(each, Succeeded) for each in small)
    assert isinstance(huge.result(), Failed)


async def test_queries_of_a_helper_that_ends_are_sent_again(packs, helped, starting):
    await run(helped, "SELECT 1")
    under_way = [asyncio.create_task(run(helped, SLOW)) for _ in range(3)]
    await until(lambda: running(packs, "slow") == 3)
    starting.started[0].process.kill()
    outcomes = await asyncio.gather(*under_way)
    assert all(isinstance(each, Succeeded) for each in outcomes)
    assert isinstance(await run(helped, "SELECT 1"), Succeeded)


async def test_what_hangs_in_the_helper_leaves_a_session_to_another_namespace(packs, helped):
    FLOW.set(Flow("eve", 2))
    hanging = [asyncio.create_task(helped.run(call(query(WAITING), timeout=60.0))) for _ in range(SESSIONS)]
    await until(lambda: running(packs, "pg_sleep(60)") == SESSIONS)
    FLOW.set(Flow("prod", 2))
    assert isinstance(await helped.run(call(query("SELECT 1"), timeout=10.0)), Succeeded)
    for task in hanging:
        task.cancel()
    await until(lambda: running(packs, "pg_sleep(60)") == 0)


async def test_queries_that_are_run_again_alone_have_their_turns_by_severity(packs, starting):
    order: list[str] = []
    asked = Query(packs.endpoint("app_read"), "SELECT 1 AS n", {}, 1, 60.0)

    async def alone(name: str, level: int) -> None:
        FLOW.set(Flow(name, level))
        await queries._read_alone(asked)
        order.append(name)

    async with aclosing(Queries(Sessions(), Limits(), starting)) as queries, asyncio.TaskGroup() as tasks:
        for name, level in [("first", 3), ("eve", 3), ("eve", 3), ("prod", 3), ("shop", 0)]:
            tasks.create_task(alone(name, level))
    assert order == ["first", "shop", "eve", "prod", "eve"]


async def test_a_query_that_ends_its_own_helper_too_is_to_blame(packs, helped, starting):
    work = asyncio.create_task(helped.run(call(query(WAITING), timeout=60.0)))
    for at in range(2):
        await until(lambda at=at: len(starting.started) > at and running(packs, "pg_sleep(60)") == 1)
        os.kill(starting.started[at].process.pid, signal.SIGABRT)
        # a server does not notice by itself that who asked is gone
        packs.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_read'")
    told = "db: the result takes more than 64 MiB of memory"
    assert await work == Failed("ResponseTooLarge", told, retryable=False)


async def test_a_row_that_takes_too_much_of_the_processor_fails_its_own_step(packs, starting):
    limits, counted = Limits(memory=512 * MIB, seconds=0.3), Counted()
    async with aclosing(Queries(Sessions(), limits, starting, counted)) as queries:
        helped = reading(FakeConnections(packs.endpoint("app_read")), queries=queries)
        statement = "SELECT jsonb_agg(i) AS many FROM generate_series(1, 3000000) AS i"
        outcome = await helped.run(call(query(statement), timeout=60.0))
    told = "db: the result takes more than 0.3s of processor time for one row"
    assert outcome == Failed("ResponseTooLarge", told, retryable=False)
    assert counted.starts == ["queries"] * 2
    assert counted.deaths == [("queries", "cpu")] * 2


async def test_helpers_that_were_ended_are_counted_and_those_that_are_not_needed_any_more_are_not(packs, starting):
    counted = Counted()
    async with aclosing(Queries(Sessions(), Limits(), starting, counted)) as queries:
        helped = reading(FakeConnections(packs.endpoint("app_read")), queries=queries)
        work = asyncio.create_task(run(helped, SLOW))
        await until(lambda: running(packs, "slow") == 1)
        starting.started[0].process.kill()
        assert isinstance(await work, Succeeded)
        assert isinstance(await run(helped, "SELECT 1"), Succeeded)
    assert counted.starts == ["queries"] * 3
    assert counted.deaths == [("queries", "other")]


async def test_a_helper_ends_with_the_operator_however_that_ends(packs):
    source = f"""
import asyncio
from incident_operator.clients.queries import Queries, Query
from incident_operator.clients.sql import Sessions
from tests.actions.sql.endpoints import Database

async def main():
    queries, endpoint = Queries(Sessions()), Database({packs.host!r}, {packs.name!r}).endpoint("app_read")
    await queries.read(Query(endpoint, "SELECT 1", {{}}, 1, 60.0))
    print(queries._shared._helper.process.pid, flush=True)
    await queries.read(Query(endpoint, {WAITING!r}, {{}}, 1, 60.0))

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, env=environment) as operator:
        assert operator.stdout is not None
        helper = int(operator.stdout.readline())
        await until(lambda: running(packs, "pg_sleep(60)") == 1)
        operator.kill()
    await until(lambda: is_gone(helper))
    await until(lambda: running(packs, "pg_sleep(60)") == 0)


async def test_a_helper_that_hangs_is_replaced_and_no_query_is_blamed(packs, impatient, starting):
    await run(impatient, "SELECT 1")
    os.kill(starting.started[0].process.pid, signal.SIGSTOP)
    assert isinstance(await run(impatient, "SELECT 1"), Succeeded)
    assert len(starting.started) == 2


async def test_where_no_helper_can_be_had_the_same_may_work_later(packs, helped, starting):
    starting.meddle = lambda helper: helper.process.kill()
    outcome = await run(helped, "SELECT 1")
    assert isinstance(outcome, Failed)
    assert outcome.retryable
    assert "did not start" in outcome.message
    starting.meddle = lambda _: None
    assert isinstance(await run(helped, "SELECT 1"), Succeeded)


async def test_a_query_that_waits_longer_than_a_helper_may_be_silent_is_waited_for(packs, impatient, starting):
    assert isinstance(await run(impatient, "SELECT 1 FROM pg_sleep(5)"), Succeeded)
    assert len(starting.started) == 1


async def test_a_query_that_is_not_wanted_any_more_is_cut_off(packs, helped):
    work = asyncio.create_task(run(helped, WAITING))
    await until(lambda: running(packs, "pg_sleep(60)") == 1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await until(lambda: running(packs, "pg_sleep(60)") == 0)


async def test_no_more_sessions_are_opened_than_a_database_may_have(packs, helped):
    most = 0
    work = asyncio.gather(*(run(helped, SLOW) for _ in range(SESSIONS * 2)))
    while not work.done():
        most = max(most, running(packs, "slow"))
        await asyncio.sleep(0.01)
    assert all(isinstance(each, Succeeded) for each in await work)
    assert most == SESSIONS


async def test_no_credential_is_seen_from_outside_the_helper(packs, helped, starting):
    await run(helped, "SELECT 1")
    seen = Path(f"/proc/{starting.started[0].process.pid}")
    for told in ("cmdline", "environ"):
        assert b"ecret" not in (seen / told).read_bytes()


async def test_queries_under_way_fail_when_all_is_closed(packs, starting):
    queries = Queries(Sessions(), start=starting)
    helped = reading(FakeConnections(packs.endpoint("app_read")), queries=queries)
    work = asyncio.create_task(run(helped, WAITING))
    await until(lambda: running(packs, "pg_sleep(60)") == 1)
    await queries.aclose()
    outcome = await work
    assert isinstance(outcome, Failed)
    assert outcome.reason == HelperError("").reason
    assert starting.started[0].ended is not None
