"""Names and labels as Kubernetes takes them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.api import meta
from incident_operator.api.incident import RUNBOOK_LABEL, incident_labels
from incident_operator.api.meta import cut_name, is_label_value, label_value, with_ending
from incident_operator.core.sanitize import PatternError, compiled_pattern

LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
"""`validation.IsValidLabelValue` of apimachinery; at most 63 characters."""
OBJECT_NAMES = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){0,3}", fullmatch=True
)
LONG = ["a" * 62 + "-b", "a" * 62 + ".b", "a" * 61 + "-b.c", "c" * 44 + ".b", "c" * 45 + ".b", "pack", "a" * 253]
TEXTS = st.text(max_size=80) | st.text("-._aB0", min_size=50, max_size=80) | OBJECT_NAMES


@given(TEXTS)
def test_any_text_becomes_a_label_value_that_the_apiserver_takes(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert LABEL_VALUE.fullmatch(value)
    assert label_value(value) == value
    assert (value == text) == is_label_value(text)


@given(st.text("ab", min_size=64, max_size=66), st.text("ab", min_size=64, max_size=66))
def test_two_texts_that_are_cut_at_the_same_place_are_told_apart(one: str, other: str) -> None:
    assert (label_value(one) == label_value(other)) == (one == other)


@given(OBJECT_NAMES, st.text("0123456789abcdef", min_size=5, max_size=64), st.integers(70, 253))
def test_any_name_with_an_ending_is_a_name_that_the_apiserver_takes(name: str, ending: str, longest: int) -> None:
    made = with_ending(name, ending, longest)
    assert len(made) <= longest
    assert meta.is_object_name(made)
    assert made.endswith(f"-{ending}")
    assert meta.is_object_name(cut_name(name, longest))


@pytest.mark.parametrize("sign", ["-", ".", "--", "---"])
@pytest.mark.parametrize("longest", [50, 63, 253])
def test_a_name_that_is_cut_beside_a_sign_is_trimmed(sign: str, longest: int) -> None:
    for before in range(longest - 10, longest + 1):
        name = "c" * before + sign + "b" * 30
        assert meta.is_object_name(cut_name(name, longest))
        assert meta.is_object_name(with_ending(name, "1a2b3", longest))


@pytest.mark.parametrize("name", LONG)
def test_any_object_name_becomes_a_valid_label_value(name: str) -> None:
    labels = incident_labels({RUNBOOK_LABEL: name})
    assert is_label_value(labels[RUNBOOK_LABEL])
    assert labels["app.kubernetes.io/managed-by"] == "incident-operator"


@pytest.mark.parametrize(
    ("name", "is_label", "is_name"),
    [
        ("pack", True, True),
        ("a" * 64, False, True),
        ("a.b", False, True),
        ("a..b", False, False),
        ("a" * 254, False, False),
        ("-a", False, False),
        ("a-", False, False),
        ("Pack", False, False),
        ("pack\n", False, False),
        ("", False, False),
    ],
)
def test_a_name_is_taken_as_the_apiserver_takes_it(name: str, is_label: bool, is_name: bool) -> None:
    assert (meta.is_dns_label(name), meta.is_object_name(name)) == (is_label, is_name)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "not a regular expression (RE2): missing ): ("),
        ("\ud800", "not a regular expression: holds a lone surrogate"),
    ],
)
def test_a_pattern_that_does_not_compile_is_told_in_words(pattern: str, why: str) -> None:
    with pytest.raises(PatternError, match=re.escape(why)):
        compiled_pattern(pattern)
