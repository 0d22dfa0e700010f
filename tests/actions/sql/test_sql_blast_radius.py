"""However a statement comes to change many rows, `maxRows` holds; and what cannot be counted is refused."""

import pytest

from incident_operator.core.outcomes import Failed, Succeeded
from tests.actions.sql.endpoints import Database, call, execute

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
CREATE FUNCTION alter_role() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN ALTER ROLE app_read CONNECTION LIMIT 7; RETURN 1; END $$;
CREATE FUNCTION grant_all() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN GRANT ALL ON quiet TO app_read; RETURN 1; END $$;
CREATE FUNCTION drop_function() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN DROP FUNCTION change_all; RETURN 1; END $$;
CREATE FUNCTION grant_by_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN GRANT ALL ON quiet TO app_read; RETURN NEW; END $$;
CREATE TABLE granting (id int);
CREATE TRIGGER granting_insert AFTER INSERT ON granting FOR EACH ROW EXECUTE FUNCTION grant_by_trigger();
CREATE FUNCTION hold_cursor() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN EXECUTE 'DECLARE late CURSOR WITH HOLD FOR SELECT change_all()'; RETURN 1; END $$;

CREATE TABLE first_late (id int);
CREATE TABLE second_late (id int);
CREATE FUNCTION defer_again() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO second_late VALUES (1); RETURN NEW; END $$;
CREATE FUNCTION delete_children() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN DELETE FROM child; RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER first_insert AFTER INSERT ON first_late DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION defer_again();
CREATE CONSTRAINT TRIGGER second_insert AFTER INSERT ON second_late DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION delete_children();
CREATE TABLE endless (id int);
CREATE FUNCTION once_more() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO endless VALUES (1); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER endless_insert AFTER INSERT ON endless DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION once_more();
CREATE FUNCTION try_and_keep_quiet() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN UPDATE child SET note = note || 'x'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_write;
SET ROLE app_write; SELECT lo_create(0) FROM generate_series(1, 50); RESET ROLE;
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
    "a deferred trigger that defers another": "INSERT INTO first_late VALUES (1)",
    "a rule": "INSERT INTO quiet VALUES (1)",
    "a merge": "MERGE INTO child USING parent ON child.parent = parent.id WHEN MATCHED THEN UPDATE SET note = 'x'",
    "an insert from a select": "INSERT INTO child SELECT 1, 'x' FROM generate_series(1, 1000)",
    "a partitioned table": "UPDATE item SET note = 'x'",
    "rows that move between partitions": "UPDATE item SET id = id + 500 WHERE id < 500",
    "an upsert": ("INSERT INTO parent SELECT generate_series(1, 1000) ON CONFLICT (id) DO UPDATE SET note = 'x'"),
}
SELECTS = {name for name, statement in TOO_MANY.items() if statement.startswith("SELECT") or ") SELECT" in statement}
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
    "large objects": ("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "changed pg_largeobject_metadata"),
    "a role": ("SELECT alter_role()", "changed pg_authid"),
    "a grant": ("SELECT grant_all()", "changed pg_class"),
    "a grant by a trigger": ("INSERT INTO granting VALUES (1)", "changed pg_class"),
    "a function that is dropped": ("SELECT drop_function()", "changed pg_depend, pg_proc"),
    "what runs at the commit": ("SELECT hold_cursor()", "opened a cursor WITH HOLD"),
    "triggers without an end": ("INSERT INTO endless VALUES (1)", "set off one another more than 20 times"),
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


@pytest.mark.parametrize(("name", "statement"), TOO_MANY.items(), ids=TOO_MANY.keys())
async def test_the_trial_counts_every_shape_but_a_select_and_changes_nothing(schema, writer, name, statement):
    preview = await writer.show(call(execute(statement, max_rows=5)))

    assert ("not tried: " if name in SELECTS else "more than maxRows 5") in (preview.in_trial or "")
    assert schema.run(STATE) == UNTOUCHED


@pytest.mark.parametrize(("statement", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_counted_is_refused(schema, writer, statement, says):
    outcome = await writer.run(call(execute(statement, max_rows=1_000_000)))

    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert not outcome.retryable
    assert schema.run(STATE) == UNTOUCHED


CATALOGS = {
    "large objects": ("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "0 rows; changes pg_largeobject_metadata"),
    "a role": ("SELECT alter_role()", "0 rows; changes pg_authid"),
    "a grant": ("SELECT grant_all()", "0 rows; changes pg_class"),
    "a grant by a trigger": ("INSERT INTO granting VALUES (1)", "1 row; changes pg_class"),
    "a function that is dropped": ("SELECT drop_function()", "0 rows; changes pg_depend, pg_proc"),
    "a table that is emptied": (
        "SELECT empty_all()",
        "0 rows; changes pg_class; locks child exclusively, where rows are not counted",
    ),
}
CATALOG_STATE = """SELECT (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM child),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app_read'), has_table_privilege('app_read', 'quiet', 'DELETE'),
  (SELECT count(*) FROM pg_proc WHERE proname = 'change_all')"""
CATALOGS_UNTOUCHED = [(50, 1000, -1, False, 1)]


@pytest.mark.parametrize("statement", [statement for statement, _ in CATALOGS.values()], ids=CATALOGS.keys())
async def test_what_rolls_back_and_is_not_counted_is_refused_without_catalog(schema, writer, statement):
    outcome = await writer.run(call(execute(statement, max_rows=1)))

    assert isinstance(outcome, Failed)
    assert "If this is intended, set catalog: true on the step" in outcome.message
    assert schema.run(CATALOG_STATE) == CATALOGS_UNTOUCHED
    assert schema.run(STATE) == UNTOUCHED


@pytest.mark.parametrize(("statement", "told"), CATALOGS.values(), ids=CATALOGS.keys())
async def test_with_catalog_the_plan_names_what_changes_and_the_trial_leaves_nothing(schema, writer, statement, told):
    preview = await writer.show(call(execute(statement, max_rows=1, catalog=True)))

    assert preview.in_trial is not None
    assert preview.in_trial.startswith(told)
    assert schema.run(CATALOG_STATE) == CATALOGS_UNTOUCHED


async def test_with_catalog_it_is_done(schema, writer):
    step = call(execute("SELECT alter_role()", max_rows=0, catalog=True), key="limit")
    outcome = await writer.run(step)
    limit = schema.value("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app_read'")
    schema.run("ALTER ROLE app_read CONNECTION LIMIT -1; DELETE FROM incident_operator.incident_operator_effects")

    assert isinstance(outcome, Succeeded)
    assert (outcome.result["rowsChanged"], limit) == (0, 7)


async def test_with_catalog_max_rows_holds_all_the_same(schema, writer):
    outcome = await writer.run(call(execute("SELECT change_all()", max_rows=5, catalog=True)))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "RowLimitExceeded"
    assert schema.run(STATE) == UNTOUCHED


async def test_a_trigger_on_the_marker_changes_nothing_uncounted(schema, writer):
    schema.run("""CREATE CONSTRAINT TRIGGER on_marker AFTER UPDATE ON incident_operator.incident_operator_effects
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION delete_children()""")
    outcome = await writer.run(call(execute("UPDATE parent SET note = 'x'", max_rows=5)))
    schema.run("DROP TRIGGER on_marker ON incident_operator.incident_operator_effects")

    assert isinstance(outcome, Failed)
    assert "a trigger changes more rows when the marker is stored" in outcome.message
    assert schema.run(STATE) == UNTOUCHED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident_operator.incident_operator_effects SET rows_changed = NULL",
        """WITH c AS (UPDATE incident_operator.incident_operator_effects SET rows_changed = NULL RETURNING 1)
        SELECT count(*) FROM c""",
    ],
)
async def test_the_marks_of_other_steps_are_rows_like_any(schema, writer, statement):
    schema.run("""INSERT INTO incident_operator.incident_operator_effects
        SELECT n, 'prod/pack', 'settle', now(), 1 FROM generate_series(1, 10) AS n""")
    outcome = await writer.run(call(execute(statement, max_rows=5)))
    marked = schema.run("SELECT DISTINCT rows_changed FROM incident_operator.incident_operator_effects")
    schema.run("DELETE FROM incident_operator.incident_operator_effects")

    assert isinstance(outcome, Failed)
    assert outcome.reason == "RowLimitExceeded"
    assert marked == [(1,)]


async def test_several_statements_share_one_limit(schema, writer):
    one = {"statement": "INSERT INTO parent SELECT g FROM generate_series(10, 12) AS g"}
    two = {"statement": "INSERT INTO parent SELECT g FROM generate_series(20, 22) AS g"}
    outcome = await writer.run(call(execute(None, max_rows=5, statements=[one, two])))

    assert isinstance(outcome, Failed)
    assert outcome.message == "would change 6 rows, maxRows is 5; rolled back"
    assert schema.run(STATE) == UNTOUCHED


async def test_a_step_with_catalog_may_use_temporary_tables(schema, writer):
    outcome = await writer.run(call(execute("SELECT work_in_temp()", max_rows=0, catalog=True), key="temporary"))
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
