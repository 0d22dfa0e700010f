"""SQL as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core.runbooks import statements


@pytest.mark.parametrize(
    ("sql", "keyword"),
    [
        ("SELECT 1", "SELECT"),
        ("  \n-- why\n /* a /* b */ c */ ((select 1))", "SELECT"),
        ("with x as (select 1) select * from x", "WITH"),
        ("/* never closed", ""),
        ("'SELECT'", ""),
        (";", ""),
        ("", ""),
    ],
)
def test_the_first_keyword_is_the_one_after_comments(sql, keyword):
    assert statements.first_keyword(sql) == keyword


@pytest.mark.parametrize(
    ("sql", "second"),
    [
        ("SELECT 1", None),
        ("SELECT 1;", None),
        ("SELECT 1; -- done", None),
        ("SELECT ';', \"a;b\", $$;$$, $x$ ; $$ ; $x$, E'\\';', 'it''s;' /* ; /* ; */ ; */ -- ;", None),
        ("SELECT 1; DROP TABLE x", 10),
        ("SELECT 1;;", 9),
        ("SELECT '\\'; DROP TABLE x; --'", 12),
    ],
)
def test_a_second_statement_is_found_outside_quotes_and_comments(sql, second):
    assert statements.second_statement(sql) == second


def test_placeholders_and_stray_percent_signs_are_found_wherever_the_driver_would():
    sql = "SELECT %(a)s, '%%', 'x%', %(b)s LIKE '%(c)s'"
    found = statements.placeholders(sql)
    assert [each.name for each in found] == ["a", None, "b", "c"]
    assert [statements.in_quotes(sql)(each.offset) for each in found] == [False, True, False, True]


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("update t set a = 1", "UPDATE"),
        ("/* a */ (select 1)", "SELECT"),
        ("WITH a AS (SELECT 1), update (x) AS (SELECT ')') DELETE FROM t", "DELETE"),
        ("WITH RECURSIVE a AS (SELECT 1 UNION (SELECT 2)) select * FROM a", "SELECT"),
        ("WITH a AS (SELECT 1) SEARCH DEPTH FIRST BY id SET n UPDATE t SET a = 1", ""),
        ("WITH", ""),
        ("", ""),
        ("'a'", ""),
    ],
)
def test_what_a_statement_does_is_found_behind_with(sql, verb):
    assert statements.verb(sql) == verb


@pytest.mark.parametrize(
    ("sql", "called"),
    [
        ('SELECT a(1), pg_catalog.B /* ( */ (2), "C ""d"(3)', {"a", "b", 'C "d'}),
        ("SELECT a, 'b(', $$c($$, $ö$d($ö$, E'\\'e(', \"f(\", -- g(\n/* h( */ 1", set()),
        ("SELECT -- a\rb()", {"b"}),
        ("SELECT ä(1), \u00a0b(1)", {"ä", "\u00a0b"}),
        ('SELECT u&"\\0061"(1)', {statements.UNREADABLE}),
        ("SELECT u&\"!0061\" /* ( */ uescape '!' (1)", {statements.UNREADABLE}),
        ("SELECT E'a' 'b'", {statements.UNREADABLE}),
        ('INSERT INTO d.public . "a" (b) SELECT c(1)', {"c"}),
        ("MERGE INTO a (b)", {"a"}),
        ('SELECT "insert" into (1), x.into.a(1)', {"into", "a"}),
        ("SELECT 'a' 'b'", set()),
        ("a", set()),
    ],
)
def test_names_before_a_parenthesis_are_found_outside_texts_and_comments(sql, called):
    assert statements.called(sql) == called


def test_names_behind_a_point_are_found():
    assert statements.attributes("SELECT a.B, (c).\"D\", 'e.f', 1.5, g.*, h") == {"b", "D"}


def test_a_placeholder_is_replaced_as_the_driver_does_it():
    assert statements.as_sent("SELECT %(a')s, '%%', %(b)t") == "SELECT $1, '%', $1"


@given(st.text(alphabet="'\"$;%()-/*eE \\\nax"))
def test_arbitrary_text_never_raises(sql):
    statements.first_keyword(sql)
    statements.second_statement(sql)
    statements.verb(sql)
    statements.called(sql)
    statements.attributes(sql)
    for each in statements.placeholders(sql):
        statements.in_quotes(sql)(each.offset)


@pytest.mark.parametrize(
    ("sql", "called"),
    [
        ("SELECT pg_terminate_backend(%(pid)s)", "pg_terminate_backend"),
        ("SELECT /* ( */ Dblink_Exec /* of another */ ('x', 'DROP TABLE t')", "dblink_exec"),
        ("SELECT pg_stat_get_activity(1), count(*), 'pg_terminate_backend(1)'", ""),
    ],
)
def test_a_read_names_nothing_that_acts(sql, called):
    told = statements.complaint("statement", sql, statements.READING)
    assert told == (f"statement: calls {called}, which changes something; " if called else "") + (
        "use an sqlExecute step of mitigate or remediate" if called else ""
    )
    assert statements.complaint("statement", sql, statements.CHANGING) == ""


def test_a_read_calls_nothing_that_runs_a_text_or_cannot_be_read():
    for text, says in {
        "SELECT Crosstab ('SELECT pg_reload_conf()')": "calls crosstab, which runs a query from a text",
        'SELECT U&"a" (1)': "has a name or a text with escapes,",
    }.items():
        assert statements.complaint("statement", text, statements.READING).startswith(f"statement: {says} ")
        assert statements.complaint("statement", text, statements.CHANGING) == ""
