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
    assert [statements.is_quoted(sql, each.offset) for each in found] == [False, True, False, True]


@given(st.text(alphabet="'\"$;%()-/*eE \\\nax"))
def test_arbitrary_text_never_raises(sql):
    statements.first_keyword(sql)
    statements.second_statement(sql)
    for each in statements.placeholders(sql):
        statements.is_quoted(sql, each.offset)
