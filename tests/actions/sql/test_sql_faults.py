"""A database that hangs, locks, breaks off or refuses: calls end, effects stay single, secrets stay out of messages."""

import asyncio
import socket
from pathlib import Path

import pytest

from incident_operator.clients.sql import Sessions
from incident_operator.connections import postgres
from incident_operator.connections.postgres import Postgres
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded, Undetermined
from incident_operator.kubernetes.priority import SESSIONS
from tests.actions.played import Played
from tests.actions.sql.endpoints import (
    PASSWORD,
    Database,
    FakeConnections,
    call,
    endpoint,
    execute,
    query,
    reading,
    writing,
)
from tests.actions.sql.proxy import Trouble, listening, proxy, silence

FRESHEN = execute("UPDATE pricing_pack SET is_fresh = NOT is_fresh WHERE id = 'PP-20'", max_rows=1)
COMMIT = b"COMMIT\0"  # not the one in `READ COMMITTED`
SLOW = "SELECT pg_sleep(30)"


def fresh(packs: Database) -> bool:
    return packs.value("SELECT is_fresh FROM pricing_pack WHERE id = 'PP-20'")


def through(packs: Database, port: int) -> Played:
    return writing(FakeConnections(packs.endpoint(host="127.0.0.1", port=port)))


async def test_a_reply_lost_at_commit_is_pending_and_then_found_by_its_marker(packs, writer):
    async with proxy(packs.host, COMMIT, Trouble.REPLY_LOST) as port:
        outcome = await through(packs, port).run(call(FRESHEN))
    again = await writer.look(call(FRESHEN))

    assert isinstance(outcome, Pending)
    assert outcome.summary.endswith(f"{packs.name}: the connection was lost at COMMIT")
    assert isinstance(again, Succeeded)
    assert "already applied" in again.summary
    assert fresh(packs)


async def test_a_commit_that_never_arrived_is_pending_and_then_certainly_not_done(packs, writer):
    async with proxy(packs.host, COMMIT, Trouble.LOST) as port:
        outcome = await through(packs, port).run(call(FRESHEN))
    looked = await writer.look(call(FRESHEN))

    assert isinstance(outcome, Pending)
    assert isinstance(looked, NotDone)
    assert not fresh(packs)


async def test_a_pooler_that_loses_its_server_at_commit_leaves_open_what_became_of_it(packs, writer):
    # PgBouncer answers for the server, and its connection to us is as well as ever
    async with proxy(packs.host, COMMIT, Trouble.SERVER_LOST) as port:
        outcome = await through(packs, port).run(call(FRESHEN))
    looked = await writer.look(call(FRESHEN))

    assert isinstance(outcome, Pending)
    assert isinstance(looked, Succeeded)
    assert fresh(packs)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.REPLY_LOST])
async def test_a_connection_lost_before_commit_certainly_had_no_effect(packs, trouble):
    async with proxy(packs.host, b"SET CONSTRAINTS", trouble) as port:
        outcome = await through(packs, port).run(call(FRESHEN))

    assert isinstance(outcome, NotDone)
    assert "server closed the connection" in outcome.summary
    assert not fresh(packs)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.REPLY_LOST])
async def test_a_connection_lost_in_a_query_may_be_asked_again(packs, trouble):
    async with proxy(packs.host, b"pricing_pack", trouble) as port:
        found = packs.endpoint("app_read", host="127.0.0.1", port=port)
        outcome = await reading(FakeConnections(found)).run(call(query("SELECT id FROM pricing_pack")))

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("ConnectionFailed", True)


@pytest.mark.parametrize("trigger", [b"ON CONFLICT", b"SELECT rows_changed"])
async def test_a_connection_lost_before_the_marker_is_read_is_never_called_a_failure(packs, writer, trigger):
    await writer.run(call(FRESHEN))
    async with proxy(packs.host, trigger, Trouble.LOST) as port:
        outcome = await through(packs, port).look(call(FRESHEN))
    assert isinstance(outcome, Pending)
    assert fresh(packs)


@pytest.mark.parametrize("trigger", [b"pricing_pack", COMMIT])
async def test_a_server_that_freezes_in_the_middle_is_left_in_bounded_time(packs, trigger):
    async with proxy(packs.host, trigger, Trouble.FROZEN) as port, asyncio.timeout(20):
        outcome = await through(packs, port).run(call(FRESHEN, timeout=0.4))

    expected = Pending if trigger == COMMIT else NotDone
    assert isinstance(outcome, expected)
    assert not fresh(packs)


async def test_a_server_that_accepts_and_never_answers_is_left_in_bounded_time(packs):
    async with listening(silence) as port, asyncio.timeout(20):
        found = FakeConnections(packs.endpoint(host="127.0.0.1", port=port))
        written = await writing(found).run(call(FRESHEN, timeout=1))
        read = await reading(found).run(call(query("SELECT 1"), timeout=1))

    assert written == NotDone(2.0, f"db: 127.0.0.1:{port}/{packs.name}: no answer within 1s")
    assert read == Failed("ConnectionFailed", f"db: 127.0.0.1:{port}/{packs.name}: no answer within 1s")


async def test_a_lock_held_by_somebody_else_ends_the_step_without_effect(packs, writer):
    with packs.owner() as holder, holder.transaction():
        holder.execute("SELECT * FROM pricing_pack FOR UPDATE")
        outcome = await writer.run(call(FRESHEN, timeout=0.6))

    assert outcome == NotDone(2.0, "db: canceling statement due to lock timeout")
    assert not fresh(packs)


CONFLICTING = """
CREATE SEQUENCE IF NOT EXISTS tries; GRANT USAGE ON SEQUENCE tries TO app_write;
ALTER SEQUENCE tries RESTART;
CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'not this time' USING ERRCODE = '{state}'; END IF;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS conflict ON pricing_pack;
CREATE CONSTRAINT TRIGGER conflict AFTER UPDATE ON pricing_pack DEFERRABLE INITIALLY {moment}
FOR EACH ROW EXECUTE FUNCTION conflict();
"""  # a sequence counts on when its transaction is rolled back


@pytest.fixture
def conflicting(packs: Database):
    """Let the first so many updates meet another transaction in their way."""
    yield lambda **how: packs.run(CONFLICTING.format(**{"times": 2, "state": "40001", "moment": "IMMEDIATE"} | how))
    packs.run("DROP TRIGGER IF EXISTS conflict ON pricing_pack")


@pytest.mark.parametrize("how", [{}, {"state": "40P01"}, {"moment": "DEFERRED"}], ids=str)
async def test_a_transaction_that_met_another_one_is_run_again_and_done_once(packs, writer, conflicting, how):
    conflicting(**how)
    outcome = await writer.run(call(FRESHEN))
    assert isinstance(outcome, Succeeded), outcome
    assert "already applied" not in outcome.summary
    assert fresh(packs)
    assert packs.value("SELECT last_value FROM tries") == 3


async def test_a_transaction_that_always_meets_another_one_is_tried_five_times_and_had_no_effect(
    packs, writer, conflicting
):
    conflicting(times=99)
    outcome = await writer.run(call(FRESHEN))
    assert outcome == NotDone(2.0, "db: not this time")
    assert packs.value("SELECT last_value FROM tries") == 5
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 0


async def test_conflicts_are_not_sat_out_longer_than_the_step_may_take(packs, writer, conflicting):
    conflicting(times=99)
    outcome = await writer.run(call(FRESHEN, timeout=1.5))
    assert outcome == NotDone(2.0, "db: not this time")
    assert packs.value("SELECT last_value FROM tries") < 5


async def test_a_trial_that_met_another_transaction_is_run_again(packs, writer, conflicting):
    conflicting()
    assert (await writer.show(call(FRESHEN))).in_trial == "1 row"


async def test_a_marker_that_another_session_is_writing_is_waited_for_and_then_pending(packs, writer):
    with packs.owner() as holder, holder.transaction():
        holder.execute("INSERT INTO incident_operator.incident_operator_effects VALUES ('key-1', 'i', 's')")
        outcome = await writer.run(call(FRESHEN, timeout=0.6))
        holder.execute("DELETE FROM incident_operator.incident_operator_effects")

    assert isinstance(outcome, Pending)
    assert "lock timeout" in outcome.summary
    assert not fresh(packs)


async def test_two_runs_of_one_key_at_once_have_one_effect(packs, writer):
    outcomes = await asyncio.gather(*(writer.run(call(FRESHEN)) for _ in range(8)))

    assert [type(outcome) for outcome in outcomes].count(Succeeded) == 1
    assert all(isinstance(outcome, Succeeded | Undetermined) for outcome in outcomes)
    assert fresh(packs)
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 1


async def test_a_slow_statement_is_ended_by_its_timeout(packs, writer, reader):
    written = await writer.run(call(execute(SLOW), timeout=0.4))
    read = await reader.run(call(query(SLOW), timeout=0.4))

    message = "db: canceling statement due to statement timeout"
    assert written == read == Failed("TimedOut", message)


async def test_no_more_sessions_than_allowed_are_open_on_one_database(packs):
    sessions, found = Sessions(), FakeConnections(packs.endpoint("app_read"))
    spec = query("SELECT pg_sleep(0.2), (SELECT count(*) FROM pg_stat_get_activity(NULL) AS a WHERE datid = "
                 "(SELECT oid FROM pg_database WHERE datname = current_database()) AND a.state = 'active') AS open")  # fmt: skip
    outcomes = await asyncio.gather(*(reading(found, sessions).run(call(spec)) for _ in range(3 * SESSIONS)))

    counts = [outcome.result["rows"][0]["open"] for outcome in outcomes if isinstance(outcome, Succeeded)]
    assert len(counts) == 3 * SESSIONS
    assert 1 < max(counts) <= SESSIONS


async def test_waiting_for_a_session_is_bounded_too(packs):
    sessions, found = Sessions(), FakeConnections(packs.endpoint("app_read"))
    slow = [reading(found, sessions).run(call(query("SELECT pg_sleep(1)"))) for _ in range(SESSIONS)]
    busy = asyncio.gather(*slow)
    await asyncio.sleep(0)
    outcome = await reading(found, sessions).run(call(query("SELECT 1"), timeout=0.2))
    await busy

    assert isinstance(outcome, Failed)
    assert f"all {SESSIONS} sessions stayed busy for 0.2s" in outcome.message


async def test_a_cancelled_step_lets_go_of_its_session(packs):
    sessions = Sessions()
    action = writing(FakeConnections(packs.endpoint()), sessions)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await action.run(call(execute(SLOW)))
    again = await asyncio.gather(*(action.run(call(FRESHEN, key=f"k{n}")) for n in range(SESSIONS + 1)))
    assert all(isinstance(outcome, Succeeded) for outcome in again)


@pytest.fixture
def guarded(packs: Database):
    """A role that has to give a password, unlike the others here."""
    packs.run(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    rules = Path(packs.value("SHOW hba_file"))
    usual = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{usual}")
    packs.run("SELECT pg_reload_conf()")
    yield packs
    rules.write_text(usual)
    packs.run("SELECT pg_reload_conf()")
    packs.run("DROP ROLE guarded")


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_the_right_password_opens_and_a_wrong_one_is_told_without_being_shown(guarded):
    right = await reading(FakeConnections(guarded.endpoint("guarded"))).run(call(query("SELECT 1 AS n")))
    secret = {"username": "guarded", "password": f"wrong {PASSWORD}"}
    wrong_endpoint = endpoint(postgres.CONNECTION.of(guarded.endpoint().connection.spec), secret)
    wrong = await reading(FakeConnections(wrong_endpoint)).run(call(query("SELECT 1")))

    assert isinstance(right, Succeeded)
    assert isinstance(wrong, Failed)
    assert 'password authentication failed for user "guarded"' in wrong.message
    assert not wrong.retryable
    assert PASSWORD not in repr(wrong)


async def test_a_password_that_ends_with_a_newline_is_said_to_without_being_shown(guarded):
    secret = {"username": "guarded", "password": f"{PASSWORD}\n"}
    where = endpoint(postgres.CONNECTION.of(guarded.endpoint().connection.spec), secret)
    found = await reading(FakeConnections(where)).run(call(query("SELECT 1")))
    assert isinstance(found, Failed)
    assert "; the Secret's password ends with a newline: " in found.message
    assert PASSWORD not in repr(found)


TROUBLES = {
    "a refused port": ({"host": "127.0.0.1", "port": _unused_port()}, "Connection refused", True),
    "an unknown host": ({"host": "no-such-host.invalid"}, "no-such-host.invalid", True),
    "an unknown database": ({"database": "nowhere"}, 'database "nowhere" does not exist', False),
    "TLS that the server has not": ({"ssl_mode": "require", "host": "127.0.0.1", "port": 1}, "refused", True),
}


@pytest.mark.parametrize(("where", "says", "retryable"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_what_keeps_us_out_is_said_in_one_line_without_secrets(packs, where, says, retryable):
    outcome = await reading(FakeConnections(packs.endpoint(**where))).run(call(query("SELECT 1")))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "ConnectionFailed"
    assert says in outcome.message
    assert outcome.retryable is retryable
    assert "\n" not in outcome.message
    assert PASSWORD not in outcome.message


@pytest.mark.parametrize("password", ["' host=evil.invalid '", "a\\'b c", "x=1 user=postgres", ""])
async def test_a_hostile_password_is_only_a_password(packs, password):
    found = endpoint(
        postgres.CONNECTION.of(packs.endpoint().connection.spec), {"username": "app_read", "password": password}
    )
    outcome = await reading(FakeConnections(found)).run(call(query("SELECT current_user AS me")))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["rows"] == [{"me": "app_read"}]


async def test_a_secret_without_a_username_is_told(packs):
    found = endpoint(postgres.CONNECTION.of(packs.endpoint().connection.spec), {"password": "x"})
    outcome = await reading(FakeConnections(found)).run(call(query("SELECT 1")))
    assert isinstance(outcome, Failed)
    assert outcome.message == 'db: the Secret of Connection "db" has no key "username"'


async def test_a_standby_keeps_a_change_from_being_begun_until_it_is_primary(packs, writer):
    packs.run("""
        CREATE FUNCTION as_on_a_standby() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          RAISE EXCEPTION 'cannot execute INSERT in a read-only transaction' USING ERRCODE = '25006'; END $$;
        CREATE TRIGGER standby BEFORE INSERT ON incident_operator.incident_operator_effects
          EXECUTE FUNCTION as_on_a_standby();
    """)
    standby = await writer.run(call(FRESHEN))
    packs.run("DROP FUNCTION as_on_a_standby CASCADE")
    primary = await writer.run(call(FRESHEN))

    assert standby == NotDone(2.0, "db: cannot execute INSERT in a read-only transaction")
    assert isinstance(primary, Succeeded)


async def test_ssl_is_asked_for_where_the_connection_says_so(packs):
    where = Postgres(host=packs.host, database=packs.name, ssl_mode="verify-full")
    found = endpoint(where, {"username": "app_read", "password": "x", "ca.crt": "no certificate"})
    async with listening(silence) as port:
        found = endpoint(where.model_copy(update={"host": "127.0.0.1", "port": port}), dict(found.secret))
        outcome = await reading(FakeConnections(found)).run(call(query("SELECT 1"), timeout=1))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "ConnectionFailed"
