"""Which names an expression uses, read from its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core.expressions import weight


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("steps.packs.outputs.fresh", [("steps", "packs", "outputs", "fresh")]),
        ('steps["pause-alerts"].outputs.id', [("steps", "pause-alerts", "outputs", "id")]),
        ("steps['pause-alerts'].state", [("steps", "pause-alerts", "state")]),
        ("steps.`pause-alerts`.state", [("steps", "pause-alerts", "state")]),
        ("steps.packs.?outputs.?fresh.orValue(true)", [("steps", "packs", "outputs", "fresh")]),
        ("steps[?'packs'].hasValue()", [("steps", "packs")]),
        ("has(steps . packs // why\n . outputs.x)", [("steps", "packs", "outputs", "x")]),
        ("steps[params.name].state", [("steps",), ("params", "name")]),
        ("steps.map(s, s)", [("steps",)]),
        ('steps["a\\x62"].state', [("steps",)]),
        ("result.rows.filter(r, r.date < params.date)[0].id", [("result", "rows"), ("params", "date")]),
        ("result.steps.packs", [("result", "steps", "packs")]),
        ("result.?steps", [("result", "steps")]),
        (".steps.packs", [("steps", "packs")]),
        ("(.steps.packs)", [("steps", "packs")]),
        ("'a' in .steps.packs", [("steps", "packs")]),
        ("params.a ? steps.b : params.c", [("params", "a"), ("steps", "b"), ("params", "c")]),
        ("'steps.packs' + \"params.x\" + r'params.y' + '''params.z'''", []),
        ("// steps.packs", []),
        ("mysteps.packs", []),
    ],
)
def test_names_are_read_off_without_evaluating(source, found):
    assert [(each.root, *each.path) for each in weight.references(source)] == found


@pytest.mark.parametrize(
    ("text", "closes_at"),
    [
        ("params.a} rest", 8),
        ("{'a': {'b': 1}}.a.b} rest", 19),
        ("'}' + \"}\" + r'}\\'} rest", 17),
        ("params.a", None),
        ("'unclosed } text", 10),
        ("", None),
    ],
)
def test_the_closing_brace_is_the_one_outside_texts_and_maps(text, closes_at):
    assert weight.closing_brace(text, 0) == closes_at


@given(st.text())
def test_reading_arbitrary_text_never_raises_and_loses_nothing(source):
    weight.references(source)
    weight.closing_brace(source, 0)
    tokens = list(weight.tokens(source))
    assert all(source[token.start : token.end] == token.text for token in tokens)
