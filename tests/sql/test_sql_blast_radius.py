"""However a statement comes to change many rows, `maxRows` holds; and what cannot be counted is refused."""

import pytest

from incident_operator.core.outcomes import Failed, Succeeded
from sql.endpoints import Database, call, execute

SCHEMA = """
CREATE TABLE parent (id int PRIMARY KEY, note text DEFAULT '');
CREATE TABLE child (parent int REFERENCES parent ON DELETE CASCADE, note text DEFAULT '');
CREATE TABLE item (id int, note text DEFAULT '') PARTITION BY RANGE (id);
CREATE TABLE item_low PARTITION OF item FOR VALUES FROM (0) TO (500);
CREATE TABLE item_high PARTITION OF item FOR VALUES FROM (500) TO (2000);
CREATE TABLE quiet (id int);
CREATE TABLE audited (id int);
CREATE TABLE late (id int);
INSERT INTO parent SELECT 1; INSERT INTO child SELECT 1 FROM generate_series(1, 1000);
INSERT INTO item SELECT generate_series(1, 1000);

CREATE VIEW shown AS SELECT DISTINCT id FROM parent;
CREATE FUNCTION touch_children() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN UPDATE child SET note = note || 'x'; RETURN NEW; END $$;
CREATE TRIGGER shown_update INSTEAD OF UPDATE ON shown FOR EACH ROW EXECUTE FUNCTION touch_children();
CREATE TRIGGER audited_insert AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION touch_children();
CREATE CONSTRAINT TRIGGER late_insert AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION touch_children();
CREATE RULE quiet_insert AS ON INSERT TO quiet DO INSTEAD UPDATE child SET note = note || 'x';

CREATE FUNCTION change_all() RETURNS int LANGUAGE sql SECURITY DEFINER AS
  $$ UPDATE child SET note = note || 'x'; SELECT 1 $$;
CREATE FUNCTION empty_all() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN TRUNCATE child; RETURN 1; END $$;
CREATE FUNCTION drop_all() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN DROP TABLE child CASCADE; RETURN 1; END $$;
CREATE FUNCTION work_in_temp() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN CREATE TEMPORARY TABLE scratch (id int) ON COMMIT DROP; RETURN 1; END $$;
CREATE FUNCTION try_and_keep_quiet() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN UPDATE child SET note = note || 'x'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_write;
GRANT TEMPORARY ON DATABASE test_sql_blast_radius TO app_write;
"""
STATE = """SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child WHERE note = ''),
  (SELECT count(*) FROM item WHERE note = ''), (SELECT count(*) FROM incident_operator.incident_operator_effects)"""
UNTOUCHED = [(1, 1000, 1000, 0)]

TOO_MANY = {
    "a plain update": "UPDATE child SET note = 'x'",
    "a cascading delete": "DELETE FROM parent WHERE id = 1",
    "a CTE that changes data": "WITH c AS (UPDATE child SET note = 'x' RETURNING 1) SELECT count(*) FROM c",
    "a CTE beneath a small statement": (
        "WITH c AS (UPDATE child SET note = 'x' RETURNING 1) INSERT INTO parent VALUES (2, (SELECT max(1) FROM c)::text)"
    ),
    "a function in a select": "SELECT change_all()",
    "a function that swallows errors": "SELECT try_and_keep_quiet()",
    "a view with a trigger": "UPDATE shown SET id = 1",
    "a trigger": "INSERT INTO audited VALUES (1)",
    "a deferred trigger": "INSERT INTO late VALUES (1)",
    "a rule": "INSERT INTO quiet VALUES (1)",
    "a merge": "MERGE INTO child USING parent ON child.parent = parent.id WHEN MATCHED THEN UPDATE SET note = 'x'",
    "an insert from a select": "INSERT INTO child SELECT 1, 'x' FROM generate_series(1, 1000)",
    "a partitioned table": "UPDATE item SET note = 'x'",
    "rows that move between partitions": "UPDATE item SET id = id + 500 WHERE id < 500",
    "an upsert": ("INSERT INTO parent SELECT generate_series(1, 1000) ON CONFLICT (id) DO UPDATE SET note = 'x'"),
}
REFUSED = {
    "TRUNCATE": ("TRUNCATE child", "begins with TRUNCATE"),
    "DO": ("DO $$ BEGIN UPDATE child SET note = 'x'; END $$", "begins with DO"),
    "CALL": ("CALL anything()", "begins with CALL"),
    "DROP": ("DROP TABLE child", "begins with DROP"),
    "COPY": ("COPY child FROM PROGRAM 'yes'", "begins with COPY"),
    "COMMIT": ("COMMIT", "begins with COMMIT"),
    "a comment before it": ("/* a /* b */ */ -- c\n TRUNCATE child", "begins with TRUNCATE"),
    "nothing at all": ("  -- UPDATE", "begins with no keyword"),
    "a truncating function": ("SELECT empty_all()", "locked child exclusively"),
    "a dropping function": ("SELECT drop_all()", "exclusively, as TRUNCATE and DDL do"),
    "two statements": ("UPDATE parent SET note = ''; UPDATE child SET note = 'x'", "multiple commands"),
    "two statements, the first a commit in disguise": ("SELECT 1; COMMIT; UPDATE child SET note = 'x'", "multiple"),
}


@pytest.fixture(scope="module")
def schema(database: Database) -> Database:
    database.run(SCHEMA)
    return database


@pytest.mark.parametrize("statement", TOO_MANY.values(), ids=TOO_MANY.keys())
async def test_no_shape_of_statement_changes_more_than_max_rows(schema, writer, statement):
    outcome = await writer.run(call(execute(statement, max_rows=5)))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "RowLimitExceeded", outcome.message
    assert schema.run(STATE) == UNTOUCHED


@pytest.mark.parametrize("statement", TOO_MANY.values(), ids=TOO_MANY.keys())
async def test_the_trial_counts_every_shape_and_changes_nothing(schema, writer, statement):
    preview = await writer.show(call(execute(statement, max_rows=5)))

    assert "more than maxRows 5" in (preview.in_trial or "")
    assert schema.run(STATE) == UNTOUCHED


@pytest.mark.parametrize(("statement", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_counted_is_refused(schema, writer, statement, says):
    outcome = await writer.run(call(execute(statement, max_rows=1_000_000)))

    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert not outcome.retryable
    assert schema.run(STATE) == UNTOUCHED


async def test_several_statements_share_one_limit(schema, writer):
    one = {"statement": "INSERT INTO parent SELECT g FROM generate_series(10, 12) AS g"}
    two = {"statement": "INSERT INTO parent SELECT g FROM generate_series(20, 22) AS g"}
    outcome = await writer.run(call(execute(None, max_rows=5, statements=[one, two])))

    assert isinstance(outcome, Failed)
    assert outcome.message == "would change 6 rows, maxRows is 5; rolled back"
    assert schema.run(STATE) == UNTOUCHED


async def test_a_step_may_use_temporary_tables(schema, writer):
    outcome = await writer.run(call(execute("SELECT work_in_temp()", max_rows=0), key="temporary"))
    schema.run("DELETE FROM incident_operator.incident_operator_effects")
    assert isinstance(outcome, Succeeded)


async def test_a_server_that_does_not_count_is_refused(schema, writer):
    schema.run("ALTER DATABASE test_sql_blast_radius SET track_counts = off")
    outcome = await writer.run(call(execute("UPDATE child SET note = 'x'", max_rows=5)))
    schema.run("ALTER DATABASE test_sql_blast_radius RESET track_counts")

    assert isinstance(outcome, Failed)
    assert "track_counts is off" in outcome.message
    assert schema.run(STATE) == UNTOUCHED


async def test_a_violation_that_waits_for_the_commit_is_a_certain_failure(schema, writer):
    schema.run("""CREATE TABLE IF NOT EXISTS pair (id int PRIMARY KEY,
        other int REFERENCES pair DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON pair TO app_write""")
    outcome = await writer.run(call(execute("INSERT INTO pair VALUES (1, 2)")))

    assert isinstance(outcome, Failed)
    assert "violates foreign key constraint" in outcome.message
    assert schema.run(STATE) == UNTOUCHED
