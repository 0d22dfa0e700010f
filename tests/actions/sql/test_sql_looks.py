"""A look at a sqlExecute never does it, proves what it says, and where it cannot look it says so."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from incident_operator.clients.connections import EndpointError
from incident_operator.core import action
from incident_operator.core.outcomes import NotDone, Outcome, Pending, Succeeded
from tests.actions.played import Played
from tests.actions.sql import standby
from tests.actions.sql.endpoints import PASSWORD, Database, FakeConnections, call, execute, writing
from tests.actions.sql.proxy import Trouble, holding, proxy

FRESHEN = execute(
    "UPDATE pricing_pack SET is_fresh = NOT is_fresh WHERE id = 'PP-20' RETURNING id",
    max_rows=1,
    before={"statement": "SELECT id, is_fresh FROM pricing_pack WHERE id = 'PP-20'"},
)
COMMIT = b"COMMIT\0"
MARKERS = "incident_operator.incident_operator_effects"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ON CONFLICT%'"


def fresh(packs: Database) -> bool:
    return packs.value("SELECT is_fresh FROM pricing_pack WHERE id = 'PP-20'")


def tombstones(packs: Database) -> int:
    return packs.value(f"SELECT count(*) FROM {MARKERS} WHERE rows_changed IS NULL")


def through(packs: Database, port: int) -> Played:
    return writing(FakeConnections(packs.endpoint(host="127.0.0.1", port=port)))


async def until(packs: Database, question: str) -> None:
    async with asyncio.timeout(30):
        while not packs.value(question):
            await asyncio.sleep(0.02)


async def test_where_nothing_was_done_a_look_says_so_and_does_nothing(packs, writer):
    looked = [await writer.look(call(FRESHEN)) for _ in range(3)]
    assert all(isinstance(outcome, NotDone) for outcome in looked)
    assert not fresh(packs)
    assert packs.run(f"SELECT step_key, incident, step, rows_changed FROM {MARKERS}") == [
        ("key-1", "prod/pack-5f2c1-1", "serve-last-good", None)
    ]


async def test_what_was_done_is_found_with_all_that_it_told(packs, writer):
    done = await writer.run(call(FRESHEN))
    looked = [await writer.look(call(FRESHEN)) for _ in range(2)]

    assert isinstance(done, Succeeded)
    assert [(each.result, each.captured) for each in looked] == [(done.result, done.captured)] * 2
    assert fresh(packs)
    assert tombstones(packs) == 0


async def test_after_a_look_that_found_nothing_a_late_try_changes_nothing(packs, writer):
    async with holding(packs.host, b"ON CONFLICT") as (port, line):
        late = asyncio.create_task(through(packs, port).run(call(FRESHEN)))
        await line.held.wait()
        looked = await writer.look(call(FRESHEN))
        line.let_go.set()
        came = await late

    assert isinstance(looked, NotDone)
    assert came == looked
    assert not fresh(packs)
    assert isinstance(await writer.run(call(FRESHEN)), NotDone)
    assert isinstance(await writer.look(call(FRESHEN)), NotDone)
    assert not fresh(packs)
    assert (await writer.show(call(FRESHEN))).in_trial == "withdrawn, it would do nothing"


async def test_after_a_look_that_found_nothing_the_next_attempt_does_it(packs, writer):
    await writer.look(call(FRESHEN, key="attempt-1"))
    assert isinstance(await writer.run(call(FRESHEN, key="attempt-2")), Succeeded)
    assert fresh(packs)


async def test_a_look_waits_for_a_try_that_is_still_open_and_finds_what_it_commits(packs, writer):
    async with holding(packs.host, COMMIT) as (port, line):
        first = asyncio.create_task(through(packs, port).run(call(FRESHEN)))
        await line.held.wait()
        look = asyncio.create_task(writer.look(call(FRESHEN)))
        await until(packs, WAITING)
        line.let_go.set()
        done, looked = await first, await look

    assert isinstance(done, Succeeded)
    assert isinstance(looked, Succeeded)
    assert looked.result == done.result
    assert fresh(packs)


async def test_a_look_waits_for_a_try_that_is_still_open_and_withdraws_what_is_rolled_back(packs, writer):
    async with holding(packs.host, COMMIT) as (port, line):
        first = asyncio.create_task(through(packs, port).run(call(FRESHEN)))
        await line.held.wait()
        look = asyncio.create_task(writer.look(call(FRESHEN)))
        await until(packs, WAITING)
        packs.run("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE state = 'idle in transaction' AND datname = current_database()""")
        looked = await look
        line.let_go.set()
        came = await first

    assert isinstance(looked, NotDone)
    assert isinstance(came, Pending)
    assert tombstones(packs) == 1
    assert not fresh(packs)


async def test_a_commit_that_comes_after_a_look_gave_up_is_found_by_the_next_one(packs, writer):
    async with holding(packs.host, COMMIT) as (port, line):
        first = asyncio.create_task(through(packs, port).run(call(FRESHEN)))
        await line.held.wait()
        early = await writer.look(call(FRESHEN, timeout=0.4))
        line.let_go.set()
        done, later = await first, await writer.look(call(FRESHEN))

    assert isinstance(early, Pending)
    assert "another try of this step is under way" in early.summary
    assert isinstance(done, Succeeded)
    assert isinstance(later, Succeeded)
    assert later.result == done.result
    assert fresh(packs)


async def test_a_second_try_beside_one_that_is_still_open_cannot_tell(packs, writer):
    async with holding(packs.host, COMMIT) as (port, line):
        first = asyncio.create_task(through(packs, port).run(call(FRESHEN)))
        await line.held.wait()
        second = await writer.run(call(FRESHEN, timeout=0.4))
        line.let_go.set()
        await first

    assert isinstance(second, Pending)
    assert fresh(packs)


async def test_an_answer_that_cannot_be_made_is_noticed_before_the_commit(packs, writer, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(action, "fit", broken)
        with pytest.raises(RuntimeError):
            await writer.run(call(FRESHEN))

    assert not fresh(packs)
    assert isinstance(await writer.look(call(FRESHEN)), NotDone)


async def test_a_line_that_does_not_end_well_leaves_done_what_was_committed(packs, writer, monkeypatch):
    close = psycopg.AsyncConnection.close

    async def badly(self: psycopg.AsyncConnection) -> None:
        await close(self)
        raise psycopg.OperationalError("not ended well")

    monkeypatch.setattr(psycopg.AsyncConnection, "close", badly)
    assert isinstance(await writer.run(call(FRESHEN)), Succeeded)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.REPLY_LOST, Trouble.SERVER_LOST])
async def test_a_tombstone_that_may_not_be_stored_is_no_proof(packs, writer, trouble):
    async with proxy(packs.host, COMMIT, trouble) as port:
        looked = await through(packs, port).look(call(FRESHEN))
    assert isinstance(looked, Pending)
    assert isinstance(await writer.look(call(FRESHEN)), NotDone)


@dataclass(frozen=True)
class OwnDatabase:
    """A database of its own, and a Connection that can be edited."""

    database: Database
    connections: FakeConnections
    writer: Played

    def elsewhere(self, statement: str) -> None:
        Database(self.database.host, "postgres").run(statement)


@pytest.fixture
def own(server: str) -> Iterator[OwnDatabase]:
    Database(server, "postgres").run("DROP DATABASE IF EXISTS looked WITH (FORCE)")
    Database(server, "postgres").run("CREATE DATABASE looked")
    database = Database(server, "looked")
    database.grant_effects("app_write")
    database.run("""CREATE TABLE pricing_pack (id text PRIMARY KEY, is_fresh boolean);
        INSERT INTO pricing_pack VALUES ('PP-20', false); GRANT SELECT, UPDATE ON pricing_pack TO app_write""")
    connections = FakeConnections(database.endpoint())
    yield OwnDatabase(database, connections, writing(connections))
    Database(server, "postgres").run("DROP DATABASE IF EXISTS looked WITH (FORCE)")


def statements(broken: str, mended: str = "") -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def cause(own: OwnDatabase) -> Iterator[None]:
        own.database.run(broken)
        yield
        if mended:
            own.database.run(mended)

    return cause


def outside(broken: str, mended: str = "") -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def cause(own: OwnDatabase) -> Iterator[None]:
        own.elsewhere(broken)
        yield
        if mended:
            own.elsewhere(mended)

    return cause


def edited(**other: object) -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def cause(own: OwnDatabase) -> Iterator[None]:
        before, own.connections.found = own.connections.found, own.database.endpoint(**other)
        yield
        own.connections.found = before

    return cause


def refused(reason: str) -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def cause(own: OwnDatabase) -> Iterator[None]:
        before, own.connections.found = own.connections.found, EndpointError(reason, "as it was given")
        yield
        own.connections.found = before

    return cause


def login(rule: str, password: str = PASSWORD) -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def cause(own: OwnDatabase) -> Iterator[None]:
        rules = Path(own.database.value("SHOW hba_file"))
        usual, found = rules.read_text(), own.connections.found
        rules.write_text(f"local looked app_write {rule}\n{usual}")
        own.elsewhere("SELECT pg_reload_conf()")
        secret = {"username": "app_write", "password": password}
        own.connections.found = replace(own.database.endpoint(), secret=secret)
        yield
        rules.write_text(usual)
        own.elsewhere("SELECT pg_reload_conf()")
        own.connections.found = found

    return cause


@contextlib.contextmanager
def locked(own: OwnDatabase) -> Iterator[None]:
    with own.database.owner() as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {MARKERS} IN ACCESS EXCLUSIVE MODE")
        yield


def trigger(body: str) -> Callable[[OwnDatabase], contextlib.AbstractContextManager[None]]:
    made = f"""CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
        CREATE TRIGGER hinder BEFORE INSERT ON {MARKERS} FOR EACH ROW EXECUTE FUNCTION hinder()"""
    return statements(made, "DROP FUNCTION hinder CASCADE")


MENDED = {
    "the marker table may not be used any more": statements(
        f"REVOKE ALL ON {MARKERS} FROM app_write",
        f'GRANT SELECT, INSERT (step_key, incident, step), UPDATE (rows_changed, before, "returning") '
        f"ON {MARKERS} TO app_write",
    ),
    "the marker table may be written but not read": statements(
        f"REVOKE SELECT ON {MARKERS} FROM app_write", f"GRANT SELECT ON {MARKERS} TO app_write"
    ),
    "its schema may not be used any more": statements(
        "REVOKE USAGE ON SCHEMA incident_operator FROM app_write",
        "GRANT USAGE ON SCHEMA incident_operator TO app_write",
    ),
    "the marker table has another name": statements(
        f"ALTER TABLE {MARKERS} RENAME TO other",
        "ALTER TABLE incident_operator.other RENAME TO incident_operator_effects",
    ),
    "the database is renamed": outside("ALTER DATABASE looked RENAME TO gone", "ALTER DATABASE gone RENAME TO looked"),
    "the database takes no connections": outside(
        "ALTER DATABASE looked ALLOW_CONNECTIONS false", "ALTER DATABASE looked ALLOW_CONNECTIONS true"
    ),
    "the role may not connect": outside(
        "REVOKE CONNECT ON DATABASE looked FROM PUBLIC", "GRANT CONNECT ON DATABASE looked TO PUBLIC"
    ),
    "the role may not log in": outside("ALTER ROLE app_write NOLOGIN", "ALTER ROLE app_write LOGIN"),
    "the role has too many sessions": outside(
        "ALTER ROLE app_write CONNECTION LIMIT 0", "ALTER ROLE app_write CONNECTION LIMIT -1"
    ),
    "the password is wrong": login("scram-sha-256", "wrong"),
    "the Secret has no password": login("scram-sha-256", ""),
    "logins are refused": login("reject"),
    "the Connection is deleted": refused("ConnectionNotFound"),
    "the Secret may not be read": refused("SecretUnreadable"),
    "the apiserver does not answer": refused("ConnectionFailed"),
    "the Connection leads to another database": edited(database="postgres"),
    "the Connection leads to another port": edited(port=1),
    "the Connection leads to another host": edited(host="no-such-host.invalid"),
    "the Connection asks for TLS, which is not there": edited(host="127.0.0.1", port=1, ssl_mode="require"),
    "the table is locked": locked,
    "a statement takes too long": trigger("PERFORM pg_sleep(30); RETURN NEW;"),
    "the server is read-only": trigger("RAISE 'cannot execute INSERT' USING ERRCODE = '25006';"),
    "the marker vanishes": trigger("RETURN NULL;"),
    "the server says something else": trigger("RAISE 'nonsense' USING ERRCODE = 'XX000';"),
}
FOR_GOOD = {
    "the marker table is gone": statements(f"DROP TABLE {MARKERS}"),
    "the database is gone": outside("DROP DATABASE looked WITH (FORCE)"),
}
ONLY_BEFORE, ONLY_AFTER = "the marker vanishes", "the marker table may be written but not read"
"""What keeps new markers out alone, or a marker from being read."""


@pytest.mark.parametrize("cause", [cause for cause in (*MENDED, *FOR_GOOD) if cause != ONLY_BEFORE])
async def test_a_look_that_fails_for_any_reason_is_no_proof_that_nothing_was_done(own, cause):
    assert isinstance(await own.writer.run(call(FRESHEN)), Succeeded)
    looked = await _look_hindered(own, cause)

    assert isinstance(looked, Pending)
    assert looked.summary.startswith("cannot tell whether it is done: ")
    assert PASSWORD not in looked.summary
    if cause in MENDED:
        assert isinstance(await own.writer.look(call(FRESHEN)), Succeeded)
        assert fresh(own.database)


@pytest.mark.parametrize("cause", [cause for cause in (*MENDED, *FOR_GOOD) if cause != ONLY_AFTER])
async def test_a_look_that_fails_for_any_reason_withdraws_nothing(own, cause):
    own.writer.seen["key-1"] = (await own.writer.show(call(FRESHEN), trial=False)).seen
    looked = await _look_hindered(own, cause)

    assert isinstance(looked, Pending)
    if cause in MENDED:
        assert tombstones(own.database) == 0
        assert isinstance(await own.writer.look(call(FRESHEN)), NotDone)
        assert not fresh(own.database)


async def _look_hindered(own: OwnDatabase, cause: str) -> Outcome:
    # a database is renamed only once nobody is in it
    await until(own.database, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()")
    with (MENDED | FOR_GOOD)[cause](own):
        return await own.writer.look(call(FRESHEN, timeout=0.5))


async def test_a_failover_hides_what_was_done_until_the_standby_is_primary(server, own):
    with standby.following(server) as other:
        there = Database(other.host, own.database.name)
        assert isinstance(await own.writer.run(call(FRESHEN)), Succeeded)
        await until(there, f"SELECT count(*) FROM {MARKERS}")
        writer = writing(FakeConnections(there.endpoint()))
        looked = await writer.look(call(FRESHEN))
        begun = await writer.run(call(FRESHEN, key="key-2"))
        other.promote()
        found = await writer.look(call(FRESHEN))

    assert isinstance(looked, Pending)
    assert isinstance(begun, NotDone)
    assert "read-write mode during recovery" in looked.summary
    assert isinstance(found, Succeeded)


@pytest.mark.parametrize("where", [{"host": "db-2.prod"}, {"port": 5433}, {"database": "other"}], ids=str)
async def test_another_place_is_another_thing(packs, writer, where):
    shown = await writer.show(call(FRESHEN), trial=False)
    moved = await writing(FakeConnections(packs.endpoint(**where))).show(call(FRESHEN), trial=False)
    assert shown.digest != moved.digest


async def test_another_password_key_or_attempt_is_the_same_thing(packs, writer):
    shown = await writer.show(call(FRESHEN), trial=False)
    rotated = replace(packs.endpoint(), secret={"username": "app_write", "password": "rotated"})
    again = await writing(FakeConnections(rotated)).show(call(FRESHEN, key="key-2"), trial=False)
    assert shown.digest == again.digest
    assert PASSWORD not in repr(shown)


@pytest.mark.parametrize("statement", ["UPDATE pricing_pack SET is_fresh = true", "DELETE FROM pricing_pack"])
async def test_other_statements_limits_or_images_are_another_thing(writer, statement):
    specs = [execute(statement, 1), execute(statement, 2), execute(statement, 1, before={"statement": "SELECT 1"})]
    digests = {(await writer.show(call(spec), trial=False)).digest for spec in (FRESHEN, *specs)}
    assert len(digests) == 4


async def test_a_connection_that_is_edited_after_it_was_shown_does_not_move_the_act(own, packs):
    shown = await own.writer.show(call(FRESHEN))
    own.connections.found = packs.endpoint()
    sent = await own.writer.send(call(FRESHEN), shown)
    looked = await own.writer.look(call(FRESHEN))

    assert isinstance(sent, Succeeded)
    assert (fresh(own.database), fresh(packs)) == (True, False)
    assert isinstance(looked, Pending)
    assert f"leads to {packs.host}:5432/{packs.name} now" in looked.summary
    assert packs.value(f"SELECT count(*) FROM {MARKERS}") == 0


async def test_without_a_trial_nothing_is_sent_to_the_database():
    away = writing(FakeConnections(Database("no-such-host.invalid", "nowhere").endpoint()))
    shown = await away.show(call(FRESHEN), trial=False)
    assert (shown.in_trial, shown.seen["host"]) == (None, "no-such-host.invalid")
