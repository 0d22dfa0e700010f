"""As much of JSON Schema (draft 7) as the schemas for editors use."""

import re
from collections.abc import Iterator
from typing import Any

TYPES = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
KNOWN = frozenset({
    "$schema", "title", "description", "default", "format", "type", "enum", "const", "properties", "required",
    "additionalProperties", "items", "oneOf", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "minimum", "maximum", "exclusiveMinimum",
})  # fmt: skip


def wrong(value: Any, schema: Any, path: str = "$") -> Iterator[str]:
    """Yield the paths at which a value is not what a schema says, with the keyword."""
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    types = schema.get("type", [])
    if types and not any(_is(value, each) for each in ([types] if isinstance(types, str) else types)):
        yield f"{path}: type"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{path}: enum"
    if "oneOf" in schema and sum(not list(wrong(value, each, path)) for each in schema["oneOf"]) != 1:
        yield f"{path}: oneOf"
    yield from (f"{path}: {each}" for each in _bounds(value, schema))
    if isinstance(value, dict):
        yield from _object(value, schema, path)
    if isinstance(value, list) and "items" in schema:
        for at, item in enumerate(value):
            yield from wrong(item, schema["items"], f"{path}[{at}]")


def _object(value: dict[str, Any], schema: Any, path: str) -> Iterator[str]:
    yield from (f"{path}.{key}: required" for key in schema.get("required", []) if key not in value)
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, item in value.items():
        below = known.get(key, others)
        if below is False:
            yield f"{path}.{key}: unknown"
        elif below is not True:
            yield from wrong(item, below, f"{path}.{key}")


def _is(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"}:
        return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def _bounds(value: Any, schema: Any) -> Iterator[str]:
    if isinstance(value, str | list | dict):
        kind = {str: "Length", list: "Items", dict: "Properties"}[type(value)]
        if not schema.get(f"min{kind}", 0) <= len(value) <= schema.get(f"max{kind}", len(value)):
            yield kind
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield "pattern"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield "bound"
