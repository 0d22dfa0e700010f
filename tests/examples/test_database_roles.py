"""What each role of the sample may do in the database, asked of a real PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.examples import sample_database, shipped
from tests.examples.sample_database import SampleDatabase

DENIED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@pytest.fixture(scope="module")
def database() -> Iterator[SampleDatabase]:
    with sample_database.filled() as made:
        yield made


def runbook_step(stage, name):
    spec = next(each["spec"] for each in shipped.of_kind("Runbook") if each["metadata"]["namespace"] == "prod")
    return next(step for step in spec[stage] if step["name"] == name)


def test_five_nights_are_there_and_the_last_is_fresh(database):
    packs = database.run("dawsos_read", "SELECT id, is_fresh FROM pricing_pack ORDER BY date DESC")
    assert packs == [("PP-2025-10-20", True), *((f"PP-2025-10-{day}", False) for day in (19, 18, 17, 16))]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pricing_pack SET is_fresh = TRUE",
        "DELETE FROM prices",
        "INSERT INTO fx_rates VALUES ('x', 'y', 1)",
        "TRUNCATE prices",
        "CREATE TABLE mine ()",
    ],
)
@pytest.mark.parametrize("read_only", ["on", "off"])
def test_the_role_that_diagnoses_cannot_write(database, statement, read_only):
    """Nor where it takes its transaction's own protection away."""
    with database.connect("dawsos_read") as connection:
        connection.execute(f"SET default_transaction_read_only = {read_only}")
        with pytest.raises(DENIED):
            connection.execute(statement)


def test_the_role_that_diagnoses_sees_what_others_run(database):
    with database.connect("dawsos_app") as other:
        other.execute("SELECT 'somebody else'")
        seen = database.run("dawsos_read", "SELECT query FROM pg_stat_activity WHERE usename = 'dawsos_app'")
    assert seen == [("SELECT 'somebody else'",)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pricing_pack SET hash = 'x'",
        "UPDATE pricing_pack SET date = date",
        "DELETE FROM pricing_pack",
        "INSERT INTO pricing_pack (id, date, hash) VALUES ('x', '2020-01-01', 'x')",
        "TRUNCATE pricing_pack",
        "UPDATE prices SET close = 0",
        "CREATE TABLE mine ()",
        "DELETE FROM incident_operator.incident_operator_effects",
    ],
)
def test_the_role_that_changes_may_change_only_the_mark(database, statement):
    with database.connect("dawsos_write") as connection, pytest.raises(DENIED):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["dawsos_read", "dawsos_write"])
def test_no_role_of_the_runbook_can_end_somebody_elses_session(database, role):
    with database.connect("dawsos_app") as other, pytest.raises(DENIED):
        database.run(role, "SELECT pg_terminate_backend(%s)", [other.info.backend_pid])


@pytest.mark.parametrize("name", ["packs", "slow-queries"])
def test_the_runbooks_questions_can_be_asked(database, name):
    database.run("dawsos_read", runbook_step("diagnose", name)["sqlQuery"]["statement"])


def test_marking_fresh_does_nothing_where_the_new_pack_is_missing(database):
    for item in runbook_step("remediate", "mark-fresh")["sqlExecute"]["statements"]:
        assert database.run("dawsos_write", item["statement"], {"date": "2025-10-21", "pack": "PP-2025-10-21"}) == []


@pytest.mark.parametrize(
    ("touched", "newer", "left"),
    [
        pytest.param("PP-2025-10-19", True, ["PP-2025-10-20"], id="takes back its own row once there is a newer one"),
        pytest.param("PP-2025-10-19", False, ["PP-2025-10-19"], id="leaves users what they have while there is none"),
        pytest.param(None, True, ["PP-2025-10-19", "PP-2025-10-20"], id="leaves rows alone that it did not touch"),
    ],
)
def test_the_undo(database, touched, newer, left):
    fresh = ["PP-2025-10-19"] + ["PP-2025-10-20"] * newer
    returning = f'[{{"id": "{touched}"}}]' if touched else "[]"
    undo = runbook_step("mitigate", "serve-last-good")["undo"]["sqlExecute"]["statement"]
    with database.connect("postgres") as connection, connection.transaction(force_rollback=True):
        connection.execute("UPDATE pricing_pack SET is_fresh = id = ANY(%s)", [fresh])
        connection.execute(
            "INSERT INTO incident_operator.incident_operator_effects (step_key, incident, step, returning)"
            " VALUES ('key', 'prod/x', 'serve-last-good', %s)".replace("returning", '"returning"'),
            [returning],
        )
        connection.execute("SET LOCAL ROLE dawsos_write")
        connection.execute(undo, {"marker": "key"})
        found = connection.execute("SELECT id FROM pricing_pack WHERE is_fresh ORDER BY id").fetchall()
    assert [each for (each,) in found] == left
