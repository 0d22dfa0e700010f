"""`kubectl explain` says something about every field, and the definitions stay small enough to be applied."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from incident_operator.crdgen import kinds

LONGEST = 240_000
"""Bytes: `kubectl apply` keeps a definition in an annotation, and the apiserver takes 256 KiB of those."""


def undescribed(node: Any, path: str) -> Iterator[str]:
    for name, field in node.get("properties", {}).items():
        where = f"{path}.{name}"
        if where.count(".") == 1 and name == "metadata":
            assert field == {"type": "object"}, "the apiserver takes nothing else"
            continue
        if not field.get("description", "").strip():
            yield where
        yield from undescribed(field, where)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from undescribed(node[key], path)


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.name)
def test_no_field_is_without_description(kind: kinds.Kind) -> None:
    schema = kinds.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["description"]
    assert list(undescribed(schema, kind.name)) == []


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.name)
def test_a_definition_leaves_room_in_its_annotation(kind: kinds.Kind) -> None:
    assert len(json.dumps(kinds.definition(kind), separators=(",", ":")).encode()) < LONGEST
