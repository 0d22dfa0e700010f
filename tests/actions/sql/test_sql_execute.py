"""sqlExecute against a real PostgreSQL: one effect per key, limits that hold, failures that say what happened."""

import re
from dataclasses import replace

import pytest

from incident_operator.actions.sql.execute import SqlStatement
from incident_operator.clients.connections import EndpointError
from incident_operator.core import reasons
from incident_operator.core.action import UndoOf
from incident_operator.core.outcomes import Failed, Failure, Pending, RolledBack, Succeeded, Undetermined
from tests.actions.sql.endpoints import Database, FakeConnections, call, execute, writing

FRESHEN = "UPDATE pricing_pack SET is_fresh = true WHERE id = %(id)s RETURNING id, date"
BEFORE = SqlStatement(statement="SELECT id, is_fresh FROM pricing_pack WHERE id = %(id)s", params={"id": "PP-20"})


def freshen(max_rows: int = 1, pack: str = "PP-20"):
    return execute(FRESHEN, max_rows, params={"id": pack}, before=BEFORE.to_json())


def fresh(packs: Database) -> list[str]:
    return [row[0] for row in packs.run("SELECT id FROM pricing_pack WHERE is_fresh ORDER BY id")]


async def test_a_change_reports_its_rows_before_and_after(packs, writer):
    outcome = await writer.run(call(freshen()))

    assert isinstance(outcome, Succeeded)
    assert outcome.result == {
        "rowsChanged": 1,
        "before": [{"id": "PP-20", "is_fresh": False}],
        "returning": [{"id": "PP-20", "date": "2025-10-20"}],
        "truncated": False,
    }
    assert outcome.summary == "1 row changed"
    assert fresh(packs) == ["PP-20"]


async def test_the_same_key_looked_up_gives_the_stored_answer_and_changes_nothing(packs, writer):
    first = await writer.run(call(freshen()))
    packs.run("UPDATE pricing_pack SET is_fresh = false")
    again = await writer.look(call(freshen()))
    assert isinstance(first, Succeeded)
    assert isinstance(again, Succeeded)
    assert (again.result, again.captured) == (first.result, first.captured)
    assert "already applied at 2" in again.summary
    assert fresh(packs) == []


async def test_a_marker_that_is_there_before_its_act_is_not_taken_for_our_own(packs, writer):
    packs.run(
        "INSERT INTO incident_operator.incident_operator_effects (step_key, incident, step, rows_changed) "
        "VALUES ('key-1', 'prod/forged', 'act', 1)"
    )
    preview = await writer.show(call(freshen()), trial=False)
    came = await writer.send(call(freshen()), preview)
    assert isinstance(came, Undetermined)
    assert (came.reason, "; it says done at 2" in came.message) == (reasons.RECORD_ROLLED_BACK, True)
    with pytest.raises(RolledBack, match="has the key of this step, which has not written it; it says done at 2"):
        await writer.show(call(freshen()))
    assert fresh(packs) == []


async def test_an_undo_is_not_done_to_another_database_than_the_one_that_was_changed(packs, writer):
    done = await writer.run(call(freshen()))
    back = replace(call(freshen(), key="undo"), undo_of=UndoOf("key-1", {**done.captured, "host": "elsewhere"}))
    with pytest.raises(Failure, match="what is to be undone was done at elsewhere"):
        await writer.show(back)


async def test_another_key_is_another_effect(packs, writer):
    await writer.run(call(freshen(), key="a"))
    packs.run("UPDATE pricing_pack SET is_fresh = false")
    await writer.run(call(freshen(), key="b"))
    assert fresh(packs) == ["PP-20"]


async def test_the_marker_says_which_step_of_which_incident_did_it(packs, writer):
    await writer.run(call(freshen(), key="k"))
    found = packs.run("SELECT incident, step, rows_changed FROM incident_operator.incident_operator_effects")
    assert found == [("prod/pack-5f2c1-1", "serve-last-good", 1)]


async def test_too_many_rows_roll_everything_back_and_leave_no_marker(packs, writer):
    outcome = await writer.run(call(execute("UPDATE pricing_pack SET is_fresh = true", max_rows=1)))

    assert outcome == Failed("RowLimitExceeded", "would change 2 rows, maxRows is 1; rolled back", retryable=False)
    assert fresh(packs) == []
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 0


async def test_several_statements_are_one_transaction(packs, writer):
    outcome = await writer.run(call(_two_inserts()))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "StatementFailed"
    assert "duplicate key" in outcome.message
    assert packs.value("SELECT count(*) FROM pricing_pack") == 2


def _two_inserts():
    statements = [
        {"statement": "INSERT INTO pricing_pack VALUES ('PP-21', '2025-10-21', true)"},
        {"statement": "INSERT INTO pricing_pack VALUES ('PP-20', '2025-10-20', true)"},
    ]
    return execute(None, statements=statements)


async def test_an_undo_finds_by_the_original_key_what_the_step_touched(packs, writer):
    done = await writer.run(call(freshen(), key="original"))
    undo = execute(
        """UPDATE pricing_pack AS pack SET is_fresh = (was->>'is_fresh')::boolean
           FROM incident_operator.incident_operator_effects AS effect, jsonb_array_elements(effect.before) AS was
           WHERE effect.step_key = %(marker)s AND pack.id = was->>'id'""",
        max_rows=1,
    )
    assert isinstance(done, Succeeded)
    outcome = await writer.run(call(undo, key="undo", undo_of=UndoOf("original", done.captured or {})))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["rowsChanged"] == 1
    assert fresh(packs) == []


async def test_the_trial_counts_rows_and_leaves_nothing(packs, writer):
    preview = await writer.show(call(freshen()))

    assert preview.in_trial == "1 row"
    assert preview.do == FRESHEN
    assert preview.details["statements"] == [{"statement": FRESHEN, "params": {"id": "PP-20"}}]
    assert preview.details["maxRows"] == 1
    assert fresh(packs) == []
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 0


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        (FRESHEN.replace(" WHERE", "\n WHERE"), FRESHEN.replace(" WHERE", "\n WHERE").split("\n")),
        (f"{FRESHEN} -- {'x' * 400}", f"{FRESHEN} -- {'x' * 400}"),
    ],
)
async def test_a_long_statement_is_shown_line_by_line_with_its_values_and_where_it_goes(
    packs, writer, statement, lines
):
    preview = await writer.show(call(execute(statement, 1, params={"id": "PP-20"})))
    assert preview.do == "run 1 statement by db, shown with values under statements"
    assert preview.details["statements"] == [{"statement": lines, "params": {"id": "PP-20"}}]
    assert preview.bound["statements"] == [{"statement": statement, "params": {"id": "PP-20"}}]
    assert preview.details.items() >= {key: preview.bound[key] for key in ("host", "port", "database")}.items()


async def test_the_trial_says_when_the_limit_would_stop_it(packs, writer):
    preview = await writer.show(call(execute("UPDATE pricing_pack SET is_fresh = true", max_rows=1)))
    assert preview.in_trial == "2 rows: more than maxRows 1, it would be rolled back"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (execute(FRESHEN, params={"pack": 1}), "query parameter missing: id"),
        (execute("UPDATE pricing_pack SET id = 'a%'"), "write %% for a literal %"),
        (execute(FRESHEN, params={"id": "x", "marker": "y"}), "params.marker is taken"),
        (execute(FRESHEN, params={"id": "a\0b"}), "'params.id': holds a NUL character"),
        (execute(FRESHEN, params={"id": ["a", {"b": "\0"}]}), "'params.id[1].b': holds a NUL character"),
        (execute(FRESHEN, params={"id": "\ud800"}), "holds half of a surrogate pair"),
        (execute(FRESHEN, params={"id": [1, "a"]}), "mix"),
    ],
)
async def test_parameters_that_cannot_be_bound_are_told_before_anything_happens(packs, writer, spec, says):
    outcome = await writer.run(call(spec))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "BadRequest"
    assert says in outcome.message
    assert not outcome.retryable
    with pytest.raises(Failure, match=re.escape(says)):
        await writer.show(call(spec))


async def test_a_missing_marker_table_is_answered_with_the_sql_that_makes_it(server, writer):
    bare = Database(server, "postgres")
    outcome = await writing(FakeConnections(bare.endpoint())).run(call(execute("SELECT 1")))

    assert isinstance(outcome, Failed)
    assert "CREATE TABLE IF NOT EXISTS incident_operator.incident_operator_effects" in outcome.message
    assert 'TO "app_write"' in outcome.message
    assert not outcome.retryable
    bare.run("CREATE DATABASE repaired")
    repaired = Database(server, "repaired")
    repaired.run(outcome.message.partition("creates it with: ")[2])
    outcome = await writing(FakeConnections(repaired.endpoint())).run(call(execute("SELECT 1")))
    assert isinstance(outcome, Succeeded)


async def test_a_missing_grant_on_the_marker_table_says_which(packs):
    outcome = await writing(FakeConnections(packs.endpoint("app_read"))).run(call(freshen()))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "Forbidden"
    assert 'GRANT USAGE ON SCHEMA incident_operator TO "app_read"' in outcome.message


async def test_a_refused_privilege_is_told_with_the_table(packs, writer):
    packs.run("CREATE TABLE IF NOT EXISTS ledger (id int)")
    outcome = await writer.run(call(execute("DELETE FROM ledger")))
    assert outcome == Failed("Forbidden", "db: permission denied for table ledger", retryable=False)


async def test_a_step_that_removes_its_own_marker_is_rolled_back(packs):
    packs.run("GRANT DELETE ON incident_operator.incident_operator_effects TO app_write")
    spec = execute("DELETE FROM incident_operator.incident_operator_effects")
    outcome = await writing(FakeConnections(packs.endpoint())).run(call(spec))
    packs.run("REVOKE DELETE ON incident_operator.incident_operator_effects FROM app_write")
    assert isinstance(outcome, Failed)
    assert "removed its own marker" in outcome.message


async def test_an_unreadable_secret_is_the_reason_as_it_was_given():
    refused = EndpointError("SecretUnreadable", 'system:serviceaccount:prod:rb-pack may not get secret "db"')
    outcome = await writing(FakeConnections(refused)).run(call(freshen()))
    assert outcome == Failed("SecretUnreadable", str(refused), retryable=False)


async def test_an_image_that_cannot_be_stored_whole_fails_instead_of_being_cut(packs, writer):
    before = {"statement": "SELECT generate_series(1, 10001) AS n"}
    outcome = await writer.run(call(execute(FRESHEN, params={"id": "PP-20"}, before=before)))
    assert isinstance(outcome, Failed)
    assert "before gives more than 10000 rows" in outcome.message
    assert fresh(packs) == []


async def test_a_large_image_is_stored_whole_and_shown_cut(packs, writer):
    before = {"statement": "SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 1000) AS n"}
    outcome = await writer.run(call(execute(FRESHEN, params={"id": "PP-20"}, before=before)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"]
    assert 100 < len(outcome.result["before"]) < 1000
    stored = packs.value("SELECT jsonb_array_length(before) FROM incident_operator.incident_operator_effects")
    assert stored == 1000


async def test_either_statement_or_statements_not_both(writer):
    outcome = await writer.run(call(execute("SELECT 1", statements=[{"statement": "SELECT 2"}])))
    assert isinstance(outcome, Failed)
    assert outcome.message == "either statement or statements has to be given, and not both"


async def test_a_marker_that_is_gone_when_it_is_read_is_looked_for_again(packs, writer):
    # as where the owner tidies up at this very moment
    packs.run("""CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER vanish BEFORE INSERT ON incident_operator.incident_operator_effects
        FOR EACH ROW EXECUTE FUNCTION vanish()""")
    outcome = await writer.run(call(freshen()))
    packs.run("DROP FUNCTION vanish CASCADE")

    assert isinstance(outcome, Pending)
    assert outcome.summary == "cannot tell whether it is done: db: the marker of this step vanished while it was read"
    assert fresh(packs) == []


NESTED = "(repeat('[', {0}) || repeat(']', {0}))::json"


@pytest.mark.parametrize("levels", [64, 65, 300, 1100])
async def test_nested_json_is_kept_in_the_marker_and_told_the_same_again(packs, writer, levels):
    nested = NESTED.format(levels)
    before = SqlStatement(statement=f"SELECT {nested} AS then, ARRAY[ARRAY[{nested}]] AS many")
    returning = f"UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20' RETURNING {nested} AS now"
    spec = execute(returning, 1, before=before.to_json())
    first, again = await writer.run(call(spec)), await writer.look(call(spec))

    assert isinstance(first, Succeeded)
    assert isinstance(again, Succeeded)
    assert again.result == first.result
    assert isinstance(first.result["returning"][0]["now"], list if levels == 64 else str)
    assert fresh(packs) == ["PP-20"]


async def test_a_nul_in_json_does_not_keep_an_act_from_its_marker(packs, writer):
    returning = """UPDATE pricing_pack SET is_fresh = true WHERE id = 'PP-20' RETURNING '{"a\\u0000": "\\u0000"}'::json AS odd"""
    first, again = await writer.run(call(execute(returning, 1))), await writer.look(call(execute(returning, 1)))
    assert isinstance(first, Succeeded)
    assert first.result["returning"] == again.result["returning"] == [{"odd": {"a\ufffd": "\ufffd"}}]


@pytest.mark.parametrize("image", ["'1'", "'[1]'", "'{}'", "repeat('[', 300) || repeat(']', 300)"])
async def test_a_marker_whose_rows_cannot_be_read_still_proves_that_it_is_done(packs, writer, image):
    await writer.run(call(freshen()))
    packs.run(f"UPDATE incident_operator.incident_operator_effects SET before = ({image})::jsonb")
    again = await writer.look(call(freshen()))
    assert isinstance(again, Succeeded)
    assert (again.result["rowsChanged"], again.result["before"], again.result["truncated"]) == (1, [], True)
