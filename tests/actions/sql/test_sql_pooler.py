"""sqlExecute and sqlQuery behind a PgBouncer that gives its one server connection to another client after each transaction."""

from collections.abc import Iterator

import psycopg
import pytest

from incident_operator.clients.sql import Session, Sessions
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core.action import UndoOf
from incident_operator.core.outcomes import Failed, Succeeded
from tests.actions.played import Played
from tests.actions.sql.endpoints import PASSWORD, Database, FakeConnections, call, execute, query, reading, writing

FRESHEN = "UPDATE pricing_pack SET is_fresh = true WHERE id = %(id)s RETURNING id, date"
STALE = "UPDATE pricing_pack SET is_fresh = false"
UNDO = """UPDATE pricing_pack AS pack SET is_fresh = (was->>'is_fresh')::boolean
  FROM incident_operator.incident_operator_effects AS effect, jsonb_array_elements(effect.before) AS was
  WHERE effect.step_key = %(marker)s AND pack.id = was->>'id'"""
SETTINGS = (
    "transaction_read_only",
    "transaction_isolation",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "synchronous_commit",
)


def freshen(**other):
    before = {"statement": "SELECT id, is_fresh FROM pricing_pack WHERE id = %(id)s", "params": {"id": "PP-20"}}
    return execute(FRESHEN, params={"id": "PP-20"}, before=before, **other)


def fresh(packs: Database) -> list[str]:
    return [row[0] for row in packs.run("SELECT id FROM pricing_pack WHERE is_fresh ORDER BY id")]


@pytest.fixture
def pooled_writer(pooled: Database) -> Played:
    return writing(FakeConnections(pooled.endpoint()))


@pytest.fixture
def neighbour(pooled: Database) -> Iterator[psycopg.Connection]:
    """Somebody else's program of the same role, and so on the same server connection."""
    with psycopg.connect(
        host=pooled.host,
        port=pooled.port,
        dbname=pooled.name,
        user="app_write",
        password=PASSWORD,
        autocommit=True,
        prepare_threshold=None,
    ) as connection:
        yield connection


def settings(connection: psycopg.Connection) -> dict[str, str]:
    return {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS}


async def test_one_act_after_another_is_done(packs, pooled_writer):
    for number in range(3):
        packs.run(STALE)
        outcome = await pooled_writer.run(call(freshen(), key=f"key-{number}"))

        assert isinstance(outcome, Succeeded), outcome
        assert outcome.result == {
            "rowsChanged": 1,
            "before": [{"id": "PP-20", "is_fresh": False}],
            "returning": [{"id": "PP-20", "date": "2025-10-20"}],
            "truncated": False,
        }
        assert fresh(packs) == ["PP-20"]


async def test_a_trial_then_the_act_then_a_look_at_it(packs, pooled_writer):
    preview = await pooled_writer.show(call(freshen()))
    assert (preview.in_trial, fresh(packs)) == ("1 row", [])

    first = await pooled_writer.run(call(freshen()))
    packs.run(STALE)
    again = await pooled_writer.look(call(freshen()))

    assert isinstance(first, Succeeded)
    assert isinstance(again, Succeeded)
    assert again.result == first.result
    assert "already applied at 2" in again.summary
    assert fresh(packs) == []


async def test_two_programs_take_turns_on_one_server_connection(pooled):
    writers = [writing(FakeConnections(pooled.endpoint())) for _ in range(2)]
    for number in range(6):
        outcome = await writers[number % 2].run(call(freshen(), key=f"turn-{number}"))
        assert isinstance(outcome, Succeeded), outcome


async def test_every_act_is_on_the_same_server_connection(pooled):
    """Or else nothing here would show what one client leaves to the next."""
    backend = execute("INSERT INTO pricing_pack VALUES (%(marker)s) RETURNING pg_backend_pid() AS pid")
    outcomes = [
        await writing(FakeConnections(pooled.endpoint())).run(call(backend, key=f"same-{number}"))
        for number in range(3)
    ]
    assert len({outcome.result["returning"][0]["pid"] for outcome in outcomes}) == 1


async def test_an_undo_finds_what_the_act_touched(packs, pooled_writer):
    done = await pooled_writer.run(call(freshen(), key="original"))
    assert isinstance(done, Succeeded)
    undo = call(execute(UNDO, max_rows=1), key="undo", undo_of=UndoOf("original", done.captured or {}))
    outcome = await pooled_writer.run(undo)

    assert isinstance(outcome, Succeeded)
    assert outcome.result["rowsChanged"] == 1
    assert fresh(packs) == []


async def test_rows_are_read_between_acts(pooled, pooled_writer):
    reader = reading(FakeConnections(pooled.endpoint()))
    for number in range(3):
        acted = await pooled_writer.run(call(freshen(), key=f"between-{number}"))
        found = await reader.run(call(query("SELECT id FROM pricing_pack ORDER BY id")))
        cut = await reader.run(call(query("SELECT n FROM generate_series(1, 100000) AS n", maxRows=2)))

        assert isinstance(acted, Succeeded)
        assert isinstance(found, Succeeded)
        assert isinstance(cut, Succeeded)
        assert found.result == {"rows": [{"id": "PP-19"}, {"id": "PP-20"}], "truncated": False}
        assert cut.result == {"rows": [{"n": 1}, {"n": 2}], "truncated": True}


async def test_a_read_cannot_write(pooled):
    reader = reading(FakeConnections(pooled.endpoint()))
    outcome = await reader.run(call(query("WITH done AS (DELETE FROM pricing_pack RETURNING id) SELECT id FROM done")))
    assert isinstance(outcome, Failed)
    assert "read-only transaction" in outcome.message


async def test_a_statement_that_fails_leaves_nothing_to_the_next_client(packs, pooled_writer, neighbour):
    twice = execute("INSERT INTO pricing_pack VALUES ('PP-20', '2025-10-20', true)")
    for number in range(2):
        failed = await pooled_writer.run(call(twice, key=f"fails-{number}"))
        assert isinstance(failed, Failed)
        assert "duplicate key" in failed.message
        assert neighbour.execute("SELECT count(*) FROM pricing_pack").fetchone() == (2,)

        done = await pooled_writer.run(call(freshen(), key=f"works-{number}"))
        assert isinstance(done, Succeeded), done


async def test_the_next_client_finds_its_own_settings(pooled, packs, pooled_writer, neighbour):
    packs.run(f"ALTER ROLE app_write IN DATABASE \"{packs.name}\" SET TimeZone = 'Asia/Kathmandu'")
    before = settings(neighbour)
    reader = reading(FakeConnections(pooled.endpoint()))

    assert isinstance(await pooled_writer.run(call(freshen())), Succeeded)
    after_act = settings(neighbour)
    assert isinstance(await reader.run(call(query("SELECT 1 AS one"))), Succeeded)
    after_read = settings(neighbour)

    assert before["transaction_read_only"] == "off"
    assert before["statement_timeout"] == "0"
    assert after_act == before
    assert after_read == before


async def test_no_statement_keeps_a_name_on_the_server(pooled_writer, neighbour):
    assert isinstance(await pooled_writer.run(call(freshen())), Succeeded)
    assert neighbour.execute("SELECT name FROM pg_prepared_statements").fetchall() == []


TWO = {
    "without parameters": ("SELECT 1 AS a; SELECT 2 AS a", {}),
    "with parameters": ("SELECT %(a)s AS a; SELECT 2 AS a", {"a": 1}),
    "that ends the transaction": ("COMMIT; DELETE FROM pricing_pack", {}),
    "after a literal": ("SELECT '100%%' AS a; DELETE FROM pricing_pack", {}),
}
"""Two statements in one text."""


@pytest.mark.parametrize("place", ["packs", "pooled"])
@pytest.mark.parametrize("way", [Session.run, Session.read], ids=["run", "read"])
@pytest.mark.parametrize(("statement", "params"), TWO.values(), ids=TWO.keys())
async def test_the_server_refuses_a_second_statement(request, packs, place, way, statement, params):
    endpoint = request.getfixturevalue(place).endpoint()
    with pytest.raises(SqlError, match="multiple commands") as refused:
        async with Sessions().open(endpoint, 10, read_only=False) as session:
            await way(session, statement, params, 10)

    assert refused.value.fault is Fault.STATEMENT
    assert packs.value("SELECT count(*) FROM pricing_pack") == 2


@pytest.mark.parametrize("place", ["packs", "pooled"])
@pytest.mark.parametrize("way", [Session.run, Session.read], ids=["run", "read"])
@pytest.mark.parametrize("params", [{}, {"more": "!"}], ids=["without", "with"])
async def test_two_percent_signs_are_one(request, place, way, params):
    endpoint = request.getfixturevalue(place).endpoint()
    statement = "SELECT '100%%' AS a" + (", %(more)s AS b" if params else "")
    async with Sessions().open(endpoint, 10, read_only=True) as session:
        found = await way(session, statement, params, 10)
    assert found.rows == [{"a": "100%"} | ({"b": "!"} if params else {})]
