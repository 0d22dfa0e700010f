"""What a server answers to an act is bounded before libpq keeps it: an answer without end is a rollback, told as what it is."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from incident_operator.actions.sql.execute import SqlStatement
from incident_operator.clients import queries, sql
from incident_operator.clients.connections import Endpoint
from incident_operator.clients.queries import Query
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Failed, Failure, Outcome, Succeeded
from proofs.faults import certificates
from tests.actions.played import Played
from tests.actions.sql.endpoints import Database, FakeConnections, call, execute, writing
from tests.actions.sql.test_sql_execute import fresh
from tests.core.scaling import MOST, growth

MEBIBYTE = 1024 * 1024
HUGE = "repeat(repeat('x', 1000), 300000)"
TOUCHED = "UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20'"


@contextmanager
def taking_at_most(most: int) -> Iterator[None]:
    """Hold this process's memory against what it was, at its highest."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the kernel does not let a process forget its highest memory")
    before = _highest()
    yield
    assert _highest() - before < most


def _highest() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def acted(writer: Played, what: Call[Any]) -> Outcome:
    """Act without a trial before."""
    return await writer.send(what, await writer.show(what, trial=False))


@pytest.mark.parametrize(
    "returned",
    [
        f"UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20' RETURNING {HUGE} AS text",
        (
            "WITH many AS (UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20' RETURNING id) "
            "SELECT repeat('y', 1000) AS text FROM many, generate_series(1, 600000)"
        ),
    ],
    ids=["one row", "many rows"],
)
async def test_a_returning_without_end_rolls_back_in_little_memory(
    packs: Database, writer: Played, returned: str
) -> None:
    with taking_at_most(128 * MEBIBYTE):
        outcome = await acted(writer, call(execute(returned), timeout=60.0))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == ("StatementFailed", False, False)
    assert "the server's answer is longer than 12 MiB, too much to store; rolled back. Return less" in outcome.message
    assert fresh(packs) == []
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 0


async def test_a_before_image_without_end_rolls_back_in_little_memory(packs: Database, writer: Played) -> None:
    before = SqlStatement(statement=f"SELECT {HUGE} AS text").to_json()
    with taking_at_most(128 * MEBIBYTE):
        outcome = await acted(writer, call(execute(TOUCHED, before=before), timeout=60.0))
    assert isinstance(outcome, Failed)
    assert "the server's answer is longer than 12 MiB" in outcome.message
    assert fresh(packs) == []


async def test_an_error_message_without_end_rolls_back_in_little_memory(packs: Database, writer: Played) -> None:
    packs.run(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '%', {HUGE}; END $$; "
        "CREATE TRIGGER shouting BEFORE UPDATE ON pricing_pack FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    try:
        with taking_at_most(128 * MEBIBYTE):
            outcome = await acted(writer, call(execute(TOUCHED), timeout=60.0))
    finally:
        packs.run("DROP FUNCTION shout() CASCADE")
    assert isinstance(outcome, Failed)
    assert "rolled back" in outcome.message
    assert fresh(packs) == []


async def test_a_trial_is_bounded_as_its_act_is(packs: Database, writer: Played) -> None:
    returned = f"UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20' RETURNING {HUGE} AS text"
    with taking_at_most(128 * MEBIBYTE), pytest.raises(Failure, match="longer than 12 MiB"):
        await writer.show(call(execute(returned), timeout=60.0))


async def test_an_image_close_to_the_limit_is_stored_and_told_again(packs: Database, writer: Played) -> None:
    large = execute(f"{TOUCHED} RETURNING id, repeat('z', 7000000) AS text")
    done = await acted(writer, call(large, timeout=60.0))
    again = await writer.look(call(large, timeout=60.0))
    assert isinstance(done, Succeeded)
    assert isinstance(again, Succeeded)
    assert done.result == again.result
    assert fresh(packs) == ["PP-20"]


async def test_a_marker_whose_image_is_too_long_to_be_read_still_proves_that_it_is_done(
    packs: Database, writer: Played
) -> None:
    done = await acted(writer, call(execute(TOUCHED)))
    assert isinstance(done, Succeeded)
    packs.run(
        "UPDATE incident_operator.incident_operator_effects "
        "SET \"returning\" = pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('a', repeat('x', 60000000)))"
    )
    with taking_at_most(128 * MEBIBYTE):
        again = await writer.look(call(execute(TOUCHED)))
    assert isinstance(again, Succeeded)
    assert (again.result["rowsChanged"], again.result["truncated"]) == (1, True)


async def test_the_line_to_a_server_ends_with_its_session(packs: Database) -> None:
    sessions = sql.Sessions()
    async with sessions.open(packs.endpoint(), 5.0, read_only=False) as session:
        assert session.line is not None
        assert (await session.run("SELECT pg_backend_pid() AS pid", {})).rows[0]["pid"] > 0
        pid = (await session.run("SELECT pg_backend_pid() AS pid", {})).rows[0]["pid"]
    assert packs.value(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == 0


def test_the_names_of_columns_are_looked_at_once_for_a_result() -> None:
    class Column:
        def __init__(self, name: str) -> None:
            self.name = name

    class Cursor:
        def __init__(self, count: int) -> None:
            self.description = [Column(f"c{number}") for number in range(count)]

    assert growth(Cursor, sql._names, 200) <= MOST


async def test_they_are_looked_at_once_however_many_rows_there_are(
    packs: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, names = [], sql._names

    def look(cursor: Any) -> list[str]:
        looked.append(names(cursor))
        return looked[-1]

    monkeypatch.setattr(sql, "_names", look)
    query = Query(packs.endpoint(), "SELECT * FROM generate_series(1, 50) AS number", {}, 100, 10.0)
    found = await queries.read_here(query)
    assert (len(found.rows), looked.count(["number"])) == (50, 1)


@asynccontextmanager
async def encrypted(packs: Database, folder: Path) -> AsyncIterator[Endpoint]:
    """The database behind TLS, which ends here: the server of these tests knows none."""
    made = certificates.make(folder)
    context = made.server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # the request for TLS
        writer.write(b"S")
        await writer.start_tls(context)
        path = f"{packs.host}/.s.PGSQL.{packs.port}"
        from_server, to_server = await asyncio.open_unix_connection(path)
        await asyncio.gather(_passed(reader, to_server), _passed(from_server, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        found = packs.endpoint(host="127.0.0.1", port=port, ssl_mode="verify-full")
        yield replace(found, secret={**found.secret, "ca.crt": made.authority.read_text()})


async def _passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


async def test_an_encrypted_answer_is_bounded_as_well(packs: Database, tmp_path: Path) -> None:
    large = execute(f"{TOUCHED} RETURNING repeat('z', 50000000) AS text")
    async with encrypted(packs, tmp_path) as endpoint:
        writer = writing(FakeConnections(endpoint))
        refused = await acted(writer, call(large, timeout=60.0))
        done = await acted(writer, call(execute(f"{TOUCHED} RETURNING id")))
    assert isinstance(refused, Failed)
    assert "the server's answer is longer than 12 MiB" in refused.message
    assert isinstance(done, Succeeded)
    assert done.result["returning"] == [{"id": "PP-20"}]


async def _never_stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that lets anybody in, and has a notice of 300 MB for them."""
    length = int.from_bytes(await reader.readexactly(4))
    await reader.readexactly(length - 4)
    writer.write(b"R" + struct.pack(">II", 8, 0) + b"N" + struct.pack(">I", 300 * MEBIBYTE) + b"M")
    with suppress(OSError):
        for _ in range(300):
            writer.write(b"x" * MEBIBYTE)
            await writer.drain()
    writer.close()


async def test_what_a_server_says_while_a_connection_is_opened_is_bounded_as_well(packs: Database) -> None:
    async with await asyncio.start_server(_never_stops, "127.0.0.1", 0) as listening:
        endpoint = packs.endpoint(host="127.0.0.1", port=listening.sockets[0].getsockname()[1], ssl_mode="disable")
        with taking_at_most(50 * MEBIBYTE):
            refused = await acted(writing(FakeConnections(endpoint)), call(execute(f"{TOUCHED} RETURNING id")))
    assert isinstance(refused, Failed), refused
    assert refused.message.endswith("the server sent more than 1 MiB before the connection was open")
