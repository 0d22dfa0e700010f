"""Rewrites a pydantic JSON schema into the structural schema that Kubernetes wants. Pure; knows no kind.

What a structural schema cannot say is an error that names the field, never a silent loss.
"""

from collections.abc import Mapping

from incident_operator.core.outcomes import Json

_KEPT = frozenset({
    "description", "type", "format", "enum", "pattern", "default", "required", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "properties", "items", "additionalProperties",
})  # fmt: skip
_DROPPED = frozenset({"title", "examples"})
_FORBIDDEN_FORMATS = {"duration": "write a Go-style duration as a string with a pattern, such as meta.Duration"}


class SchemaError(Exception):
    """A model says something that a structural schema cannot; the message names the field."""


def structural(schema: Json) -> Json:
    """Return the structural schema of a model's `model_json_schema()`, references inlined.

    Raises SchemaError with the path of the field for unions, tuples, recursion and unknown keywords.
    """
    definitions = schema.get("$defs", {})
    root = {key: value for key, value in schema.items() if key != "$defs"}
    return _Rewriter(definitions).rewrite(root, "", frozenset())


class _Rewriter:
    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self._definitions = definitions

    def rewrite(self, node: Json, path: str, inside: frozenset[str]) -> Json:
        """Return one schema node, rewritten; `inside` holds the definitions that enclose it."""
        if "$ref" in node:
            return self._inlined(node, path, inside)
        if node.get("x-kubernetes-int-or-string"):
            return _kept({key: value for key, value in node.items() if key != "anyOf"}, path)
        if "anyOf" in node:
            return self.rewrite(_without_null(node, path), path, inside)
        return _freed(_kept(self._children(_constant(node), path, inside), path))

    def _inlined(self, node: Json, path: str, inside: frozenset[str]) -> Json:
        name = node["$ref"].rsplit("/", 1)[-1]
        if name in inside:
            raise SchemaError(f"{path}: {name} contains itself; a structural schema has no recursion")
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return self.rewrite({**self._definitions[name], **siblings}, path, inside | {name})

    def _children(self, node: Json, path: str, inside: frozenset[str]) -> Json:
        rewritten = dict(node)
        if "properties" in node:
            rewritten["properties"] = {
                name: self.rewrite(child, f"{path}.{name}", inside) for name, child in node["properties"].items()
            }
        if "items" in node:
            rewritten["items"] = self.rewrite(node["items"], f"{path}[]", inside)
        if isinstance(node.get("additionalProperties"), dict):
            rewritten["additionalProperties"] = self.rewrite(node["additionalProperties"], f"{path}.*", inside)
        return rewritten


def _without_null(node: Json, path: str) -> Json:
    """Return the one non-null member of a union: absence, not null, is how Kubernetes says "not set"."""
    members = [member for member in node["anyOf"] if member.get("type") != "null"]
    if len(members) != 1:
        raise SchemaError(f"{path}: a union of {len(members)} types; use optional fields and a CEL rule instead")
    return {**members[0], **{key: value for key, value in node.items() if key != "anyOf"}}


def _constant(node: Json) -> Json:
    if "const" not in node:
        return node
    return {"enum": [node["const"]], **{key: value for key, value in node.items() if key != "const"}}


def _kept(node: Json, path: str) -> Json:
    unknown = [key for key in node if key not in _KEPT | _DROPPED and not key.startswith("x-kubernetes-")]
    if unknown:
        raise SchemaError(f"{path}: a structural schema has no {', '.join(unknown)}")
    if node.get("format") in _FORBIDDEN_FORMATS:
        raise SchemaError(f"{path}: {_FORBIDDEN_FORMATS[node['format']]}")
    kept = {key: value for key, value in node.items() if key not in _DROPPED}
    return _bounds(_without_zero_default(kept))


def _without_zero_default(node: Json) -> Json:
    """Drop a default that says no more than absence does, so that stored objects stay short."""
    if node.get("default", True):
        return node
    return {key: value for key, value in node.items() if key != "default"}


def _bounds(node: Json) -> Json:
    """Rewrite exclusive bounds: a number in JSON Schema, a flag beside the bound in Kubernetes."""
    rewritten = dict(node)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            rewritten[bound], rewritten[exclusive] = node[exclusive], True
    return rewritten


def _freed(node: Json) -> Json:
    """Mark what may hold any JSON, which Kubernetes would prune otherwise."""
    if "type" not in node and "enum" not in node:
        return {**node, "x-kubernetes-preserve-unknown-fields": True}
    if node.get("additionalProperties") is True:
        named = {key: value for key, value in node.items() if key != "additionalProperties"}
        return {**named, "x-kubernetes-preserve-unknown-fields": True}
    return {key: value for key, value in node.items() if key != "additionalProperties" or value is not False}
