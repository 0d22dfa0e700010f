"""Manifests are read as the cluster reads them, and everything in them has a place."""

import json
from typing import Any

import pytest

from incident_operator.core import yaml_source
from incident_operator.core.yaml_source import Place

YES = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"]
NO = ["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"]
WORDS: dict[str, Any] = {
    **dict.fromkeys(YES, True),
    **dict.fromkeys(NO, False),
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), None),
    **{
        word: word
        for word in (
            "yEs",
            "tRue",
            "nULL",
            "ye",
            "nan",
            "NaN",
            "=",
            "+",
            ".",
            "1m",
            "5Mi",
            "0b12",
            "0o8",
            "0xg",
            "1,0",
        )
    },
    **{
        word: word
        for word in ("2025-10-21", "2025-10-21T01:02:03Z", "2025-10-21 01:02:03", "2025-13-45", "12:30", "190:20:30.15")
    },
    "0755": 493,
    "0o17": 15,
    "0x1F": 31,
    "0b11": 3,
    "-0b11": -3,
    "+12": 12,
    "1_000": 1000,
    "08": 8,
    "00": 0,
    "-0": 0,
    "1.5": 1.5,
    "1.": 1,
    ".5": 0.5,
    "1e3": 1000,
    "1.5e-3": 0.0015,
    "1e21": 1e21,
    "1e999": "1e999",
    ".5_0": 0.5,
    "._5": "._5",
    "9223372036854775808": 2**63,
    "18446744073709551615": 2**64 - 1,
    "-9223372036854775808": -(2**63),
}
"""A word as it stands in a manifest → what kubectl makes of it."""
KEYS = {
    **dict.fromkeys(YES, "true"),
    **dict.fromkeys(NO, "false"),
    "0755": "493",
    "12": "12",
    "1.0": "1",
    "1e3": "1000",
    "1e6": "1e+06",
    "1e20": "1e+20",
    "0.30000000000000004": "0.3",
    "-0.0": "-0",
    ".inf": ".inf",
    "-.inf": "-.inf",
    "2025-10-21": "2025-10-21",
    "12:30": "12:30",
    "name": "name",
}
"""A word as a key → the key in JSON."""
DOCUMENTS: dict[str, Any] = {
    "a: &x {b: 1}\nc: {<<: *x, d: 2}\n": {"a": {"b": 1}, "c": {"b": 1, "d": 2}},
    "a: &x {b: 1}\nc:\n  b: 2\n  <<: *x\n": {"a": {"b": 1}, "c": {"b": 1}},
    "c: {<<: [{a: 1}, {a: 2}]}\n": {"c": {"a": 1}},
    "a: !!str 1\nb: !!float 1\nc: !foo 1\nd: !!binary aGk=\n": {"a": "1", "b": 1, "c": "1", "d": "hi"},
    "a: |\n  x\n  y\nb: >-\n  x\n  y\n": {"a": "x\ny\n", "b": "x y"},
    "a: 'yes'\nb: \"no\"\n": {"a": "yes", "b": "no"},
    "a: 1\na: 2\n": {"a": 2},
}
REFUSED = (
    "~: 1",
    "? [a]\n: 1",
    "a: .inf",
    "a: [.nan]",
    "a: !!int b",
    "a: !!int 1.0",
    "a: !!bool 1",
    "a: &a [*a]",
    "a: {<<: b}",
    "a: [",
)
"""What kubectl refuses."""


def one(text: str) -> yaml_source.Document:
    (document,) = yaml_source.documents(text)
    return document


@pytest.mark.parametrize("word", WORDS)
def test_a_word_without_quotes_is_what_the_cluster_takes_it_for(word: str) -> None:
    document = one(f"v: {word}\n")
    assert json.dumps(document.value) == json.dumps({"v": WORDS[word]})
    assert document.words.get("v") == (word if not isinstance(WORDS[word], str | None) else None)


@pytest.mark.parametrize("word", KEYS)
def test_a_key_is_what_the_cluster_makes_of_it_and_told_where_it_changes(word: str) -> None:
    document = one(f"{word}: x\n")
    assert document.value == {KEYS[word]: "x"}
    assert [each.harmless for each in document.remarks] == ([] if KEYS[word] == word else [False])


@pytest.mark.parametrize("text", DOCUMENTS)
def test_a_document_is_what_the_cluster_makes_of_it(text: str) -> None:
    assert one(text).value == DOCUMENTS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_kubectl_refuses_is_not_read(text: str) -> None:
    document = one(text)
    assert document.value is None
    assert [each.harmless for each in document.remarks] == [False]


def test_a_word_that_looks_like_a_text_is_told_and_may_be_meant() -> None:
    (remark,) = one("a: 1\nsuspend: no\n").remarks
    assert (remark.harmless, remark.place) == (True, Place(2, 10))
    assert remark.message == 'no is read as the boolean false; write false, or "no" for the text'
    assert one("suspend: false\n").remarks == ()


def test_a_key_that_is_set_twice_is_told() -> None:
    (remark,) = one("a: 1\nb:\n  c: 1\n  c: 2\n").remarks
    assert (remark.message, remark.place) == ('key "c" is already set in line 3', Place(4, 3))


def test_every_key_and_item_has_a_place_and_what_is_missing_that_of_what_is_around_it() -> None:
    document = one("# first\nspec:\n  steps:\n  - name: a\n    expect: >-\n      x\n  - {name: b}\n")
    told = {"spec": (2, 1), "spec.steps": (3, 3), "spec.steps[0].expect": (5, 5), "spec.steps[1].name": (7, 6)}
    assert {path: document.place_of(path) for path in told} == {path: Place(*place) for path, place in told.items()}
    assert document.place_of("spec.steps[1].scale.replicas") == Place(7, 5)
    assert document.place_of("metadata.name") == Place(2, 1)


def test_documents_are_parted_as_kubectl_parts_them() -> None:
    text = "a: 1\n---   # next\nb: |\n  ---\n---\n# nothing\n---\nc: [\n---\nd: 1\n--- {e: 2}\n"
    read = list(yaml_source.documents(text))
    assert [each.value for each in read] == [{"a": 1}, {"b": "---\n"}, None, {"d": 1}, {"e": 2}]
    assert [each.place.line for each in read] == [1, 3, 8, 10, 11]
    assert "kubectl does not read this" in read[4].remarks[0].message


def test_line_ends_of_windows_part_documents_too() -> None:
    read = list(yaml_source.documents("---\r\na: 1\r\n--- # next\r\nb: |\r\n  x\r\n---\t\r\nc: 1\r\n"))
    assert [(each.value, each.place.line) for each in read] == [({"a": 1}, 2), ({"b": "x\n"}, 4), ({"c": 1}, 7)]
    assert [each.remarks for each in read] == [(), (), ()]


def test_json_is_read_as_json() -> None:
    document = one('{\n\t"a": "\\ud83d\\ude00",\n\t"b": [1, "yes", 1.0]\n}\n')
    assert document.value == {"a": "\U0001f600", "b": [1, "yes", 1.0]}
    assert document.place_of("b[1]") == Place(3, 11)


@pytest.mark.parametrize(
    "text", ['{"a": 1180591620717411303424}', "a: 1180591620717411303424", "a: 18446744073709551616"]
)
def test_a_number_that_takes_more_than_64_bits_is_a_float(text: str) -> None:
    assert isinstance(one(text).value["a"], float)


def test_what_grows_by_its_aliases_is_not_read() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    document = one("\n".join(lines))
    assert (document.value, document.remarks[-1].message) == (
        None,
        "not YAML that kubectl reads: is too large when its aliases are expanded",
    )
