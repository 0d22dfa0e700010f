"""Names and labels as Kubernetes takes them."""

import re

import pytest

from incident_operator.api import annotations, meta
from incident_operator.core import patterns

LABEL_VALUE = re.compile(r"[a-z0-9A-Z]([-a-z0-9A-Z_.]{0,61}[a-z0-9A-Z])?")


@pytest.mark.parametrize("name", ["a" * 62 + "-b", "a" * 62 + ".b", "a" * 61 + "-.b", "pack", "a" * 253])
def test_any_object_name_becomes_a_valid_label_value(name: str) -> None:
    labels = annotations.labels({annotations.RUNBOOK_LABEL: name})
    assert LABEL_VALUE.fullmatch(labels[annotations.RUNBOOK_LABEL])
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
    with pytest.raises(patterns.PatternError, match=re.escape(why)):
        patterns.compiled(pattern)
