"""How long and how strange texts may be where people read them: one way to cut, one way to quote."""

import pytest

from incident_operator.core import texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [("abcd", "abcd"), ("abcde", "abc…"), ("", ""), ("äöüß", "äöüß")],
)
def test_a_cut_text_has_the_length_that_was_asked_for_and_the_mark(text: str, shown: str) -> None:
    assert texts.cut(text, 4) == shown


def test_a_counted_cut_keeps_the_whole_length_and_says_how_much_there_was() -> None:
    assert texts.cut_counted("abcd", 4) == "abcd"
    assert texts.cut_counted("abcde", 4) == "abcd… (cut; 5 characters)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it's", '"it\'s"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\x00\u202e\x7f", '"a\\u0000\\u202e\\u007f"'),
        ("pаck", '"p\\u0430ck"'),  # noqa: RUF001 # a Cyrillic letter that looks like the Latin one
        ("x" * 11, f'"{"x" * 9}…"'),
        ("ä" * 11, '"' + "\\u00e4" * 9 + '…"'),
        ("\ud800", '"\\ud800"'),
    ],
)
def test_a_quoted_text_hides_no_character_and_is_cut_between_two_of_them(text: str, shown: str) -> None:
    assert texts.quoted(text, 10) == shown
    assert texts.escaped(text, 10) == shown[1:-1]
