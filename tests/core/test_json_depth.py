"""How deep JSON may be nested: told from its bytes alone, whatever stands in its texts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core.sanitize import TooDeepError, deeper_than, is_deeper, loads

ODD_TEXT = st.text(st.sampled_from('[]{}"\\x\n☃'), max_size=8)
NESTED = st.recursive(
    st.none() | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT, inner, max_size=3),
    max_leaves=20,
)


def levels(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(levels, inside), default=0)


@given(NESTED, st.booleans())
def test_the_depth_of_a_text_is_that_of_what_it_says(value: Any, plain: bool) -> None:
    text, deep = json.dumps(value, ensure_ascii=plain).encode(), levels(value)
    assert not deeper_than(text, deep)
    assert not is_deeper(value, deep)
    if deep:
        assert deeper_than(text, deep - 1)
        assert is_deeper(value, deep - 1)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"[\\"":', "}]")])
def test_64_levels_are_read_and_65_are_not(opening: str, closing: str) -> None:
    each = opening.count("[") - opening.count('"[') + opening.count("{")
    fits = 64 // each
    assert loads(opening * fits + "1" + closing * fits) is not None
    with pytest.raises(TooDeepError, match="nested more than 64 levels deep"):
        loads(opening * (fits + 1) + "1" + closing * (fits + 1))


@pytest.mark.parametrize("text", [b"", b"]" * 100 + b"[", b'"' + b"[" * 100, b"\\" * 99, b'{"a":\xff}'])
def test_what_is_not_json_is_an_error_like_any_other(text: bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_many_shallow_lists_are_not_deep() -> None:
    assert loads(b"[" + b",".join([b"[]"] * 1000) + b"]") == [[]] * 1000


def test_a_text_of_half_a_character_is_not_json() -> None:
    with pytest.raises(ValueError):
        loads('"\ud800"')
