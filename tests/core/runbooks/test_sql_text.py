"""The first keyword of a statement, past whatever may stand before it."""

import pytest

from incident_operator.core.runbooks import statements


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("select 1", "SELECT"),
        ("  \n\tUpdate t", "UPDATE"),
        ("-- select\ndelete from t", "DELETE"),
        ("/* a /* nested */ still */ with x as (select 1) select 1", "WITH"),
        ("((values (1)))", "VALUES"),
        ("/* never closed select", ""),
        ("/* open /* inner */ select", ""),
        ("-- only a comment", ""),
        ("", ""),
        ("; select 1", ""),
        ("1", ""),
        ("'select'", ""),
        ("SELECTED", "SELECTED"),
    ],
)
def test_the_first_keyword_is_found(statement, word):
    assert statements.first_keyword(statement) == word


def test_a_complaint_names_the_place_and_what_is_allowed():
    said = statements.complaint("statements[1]", "TRUNCATE t", statements.CHANGING)
    assert said == "statements[1]: begins with TRUNCATE; allowed are DELETE, INSERT, MERGE, SELECT, UPDATE, WITH"


def test_an_allowed_statement_has_no_complaint():
    assert statements.complaint("statement", "SELECT 1", statements.READING) == ""
