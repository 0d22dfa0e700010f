"""JSON as lines of YAML: it reads back as what it was, and no value takes a line that is not its own."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from incident_operator.core import texts

TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=8) | st.sampled_from(
    [
        "",
        "yes",
        "null",
        "1",
        "- a",
        "a: b",
        "#",
        "\n",
        "a\nDo: b",
        "\u202e",
        "\u200b",
        "\x1b[2J",
        "|-",
        "{}",
        ".nan",
        ".Inf",
        ".5",
        ".dockerconfigjson",
        "&a",
        "*a",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(JSON)
def test_the_lines_are_yaml_of_that_very_value(value):
    lines = texts.yaml_lines(value)
    assert yaml.safe_load("\n".join(lines)) == value
    assert [texts.unseen(line) for line in lines] == [None] * len(lines)


def test_the_order_of_keys_makes_no_difference_and_what_people_look_for_comes_first():
    one = {"env": [], "args": ["x"], "name": "main", "image": "a:1"}
    assert texts.yaml_lines(one) == texts.yaml_lines(dict(reversed(one.items())))
    assert texts.yaml_lines({"containers": [one]}) == [
        "containers:",
        '  - name: "main"',
        '    image: "a:1"',
        '    args: ["x"]',
        "    env: []",
    ]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({}, ["{}"]),
        ([], ["[]"]),
        ({"limits": {"memory": "1Gi"}}, ['limits: {memory: "1Gi"}']),
        ({"a": {"b": {"c": 1}}}, ["a:", "  b: {c: 1}"]),
        ([[1], [2, [3]]], ["- [1]", "- - 2", "  - [3]"]),
        ({"on": True, "a b": None}, ['{"a b": null, "on": true}']),
        ({"x": "y" * 100}, ["x: " + '"' + "y" * 100 + '"']),
    ],
)
def test_what_is_short_is_on_one_line(value, lines):
    assert texts.yaml_lines(value) == lines
