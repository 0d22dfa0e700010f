"""sqlQuery against a real PostgreSQL: plain JSON out, hostile text in, and no way to write."""

import json
import math

import pytest

from incident_operator.core import sanitize
from incident_operator.core.outcomes import Failed, Succeeded
from tests.actions.sql.endpoints import FakeConnections, call, execute, query, reading, writing

HOSTILE = [
    "'; DROP TABLE pricing_pack; --",
    '"; DROP TABLE pricing_pack; --',
    "$(touch /tmp/x) `id` ${incident.name}",
    "%(marker)s %s %%",
    "line\nbreak\r\n\ttab",
    "\\'; SELECT pg_sleep(9)",
    "naïve ☃ \U0001d54f \u202e",
    "x" * 10_000,
    "NULL",
    "{1,2}",
    "",
]
VALUES = {
    "1::int2": 1,
    "9223372036854775807": 9223372036854775807,
    "12345678901234567890": 12345678901234567890.0,
    "0.1::numeric": 0.1,
    "0.10::numeric": 0.1,
    "0.1234567890123456789": 0.1234567890123456789,
    "1e400::numeric": math.inf,
    "'Infinity'::numeric": math.inf,
    "'-Infinity'::float8": -math.inf,
    "'infinity'::float4": math.inf,
    "true": True,
    "NULL::text": None,
    "'2025-10-21'::date": "2025-10-21",
    "'infinity'::date": "infinity",
    "'2025-10-21 02:30:04+02'::timestamptz": "2025-10-21T00:30:04Z",
    "'2025-10-21 00:30:04.5+00'::timestamptz": "2025-10-21T00:30:04.5Z",
    "'2025-10-21 00:30:04'::timestamp": "2025-10-21T00:30:04Z",
    "'0044-03-15 12:00:00 BC'::timestamp": "0044-03-15 12:00:00 BC",
    "'infinity'::timestamptz": "infinity",
    "'24:00:00'::time": "24:00:00",
    "'1 day 2 hours'::interval": "93600s",
    "'-90.5 seconds'::interval": "-90.5s",
    "'-1 day +1 hour'::interval": "-82800s",
    "'0'::interval": "0s",
    "'1 month'::interval": "2592000s",
    "'1 year -1 month'::interval": "28512000s",
    "'\\x00ff'::bytea": "AP8=",
    "'0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11'::uuid": "0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11",
    "'10.0.0.1'::inet": "10.0.0.1",
    "ARRAY[1, NULL, 3]": [1, None, 3],
    "ARRAY['2025-10-21'::date]": ["2025-10-21"],
    '\'{"a": [1, {"b": null}]}\'::jsonb': {"a": [1, {"b": None}]},
    "int4range(1, 5)": "[1,5)",
    "int4range(1, NULL)": "[1,)",
    "'empty'::tstzrange": "empty",
    "numrange(0.1, NULL)": "[0.1,)",
    "'{[1,2), [5,)}'::int4multirange": "{[1,2),[5,)}",
    "ARRAY[int4range(NULL, 1)]": ["(,1)"],
    "ARRAY[1.0, 2.5]": [1.0, 2.5],
    "ARRAY['1 min'::interval]": ["60s"],
    "'12.5'::money": "$12.50",
    "row(1, NULL)": ["1", None],
    "row(1, 'a')": ["1", "a"],
    "'<a/>'::text": "<a/>",
    "''::text": "",
}


@pytest.mark.parametrize(("expression", "expected"), VALUES.items())
async def test_values_arrive_as_plain_json(packs, reader, expression, expected):
    outcome = await reader.run(call(query(f"SELECT {expression} AS v")))

    assert isinstance(outcome, Succeeded)
    found = outcome.result["rows"][0]["v"]
    assert found == expected
    assert isinstance(found, type(expected))
    json.dumps(sanitize.finite(outcome.result), allow_nan=False)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_only_a_value(packs, reader, writer, text):
    read = await reader.run(call(query("SELECT %(t)s::text AS back", params={"t": text})))
    statement = "UPDATE pricing_pack SET id = %(t)s WHERE id = 'PP-19' RETURNING id"
    written = await writer.run(call(execute(statement, params={"t": text})))

    assert isinstance(read, Succeeded)
    assert read.result["rows"] == [{"back": text}]
    assert isinstance(written, Succeeded)
    assert written.result["returning"] == [{"id": text}]
    assert packs.value("SELECT count(*) FROM pricing_pack") == 2


async def test_lists_bind_as_arrays_and_objects_as_jsonb(packs, reader):
    params = {"ids": ["PP-19", "x"], "none": [], "o": {"a": [1, "'"]}, "objects": [{"n": 1}]}
    statement = """SELECT (SELECT array_agg(id) FROM pricing_pack WHERE id = ANY(%(ids)s)) AS found,
      cardinality(%(none)s::text[]) AS none, %(o)s -> 'a' AS a, (%(objects)s)[1] ->> 'n' AS n"""
    outcome = await reader.run(call(query(statement, params=params)))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["rows"] == [{"found": ["PP-19"], "none": 0, "a": [1, "'"], "n": "1"}]


async def test_more_rows_than_asked_for_are_cut_and_counted_as_cut(packs, reader):
    outcome = await reader.run(call(query("SELECT generate_series(1, 1000000000) AS n", maxRows=3)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {"rows": [{"n": 1}, {"n": 2}, {"n": 3}], "truncated": True}
    assert outcome.summary == "3 rows, more were cut"


async def test_exactly_as_many_rows_as_asked_for_are_whole(packs, reader):
    outcome = await reader.run(call(query("SELECT generate_series(1, 3) AS n", maxRows=3)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"] is False


async def test_a_result_stays_below_256_kib(packs, reader):
    outcome = await reader.run(
        call(query("SELECT repeat(chr(1), 9000) AS t FROM generate_series(1, 500)", maxRows=500))
    )
    long = await reader.run(call(query("SELECT repeat('x', 1000000) AS t")))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"]
    assert 0 < len(json.dumps(outcome.result)) < 256 * 1024
    assert isinstance(long, Succeeded)
    assert long.result["rows"][0]["t"].endswith("x… (cut; 1000000 characters)")


@pytest.mark.parametrize("statement", ["SHOW server_version", "VALUES (1)", "TABLE pricing_pack", "(SELECT 1)"])
async def test_whatever_reads_is_allowed(packs, reader, statement):
    assert isinstance(await reader.run(call(query(statement))), Succeeded)


WRITES = {
    "an update": ("UPDATE pricing_pack SET is_fresh = true", "begins with UPDATE"),
    "a transaction made writable": ("SET TRANSACTION READ WRITE", "begins with SET"),
    "a copy": ("COPY pricing_pack TO PROGRAM 'cat'", "begins with COPY"),
    "an analyzed update": ("EXPLAIN ANALYZE UPDATE pricing_pack SET is_fresh = true", "begins with EXPLAIN"),
    "a CTE": (
        "WITH c AS (UPDATE pricing_pack SET is_fresh = true RETURNING 1) SELECT * FROM c",
        "read-only transaction",
    ),
    "a row lock": ("SELECT * FROM pricing_pack FOR UPDATE", "read-only transaction"),
    "a table": ("SELECT 1 INTO made", "read-only transaction"),
    "a setting": ("SELECT set_config('transaction_read_only', 'off', false)", "read-write mode"),
    "two statements": ("SELECT 1; UPDATE pricing_pack SET is_fresh = true", "multiple commands"),
    "a commit before": ("SELECT 1; COMMIT; UPDATE pricing_pack SET is_fresh = true", "multiple commands"),
}


@pytest.mark.parametrize(("statement", "says"), WRITES.values(), ids=WRITES.keys())
async def test_a_query_cannot_write(packs, reader, statement, says):
    outcome = await reader.run(call(query(statement)))

    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert not outcome.retryable
    assert packs.value("SELECT count(*) FROM pricing_pack WHERE is_fresh") == 0


@pytest.mark.parametrize(("statement", "says"), WRITES.values(), ids=WRITES.keys())
async def test_not_even_with_a_role_that_could(packs, statement, says):
    reader = reading(FakeConnections(packs.endpoint("postgres")))
    outcome = await reader.run(call(query(statement)))

    assert isinstance(outcome, Failed)
    assert packs.value("SELECT count(*) FROM pricing_pack WHERE is_fresh") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'",
        "SELECT 1 WHERE (SELECT bool_or(pg_catalog.PG_CANCEL_BACKEND(pid)) FROM pg_stat_activity)",
        'WITH gone AS (SELECT "pg_terminate_backend" (pid) FROM pg_stat_activity) SELECT * FROM gone',
        "SELECT pg_reload_conf()",
        "SELECT data FROM pg_logical_slot_get_changes('billing', NULL, NULL)",
        "SELECT pg_stat_reset_single_table_counters('pricing_pack'::regclass)",
    ],
)
async def test_a_query_ends_nobodys_session_and_acts_on_no_server(packs, statement):
    reader = reading(FakeConnections(packs.endpoint("postgres")))
    outcome = await reader.run(call(query(statement)))

    assert isinstance(outcome, Failed)
    assert "which changes something; use an sqlExecute step" in outcome.message


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ('SELECT U&"pg\\005freload_conf"()', "with escapes, which are not supported here"),
        ("SELECT U&\"pg!005freload_conf\" UESCAPE '!' ()", "with escapes, which are not supported here"),
        ("SELECT E'a'\n'\\' ' || pg_reload_conf() || ' '", "with escapes, which are not supported here"),
        (
            "SELECT query_to_xml('SELECT pg_reload_conf()', true, true, '')",
            "runs a query from a text that is not checked here",
        ),
        (
            "SELECT ts_stat('SELECT to_tsvector(pg_reload_conf()::text)')",
            "runs a query from a text that is not checked here",
        ),
    ],
)
async def test_a_query_hides_no_function_that_acts(packs, statement, says):
    loaded = packs.value("SELECT pg_conf_load_time()")
    reader = reading(FakeConnections(packs.endpoint("postgres")))
    outcome = await reader.run(call(query(statement)))

    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert packs.value("SELECT pg_conf_load_time()") == loaded


async def test_a_diagnose_role_cannot_write_by_any_action(packs):
    packs.grant_effects("app_read")
    writer = writing(FakeConnections(packs.endpoint("app_read")))
    outcome = await writer.run(call(execute("UPDATE pricing_pack SET is_fresh = true")))

    assert outcome == Failed("Forbidden", "db: permission denied for table pricing_pack", retryable=False)
    assert packs.value("SELECT count(*) FROM incident_operator.incident_operator_effects") == 0


async def test_what_a_session_sets_does_not_reach_the_next(packs, reader):
    loosened = await reader.run(call(query("SELECT set_config('statement_timeout', '0', false)")))
    shown = await reader.run(call(query("SHOW statement_timeout")))

    assert isinstance(loosened, Succeeded)
    assert isinstance(shown, Succeeded)
    assert shown.result["rows"] == [{"statement_timeout": "10s"}]


async def test_two_columns_of_one_name_are_told_instead_of_losing_one(packs, reader):
    outcome = await reader.run(call(query("SELECT 1 AS id, 2 AS id")))
    assert isinstance(outcome, Failed)
    assert 'two columns of the result are named "id"' in outcome.message


async def test_the_connection_is_asked_for_in_the_calls_namespace_as_its_service_account(packs):
    connections = FakeConnections(packs.endpoint("app_read"))
    await reading(connections).run(call(query("SELECT 1")))
    assert connections.asked == [("prod", "db", "rb-pack")]


@pytest.mark.parametrize("levels", [65, 300, 1100])
@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_json_that_is_nested_too_deep_stays_text(packs, reader, kind, levels):
    statement = (
        f"SELECT (repeat('[', {levels}) || repeat(']', {levels}))::{kind} AS odd, ARRAY['[[1]]'::{kind}] AS many"
    )
    outcome = await reader.run(call(query(statement)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["rows"] == [{"odd": "[" * levels + "]" * levels, "many": [[[1]]]}]
