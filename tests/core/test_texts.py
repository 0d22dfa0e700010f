"""How long and how strange texts may be where people read them: one way to cut, one way to quote."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


SEEN = ["", "a", "a b", "ü → ж 日本", "🙂", "'", "\\", "\ufffd", "e\u0301\u0323", "ที่นี้", "שָׁלוֹם"]
UNSEEN = {
    "\n": "U+000A",
    "\t": "U+0009",
    "\x1b": "U+001B",
    "\x7f": "U+007F",
    "\x85": "U+0085",
    "\u00a0": "U+00A0",
    "\u00ad": "U+00AD",
    "\u034f": "U+034F",
    "\u115f": "U+115F",
    "\u200b": "U+200B",
    "\u202e": "U+202E",
    "\u2028": "U+2028",
    "\u2066": "U+2066",
    "\u2800": "U+2800",
    "\u3164": "U+3164",
    "\ufe0f": "U+FE0F",
    "\ufeff": "U+FEFF",
    "\ue000": "U+E000",
    "\U00016fe4": "U+16FE4",
    "\U0001d159": "U+1D159",
    "\U000e0041": "U+E0041",
    "\U000e0100": "U+E0100",
    "\ud800": "U+D800",
    "\u0301" * 40: "U+0301",
    "\u0e47" * 9: "U+0E47",
    "\u20dd" * 5: "U+20DD",
}


@pytest.mark.parametrize("character", UNSEEN)
def test_a_character_that_nobody_sees_is_named_cleaned_away_and_escaped(character: str) -> None:
    text = f"a{character}b"
    assert texts.unseen(text) == UNSEEN[character]
    assert texts.unseen(texts.visible(text)) is None
    assert texts.exact(text) == texts.unmistakable(text) == texts.line(text)
    assert texts.unseen(texts.line(text)) is None
    assert texts.line(text).encode()


@pytest.mark.parametrize("text", SEEN)
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert texts.unseen(text) is None
    assert texts.visible(text) == texts.exact(text) == texts.unmistakable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Do: nothing", '"Do: nothing"'),
        ("null", '"null"'),
        ("Plan Hash:", '"Plan Hash:"'),
        ("Plan Hash:  0000", '"Plan Hash:  0000"'),
        (" indented", '" indented"'),
        ("many   blanks", '"many   blanks"'),
        ('"quoted"', '"\\"quoted\\""'),
        ("http://x:80/a", "http://x:80/a"),
        ("03:51", "03:51"),
        ("a\nDo: b", '"a\\nDo: b"'),
    ],
)
def test_what_could_be_misread_in_a_plan_is_quoted(text: str, shown: str) -> None:
    assert texts.exact(text) == shown


TEXTS = st.text(st.characters(), max_size=6) | st.sampled_from(['"a"', "a: b", '"a: b"', "\n", '"\\n"', '"'])


@settings(deadline=None, max_examples=300)
@given(TEXTS, TEXTS)
def test_no_two_texts_are_shown_alike_and_each_can_be_told_from_what_is_shown(one: str, other: str) -> None:
    assert (texts.exact(one) == texts.exact(other)) is (one == other)
    assert texts.plain(texts.unmistakable(one)) == one
    assert texts.unseen(texts.exact(one)) is None


@pytest.mark.parametrize("text", ['"', '"a', '"a" b', "\"'"])
def test_a_text_of_an_older_version_that_only_begins_like_a_quoted_one_is_read_as_it_is(text: str) -> None:
    assert texts.plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nPlan Hash: 0000", "a Plan Hash: 0000"),
        ("\u202eab\u200b", "\ufffdab\ufffd"),
        ("\x1b[2Ja", "\ufffd[2Ja"),
        ("  a \t\u00a0 b\u2028c ", "a b c"),
    ],
)
def test_a_message_is_one_line_of_what_can_be_seen(text: str, shown: str) -> None:
    assert texts.visible(text) == shown
