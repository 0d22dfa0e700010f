"""Which type of PostgreSQL is which type of an expression: one table, held against all types that a server has."""

import math
from datetime import UTC, datetime

import pytest

from incident_operator.clients import sql_values
from incident_operator.clients.sql_values import Gives, Row
from incident_operator.core.expressions import cel, evaluation
from incident_operator.core.expressions.cel import Facts, NoAnswer, Program, Scope
from incident_operator.core.outcomes import Succeeded
from tests.actions.sql.endpoints import call, execute, query

NOTHING = Facts({}, {}, {})
NOW = datetime(2025, 10, 21, tzinfo=UTC)
OF_A_SERVER = """SELECT typname::text FROM pg_catalog.pg_type
WHERE typtype IN ('b', 'r', 'm') AND typnamespace = 'pg_catalog'::regnamespace
  AND NOT (typcategory = 'A' AND typname LIKE '\\_%%')"""
LITERALS = {
    "bool": ("true", "false"),
    "int2": ("1", "-32768"),
    "int4": ("1", "0"),
    "int8": ("1", "9223372036854775807"),
    "oid": ("1", "4294967295"),
    "float4": ("0.5", "3", "NaN", "-Infinity"),
    "float8": ("0.5", "3", "NaN", "Infinity", "1e308"),
    "numeric": ("2.5", "3", "NaN", "Infinity", "1e400", "0.1234567890123456789"),
    "interval": ("1 day", "0", "-0.5 sec", "7 years -3 months", "178000000 years"),
    "timestamp": ("2025-10-21 00:00:00", "infinity", "0044-03-15 BC", "12025-01-01"),
    "timestamptz": ("2025-10-21 00:00:00+05:30", "-infinity"),
    "date": ("2025-10-21", "infinity", "0044-03-15 BC"),
    "json": ("null", "1", "1.5", '"a"', "[1, null]"),
    "jsonb": ("null", "1", "1e400", "{}"),
    "bytea": ("", "\\x00ff"),
    "money": ("12.5", "-3"),
    "inet": ("10.0.0.1", "::1/64"),
    "int4range": ("empty", "(,)", "[1,2)"),
    "tstzrange": ("empty", '["2025-10-21 00:00:00+00",)'),
    "nummultirange": ("{}", "{(,1),[2,)}"),
    "aclitem": ("=r/postgres",),
    "regtype": ("int4", "-"),
    "tid": ("(0,1)",),
}
"""Values of types that are unlike each other; of the others NULL is asked for."""
ROW_OF = {name: row for row in sql_values.TABLE for name in row.types}


async def test_every_type_of_a_server_is_in_the_table(packs, reader):
    outcome = await reader.run(call(query(OF_A_SERVER, maxRows=1000)))

    assert isinstance(outcome, Succeeded)
    names = {row["typname"] for row in outcome.result["rows"]}
    assert len(names) >= 44
    assert names - ROW_OF.keys() == set()


def test_no_type_is_in_two_rows():
    names = [name for row in sql_values.TABLE for name in row.types]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", LITERALS)
async def test_the_type_of_a_value_never_depends_on_the_value(packs, reader, name):
    row = ROW_OF[name]
    columns = [f"'{literal}'::{name} AS v{at}" for at, literal in enumerate(LITERALS[name])]
    outcome = await reader.run(call(query(f"SELECT {', '.join(columns)}, NULL::{name} AS nothing")))

    assert isinstance(outcome, Succeeded)
    (found,) = outcome.result["rows"]
    assert found.pop("nothing") is None
    assert [value for value in found.values() if not sql_values.is_of(row.gives, value)] == []
    assert "None" not in str(list(found.values())) or name in {"json", "jsonb"}


@pytest.mark.parametrize("row", sql_values.TABLE, ids=lambda row: row.types[0])
async def test_the_table_says_what_an_example_becomes(packs, reader, row: Row):
    outcome = await reader.run(call(query(f"SELECT {row.example} AS v")))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["rows"] == [{"v": row.becomes}]
    assert row.becomes is None or sql_values.is_of(row.gives, row.becomes)


async def test_what_is_made_of_types_is_told_by_their_own(packs, reader):
    packs.run("""
        DROP DOMAIN IF EXISTS share; DROP TYPE IF EXISTS mood; DROP TYPE IF EXISTS pair;
        CREATE DOMAIN share AS numeric; CREATE TYPE mood AS ENUM ('sad'); CREATE TYPE pair AS (a int, b text);
    """)
    kinds = "1::share AS domain, 'sad'::mood AS enum, ARRAY['sad'::mood] AS enums, (1, NULL)::pair AS pair"
    outcome = await reader.run(call(query(f"SELECT {kinds}, ARRAY[1, 2.5, NULL] AS numbers")))

    assert isinstance(outcome, Succeeded)
    (row,) = outcome.result["rows"]
    assert row == {"domain": 1.0, "enum": "sad", "enums": "{sad}", "pair": "(1,)", "numbers": [1.0, 2.5, None]}
    assert isinstance(row["domain"], float)


CONDITIONS = {
    "an average over 1, 2, 4": ("avg(x) AS v FROM (VALUES (1), (2), (4)) t(x)", "result.rows[0].v < 3"),
    "an average over 1, 2, 3": ("avg(x) AS v FROM (VALUES (1), (2), (3)) t(x)", "result.rows[0].v < 3"),
    "the average is one number": ("avg(x) AS v FROM (VALUES (1), (2), (3)) t(x)", "result.rows[0].v == 2"),
    "arithmetic on a whole average": ("avg(x) AS v FROM (VALUES (1), (2), (3)) t(x)", "result.rows[0].v * 1.5 == 3.0"),
    "more digits than a double has": ("0.1234567890123456789012345 AS v", "result.rows[0].v > 0.12"),
    "more than a double can be": ("1e400::numeric AS v", "result.rows[0].v > 3"),
    "a sum of int8": ("sum(x) AS v FROM (VALUES (9223372036854775807), (1)) t(x)", "result.rows[0].v > 9e18"),
    "infinity": ("'Infinity'::float8 AS v", "result.rows[0].v > 3"),
    "NaN is below nothing": ("'NaN'::float8 AS v", "!(result.rows[0].v < 3) && result.rows[0].v != result.rows[0].v"),
    "an interval": ("interval '4 min 59.5 s' AS v", "duration(result.rows[0].v) < duration('5m')"),
    "a time without a zone": (
        "timestamp '2025-10-20 23:00' AS v",
        "now() - timestamp(result.rows[0].v) == duration('1h')",
    ),
    "a day": ("date '2025-10-21' AS v", "timestamp(result.rows[0].v + 'T00:00:00Z') == now()"),
    "a number beyond a double beside another one in JSON": (
        """jsonb '{"a": [-1e400, 1e-400], "v": 1}' AS v""",
        "result.rows[0].v.v == 1",
    ),
    "a number beyond a double in JSON": ("""jsonb '{"a": [1e400]}' AS v""", "result.rows[0].v.a[0] > 9e18"),
    "a whole number beyond 64 bits in JSON": (
        """json '{"a": 1e400, "v": 18446744073709551616}' AS v""",
        "result.rows[0].v.v > 9e18",
    ),
    "half a surrogate pair in JSON": (r"""json '{"a": "\ud800", "v": 1}' AS v""", "result.rows[0].v.v == 1"),
    "an element of an array of JSON": (
        """ARRAY[jsonb '{"a": 1e400}', '{"a": 2}'] AS v""",
        "result.rows[0].v[0].a > result.rows[0].v[1].a",
    ),
    "null": ("NULL::numeric AS v", "result.rows[0].v == null"),
    "no rows": ("1 AS v WHERE false", "result.rows.size() == 0"),
}


def evaluated(expression: str, outcome: Succeeded) -> object:
    program = cel.compile_condition(expression, Scope.RESULT)
    assert isinstance(program, Program)
    return evaluation.condition(program, NOTHING, NOW, outcome.result)


@pytest.mark.parametrize(("select", "expression"), CONDITIONS.values(), ids=CONDITIONS.keys())
async def test_a_condition_holds_whatever_the_value_is(packs, reader, select, expression):
    outcome = await reader.run(call(query(f"SELECT {select}")))
    assert isinstance(outcome, Succeeded)
    assert evaluated(expression, outcome) is True


@pytest.mark.parametrize("select", ["1 AS v WHERE false", "avg(x) AS v FROM (SELECT 1 AS x WHERE false) t"])
async def test_no_data_is_said_in_these_words(packs, reader, select):
    outcome = await reader.run(call(query(f"SELECT {select}")))
    assert isinstance(outcome, Succeeded)
    found = evaluated("result.rows[0].v < 3", outcome)
    assert isinstance(found, NoAnswer)
    assert found.why.startswith("no data: ")
    assert "None" not in found.why
    assert "null_type" not in found.why


async def test_an_image_holds_every_digit_and_no_null_for_what_is_not_finite(packs, writer):
    values = "0.1234567890123456789::numeric AS a, 'NaN'::numeric AS b, 'Infinity'::float8 AS c, 2.5 AS d, 1e309 AS e"
    values += """, json '{"a": 1e400, "b": "\\ud800"}' AS f"""
    outcome = await writer.run(
        call(execute("UPDATE pricing_pack SET is_fresh = true", before={"statement": f"SELECT {values}"}))
    )

    assert isinstance(outcome, Succeeded)
    (before,) = outcome.result["before"]
    assert (before["a"], before["c"], before["d"]) == (0.1234567890123456789, math.inf, 2.5)
    kept = packs.value("SELECT before::text FROM incident_operator.incident_operator_effects")
    assert (
        kept
        == f'[{{"a": 0.1234567890123456789, "b": "NaN", "c": "Infinity", "d": 2.5, "e": "1{"0" * 309}", "f": {{"a": "1e400", "b": "\ufffd"}}}}]'
    )


def test_the_table_leaves_no_word_of_its_types_unsaid():
    assert {row.gives for row in sql_values.TABLE} == set(Gives)
