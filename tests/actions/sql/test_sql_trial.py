"""A trial runs only what a rollback takes back; what it did not run, the plan says."""

import asyncio
import itertools
from collections.abc import Iterator

import psycopg
import pytest

from incident_operator.actions.sql import trial
from incident_operator.api.approvals import PlanEntry
from incident_operator.core import approval
from incident_operator.core.action import Preview
from incident_operator.core.outcomes import Failed, Failure, NotDone, Succeeded
from tests.actions.sql.endpoints import PASSWORD, Database, FakeConnections, call, execute, writing

SCHEMA = """
CREATE TABLE item (id int PRIMARY KEY, note text DEFAULT '');
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, note text);
CREATE TABLE counted (id serial, note text CHECK (note <> ''));
CREATE TABLE audit (id int);
INSERT INTO item SELECT generate_series(1, 3);
CREATE SEQUENCE invoice;

CREATE FUNCTION audit(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM setval('invoice', 1); RETURN 1; END $$;
CREATE FUNCTION "Odd name"(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM setval('invoice', 1); RETURN 1; END $$;
CREATE FUNCTION reset_by_row(item) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM setval('invoice', 1); RETURN 1; END $$;
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM setval('invoice', 1); RETURN NEW; END $$;
CREATE TABLE guarded (id int);
CREATE TRIGGER guarded_insert BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION guard();
CREATE VIEW resetting AS SELECT id, setval('invoice', 1) AS number FROM item;
CREATE VIEW numbers AS SELECT nextval('invoice') AS number;
CREATE VIEW nested AS SELECT number FROM resetting;
CREATE VIEW of_values AS SELECT number FROM (VALUES (setval('invoice', 1)), (2)) AS listed(number);
CREATE VIEW cut AS SELECT id FROM item LIMIT setval('invoice', 1);
CREATE TABLE policed (id int);
ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
CREATE POLICY checked ON policed USING (true) WITH CHECK (setval('invoice', 1) > 0);
CREATE TABLE ruled (id int);
CREATE RULE ruled_insert AS ON INSERT TO ruled DO INSTEAD
  INSERT INTO item VALUES (1) ON CONFLICT (id) DO UPDATE SET note = setval('invoice', 1);
CREATE TABLE defaulted (id int, number bigint DEFAULT setval('invoice', 1));
CREATE TABLE checked (id int CHECK (setval('invoice', 1) > 0));
CREATE DOMAIN reset_number AS int CHECK (setval('invoice', 1) > 0);
CREATE TABLE of_domain (id reset_number, gone int CHECK (gone > nextval('invoice')));
ALTER TABLE of_domain DROP COLUMN gone;
CREATE FUNCTION add_reset(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM setval('invoice', 1); RETURN 1; END $$;
CREATE AGGREGATE total(int) (sfunc = add_reset, stype = int, initcond = '0');
CREATE TABLE journal (id int);
CREATE FUNCTION journal(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION make_table() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN CREATE TABLE made (id int); GRANT INSERT ON made TO app_write; RETURN 1; END $$;
CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION change_all() RETURNS int LANGUAGE sql AS $$ UPDATE item SET note = 'x'; SELECT 1 $$;
CREATE FUNCTION lock_item() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN ALTER TABLE item ADD COLUMN more int; RETURN 1; END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_write;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app_write;
"""
UNTRIED = {
    "a function that ends sessions": (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'",
        "statement calls pg_terminate_backend",
    ),
    "the same beneath an update": (
        (
            "UPDATE item SET note = (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'victim')::text WHERE id = 1"
        ),
        "statement calls pg_terminate_backend",
    ),
    "setval": ("SELECT setval('invoice', 1)", "statement calls setval"),
    "nextval": ("UPDATE item SET note = nextval('invoice') WHERE id = 1", "statement calls nextval"),
    "setval in a CTE": (
        "WITH s AS (SELECT setval('invoice', 1) AS n) UPDATE item SET note = s.n::text FROM s WHERE id = 1",
        "statement calls setval",
    ),
    "setval in RETURNING": ("DELETE FROM item WHERE id = 1 RETURNING setval('invoice', 1)", "statement calls setval"),
    "setval in an upsert": (
        "INSERT INTO item VALUES (1) ON CONFLICT (id) DO UPDATE SET note = setval('invoice', 1)",
        "statement calls setval",
    ),
    "setval in a merge": (
        (
            "MERGE INTO item USING numbered ON item.id = numbered.id "
            "WHEN NOT MATCHED THEN INSERT VALUES (9) WHEN MATCHED THEN UPDATE SET note = setval('invoice', 1)"
        ),
        "statement calls setval",
    ),
    "with its schema": ("UPDATE item SET note = pg_catalog . setval ('invoice', 1)", "statement calls setval"),
    "in capitals, with a comment": ("UPDATE item SET note = SETVAL /* ( */ ('invoice', 1)", "statement calls setval"),
    "in quotes": ("UPDATE item SET note = \"setval\"('invoice', 1)", "statement calls setval"),
    "in quotes with escapes of its own choice": (
        "INSERT INTO item VALUES (1) ON CONFLICT (id) DO UPDATE SET note = U&\"set!0076al\" /**/ UESCAPE '!' ('invoice', 1)",
        "statement has a name or a text with escapes",
    ),
    "in quotes with escapes": (
        "UPDATE item SET note = U&\"set\\0076al\"('invoice', 1)",
        "statement has a name or a text with escapes",
    ),
    "behind a text with escapes": (
        "UPDATE item SET note = E'a'\n'\\' ' || setval('invoice', 1) || ' '",
        "statement has a name or a text with escapes",
    ),
    "behind a comment that ends": ("UPDATE item SET note = -- a\rsetval('invoice', 1)", "statement calls setval"),
    "a name with a blank": ('UPDATE item SET note = "Odd name"(1)', "statement calls Odd name"),
    "as if it were a column": (
        "UPDATE item SET note = item.reset_by_row WHERE id = 1",
        "statement calls reset_by_row",
    ),
    "a function of one's own": ("UPDATE item SET note = audit(1)", "statement calls audit"),
    "an aggregate of one's own": ("UPDATE item SET note = (SELECT total(id) FROM item)", "statement calls total"),
    "a function that reads any view": (
        "UPDATE item SET note = table_to_xml('resetting', true, true, '')::text",
        "statement calls table_to_xml",
    ),
    "a query of another text": (
        "UPDATE item SET note = query_to_xml('SELECT setval(''invoice'', 1)', true, true, '')::text",
        "statement calls query_to_xml",
    ),
    "a lock that outlives the transaction": (
        "UPDATE item SET note = pg_try_advisory_lock(7)::text",
        "statement calls pg_try_advisory_lock",
    ),
    "a SELECT that changes rows": (
        "WITH c AS (UPDATE item SET note = 'x' RETURNING 1) SELECT count(*) FROM c",
        "statement is a SELECT",
    ),
    "a SELECT in parentheses": ("(SELECT 1)", "statement is a SELECT"),
}
BY_WHAT_IT_MEETS = {
    "a view": "UPDATE item SET note = (SELECT max(number)::text FROM resetting) WHERE id = 1",
    "a view of a view": "UPDATE item SET note = (SELECT max(number)::text FROM nested) WHERE id = 1",
    "a view of values": "UPDATE item SET note = (SELECT max(number)::text FROM of_values) WHERE id = 1",
    "a view with a limit": "UPDATE item SET note = (SELECT max(id)::text FROM cut) WHERE id = 1",
    "a view with a column of that name": (
        "UPDATE item SET note = (SELECT v.setval FROM (SELECT max(number) AS setval FROM nested) AS v)::text"
    ),
    "a policy": "INSERT INTO policed VALUES (1)",
    "an upsert of a rule": "INSERT INTO ruled VALUES (1)",
    "a view of a sequence": "UPDATE item SET note = (SELECT max(number)::text FROM numbers) WHERE id = 1",
    "a default": "INSERT INTO defaulted (id) VALUES (1)",
    "a default that a list of values asks for": "INSERT INTO defaulted VALUES (1, DEFAULT), (2, DEFAULT)",
    "a default in a merge": (
        "MERGE INTO defaulted AS d USING item ON d.id = item.id WHEN NOT MATCHED THEN INSERT (id) VALUES (item.id)"
    ),
    "a constraint": "INSERT INTO checked VALUES (1)",
    "a domain": "INSERT INTO of_domain VALUES (1)",
    "a default behind a CTE with a quote": (
        """WITH "it's" AS MATERIALIZED (SELECT 1 AS id) INSERT INTO defaulted (id) SELECT id FROM "it's" """
    ),
}
TRIED = {
    "stable and immutable functions": ("UPDATE item SET note = now()::text || double(id) WHERE id < 3", "2 rows"),
    "a random number": ("UPDATE item SET note = gen_random_uuid()::text || random() WHERE id = 1", "1 row"),
    "a column with a sequence": ("INSERT INTO numbered (note) VALUES ('a')", "1 row"),
    "a table with a function's name": ("DELETE FROM public.audit", "0 rows"),
    "a column with a sequence, asked for": ("INSERT INTO counted VALUES (DEFAULT, 'a'), (DEFAULT, 'b')", "2 rows"),
    "a table that is only read": ("UPDATE item SET note = (SELECT count(*) FROM checked)::text WHERE id = 1", "1 row"),
    "a column with a default that is given": ("INSERT INTO defaulted VALUES (1, 2)", "1 row"),
    "a table with columns and a function's name": ("INSERT INTO public . journal (id) VALUES (1)", "1 row"),
    "functions that look at locks and sizes": (
        "DELETE FROM item WHERE id < cardinality(pg_blocking_pids(id)) AND pg_database_size('postgres') < 0",
        "0 rows",
    ),
    "a view of locks": ("DELETE FROM item WHERE id IN (SELECT -1 FROM pg_locks)", "0 rows"),
    "the name in a text": ("UPDATE item SET note = 'setval(''invoice'', 1)' WHERE id = 1", "1 row"),
    "the name in a comment": ("UPDATE item SET note = 'a' /* setval('invoice', 1) */ WHERE id = 1", "1 row"),
    "a CTE named as a verb": ("WITH select_it(id) AS (SELECT 1) DELETE FROM item USING select_it AS s WHERE s.id = item.id", "1 row"),
}  # fmt: skip


@pytest.fixture(scope="module")
def schema(database: Database) -> Database:
    database.run(SCHEMA)
    return database


@pytest.fixture
def victim(schema: Database) -> Iterator[psycopg.Connection]:
    """A session that the writer's role may end."""
    where = {"host": schema.host, "dbname": schema.name, "user": "app_write", "password": PASSWORD}
    with psycopg.connect(**where, application_name="victim", autocommit=True) as connection:
        yield connection


def sequence(schema: Database) -> int:
    return schema.value("SELECT last_value FROM invoice")


@pytest.mark.parametrize(("statement", "says"), UNTRIED.values(), ids=UNTRIED.keys())
async def test_what_a_rollback_does_not_take_back_is_not_tried(schema, writer, victim, statement, says):
    schema.run("SELECT setval('invoice', 5000)")
    preview = await writer.show(call(execute(statement, max_rows=5)))

    assert (preview.in_trial or "").startswith(f"not tried: {says}")
    assert victim.execute("SELECT 1").fetchone() == (1,)
    assert sequence(schema) == 5000


@pytest.mark.parametrize(("statement", "counted"), TRIED.values(), ids=TRIED.keys())
async def test_what_a_rollback_takes_back_is_tried(schema, writer, statement, counted):
    preview = await writer.show(call(execute(statement, max_rows=5)))
    assert preview.in_trial == counted


@pytest.mark.parametrize("catalog", [False, True])
@pytest.mark.parametrize("statement", BY_WHAT_IT_MEETS.values(), ids=BY_WHAT_IT_MEETS.keys())
async def test_what_a_statement_meets_is_looked_at_too(schema, writer, statement, catalog):
    schema.run("SELECT setval('invoice', 5000)")
    preview = await writer.show(call(execute(statement, max_rows=5, catalog=catalog)))

    called = "nextval" if "numbers" in statement else "setval"
    told = f"not tried: statement calls {called} by a view, rule, policy, constraint or default; "
    assert (preview.in_trial or "").startswith(told)
    assert sequence(schema) == 5000


async def test_a_plan_that_is_nested_too_deep_to_be_read_is_not_tried(schema, writer):
    inner = "SELECT id FROM item"
    for _ in range(40):
        inner = f"SELECT id FROM ({inner} LIMIT 1) AS one"
    preview = await writer.show(call(execute(f"DELETE FROM item WHERE id = ({inner} LIMIT 1)")))
    assert preview.in_trial == "not tried: statement has a plan that is too long, or nested too deep, to be read"


async def test_one_statement_that_cannot_be_tried_keeps_the_others_and_the_before_image_from_it(schema, writer):
    fine, unsafe = {"statement": "DELETE FROM audit"}, {"statement": "DELETE FROM item WHERE id = nextval('invoice')"}
    several = await writer.show(call(execute(None, statements=[fine, unsafe])))
    before = await writer.show(call(execute(fine["statement"], before={"statement": "SELECT nextval('invoice')"})))
    assert (several.in_trial or "").startswith("not tried: statements[1] calls nextval")
    assert (before.in_trial or "").startswith("not tried: before calls nextval")


async def test_the_name_of_a_parameter_hides_nothing(schema, writer):
    schema.run("SELECT setval('invoice', 5000)")
    text = "UPDATE item SET note = %(a')s || setval('invoice', 1) || %(b')s WHERE id = 1"
    preview = await writer.show(call(execute(text, params={"a'": "x", "b'": "y"})))
    assert (preview.in_trial or "").startswith("not tried: statement calls setval")
    assert sequence(schema) == 5000


async def test_what_is_not_tried_is_still_done_once_it_is_approved(schema, writer):
    schema.run("SELECT setval('invoice', 5000)")
    reset = call(execute("SELECT setval('invoice', 1)", max_rows=0), key="reset")
    assert isinstance(await writer.run(reset), Succeeded)
    assert sequence(schema) == 1


async def test_a_mistake_in_what_is_not_tried_shows_before_a_person_is_asked(schema, writer):
    with pytest.raises(Failure, match='relation "nowhere" does not exist'):
        await writer.show(call(execute("SELECT setval('invoice', id) FROM nowhere")))
    schema.run("CREATE TABLE IF NOT EXISTS ledger (id int)")
    with pytest.raises(Failure, match="permission denied for table ledger"):
        await writer.show(call(execute("SELECT setval('invoice', id) FROM ledger")))


async def test_a_step_that_says_so_is_never_tried(schema, writer):
    schema.run("SELECT setval('invoice', 5000)")
    preview = await writer.show(call(execute("INSERT INTO guarded VALUES (1)", trial=False)))
    assert preview.in_trial == "not tried: the step says trial: false"
    assert preview.details["trial"] is False
    assert sequence(schema) == 5000


async def test_what_a_step_says_of_its_trial_is_part_of_what_is_approved(schema, writer):
    kinds = [{}, {"trial": False}, {"catalog": True}, {"rowsBind": "upToMaxRows"}]
    shown = [await writer.show(call(execute("DELETE FROM audit", **kind)), trial=False) for kind in kinds]
    assert len({each.digest for each in shown}) == 4


def approved(preview: Preview) -> PlanEntry:
    return PlanEntry(
        step="settle",
        attempt=1,
        do=preview.do,
        details={**preview.details, approval.DIGEST: preview.digest},
        in_trial=preview.in_trial,
        in_trial_counted=preview.in_trial_counted,
    )


async def grown(schema: Database, writer, **how) -> tuple[list[PlanEntry], list[str]]:
    """Show a step three times while its table grows, and say how each differs from the one before."""
    schema.run("DELETE FROM audit")
    entries, remedies = [], []
    for _ in range(3):
        schema.run("INSERT INTO audit VALUES (1)")
        preview = await writer.show(call(execute("UPDATE audit SET id = 2", **how)))
        entries.append(approved(preview))
        remedies.append(preview.trial_remedy)
    pairs = zip(itertools.pairwise(entries), remedies[1:], strict=True)
    return entries, [approval.difference(then, now, trial_binds=True, remedy=remedy) for (then, now), remedy in pairs]


async def test_by_default_an_approval_is_for_the_very_number_of_rows(schema, writer):
    entries, differences = await grown(schema, writer, max_rows=3)
    assert [entry.in_trial for entry in entries] == ["1 row", "2 rows", "3 rows"]
    assert differences == [
        f"settle: in trial 1 row → 2 rows ({trial.REMEDY})",
        f"settle: in trial 2 rows → 3 rows ({trial.REMEDY})",
    ]
    assert trial.REMEDY == "to approve any number up to maxRows, set rowsBind: upToMaxRows on the step"


async def test_a_table_that_grows_all_the_time_is_approved_up_to_max_rows(schema, writer):
    entries, differences = await grown(schema, writer, max_rows=3, rowsBind="upToMaxRows")
    assert [entry.in_trial for entry in entries] == ["up to 3 rows"] * 3
    assert [entry.in_trial_counted for entry in entries] == ["1 row", "2 rows", "3 rows"]
    assert differences == ["", ""]


async def test_beyond_max_rows_an_approval_of_up_to_max_rows_is_void(schema, writer):
    _, differences = await grown(schema, writer, max_rows=2, rowsBind="upToMaxRows")
    over = "3 rows: more than maxRows 2, it would be rolled back"
    assert differences == ["", f"settle: in trial up to 2 rows → {over}"]


async def test_a_step_of_many_rows_is_approved_by_its_bound_and_held_to_it(schema, writer):
    settle = call(execute("UPDATE audit SET id = 3", max_rows=4, rowsBind="upToMaxRows"), key="settle")
    schema.run("DELETE FROM audit; INSERT INTO audit SELECT 1 FROM generate_series(1, 3)")
    preview = await writer.show(settle)
    schema.run("INSERT INTO audit VALUES (1)")
    assert isinstance(await writer.send(settle, preview), Succeeded)
    schema.run("INSERT INTO audit VALUES (1)")
    assert isinstance(await writer.run(call(settle.spec, key="settle-2")), Failed)


async def test_a_table_that_moves_between_the_last_trial_and_the_act_is_left_alone(schema, writer):
    settle = call(execute("UPDATE audit SET id = 5", max_rows=4), key="settle-exactly")
    schema.run("DELETE FROM audit; INSERT INTO audit VALUES (1)")
    preview = await writer.show(settle)
    schema.run("INSERT INTO audit VALUES (1)")
    moved = await writer.send(settle, preview)

    assert moved == NotDone(0.0, f"would have been 2 rows, in trial it was 1 row; rolled back ({trial.REMEDY})")
    assert schema.value("SELECT count(*) FROM audit WHERE id = 5") == 0
    assert isinstance(await writer.send(settle, await writer.show(settle)), Succeeded)


async def test_a_step_that_was_not_tried_is_held_to_max_rows_only(schema, writer):
    reset = call(execute("SELECT audit(1)", max_rows=0), key="untried")
    assert isinstance(await writer.send(reset, await writer.show(reset)), Succeeded)


async def test_with_catalog_a_call_of_one_function_is_tried(schema, writer):
    preview = await writer.show(call(execute("SELECT change_all()", max_rows=5, catalog=True)))
    assert preview.in_trial == "3 rows"
    assert schema.value("SELECT count(*) FROM item WHERE note = 'x'") == 0


async def test_with_catalog_a_statement_may_need_what_an_earlier_one_makes(schema, writer):
    several = [{"statement": "SELECT make_table()"}, {"statement": "INSERT INTO made VALUES (1)"}]
    preview = await writer.show(call(execute(None, statements=several, catalog=True)))
    assert (preview.in_trial or "").startswith("1 row; changes ")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'", "pg_terminate_backend"),
        ("SELECT setval('invoice', 1)", "setval"),
        ("SELECT change_all(), setval('invoice', 1)", "change_all, setval"),
        ("SELECT change_all() + audit(1)", "audit, change_all"),
    ],
)  # fmt: skip
async def test_catalog_lets_nothing_be_tried_that_a_rollback_does_not_take_back(
    schema, writer, victim, statement, says
):
    schema.run("SELECT setval('invoice', 5000)")
    preview = await writer.show(call(execute(statement, catalog=True)))
    assert (preview.in_trial or "").startswith(f"not tried: statement calls {says};")
    assert victim.execute("SELECT 1").fetchone() == (1,)
    assert sequence(schema) == 5000


async def test_a_trial_that_may_lock_tables_waits_a_second_at_most(schema, writer):
    with schema.owner() as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE item IN ACCESS SHARE MODE")
        alter = call(execute("SELECT lock_item()", catalog=True), timeout=30)
        began = asyncio.get_running_loop().time()
        with pytest.raises(Failure, match="lock timeout"):
            await writer.show(alter)
        assert asyncio.get_running_loop().time() - began < 4  # without a limit of its own it would wait for 5
        holder.execute("ROLLBACK")
    assert (await writer.show(alter)).in_trial == (
        "0 rows; changes pg_attribute, pg_class; locks item exclusively, where rows are not counted"
    )


async def test_behind_a_pooler_it_is_the_same(schema, pooler):
    pooled = writing(FakeConnections(Database(pooler, schema.name, 6432).endpoint()))
    schema.run("SELECT setval('invoice', 5000)")
    for _ in range(2):
        assert (await pooled.show(call(execute("UPDATE item SET note = 'x'")))).in_trial == "3 rows"
        untried = await pooled.show(call(execute("SELECT setval('invoice', 1)")))
        assert (untried.in_trial or "").startswith("not tried: ")
    assert sequence(schema) == 5000
