"""The operator's kinds as `check` knows them: what is wrong with an object against the schema of its kind, in kubectl's words.

Nothing of it tells a value, which may be secret.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from incident_operator import connections
from incident_operator.actions import ACTIONS
from incident_operator.api import meta
from incident_operator.api.meta import API_VERSION, GROUP, is_dns_label, is_object_name
from incident_operator.core import texts
from incident_operator.core.expressions import cel
from incident_operator.core.runbooks import reading

Way = tuple[str | int, ...]
Schema = Mapping[str, Any]

_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "int_from_float": "integer",
    "int_parsing": "integer",
    "float_type": "number",
    "bool_type": "boolean",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
}
_JSON = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_BOUNDS = {
    "string_too_long": "Too long: may not be longer than {max_length}",
    "string_too_short": "Invalid value: should be at least {min_length} chars long",
    "too_long": "Too many: must have at most {max_length} items",
    "too_short": "Invalid value: should have at least {min_length} items",
    "greater_than_equal": "Invalid value: should be greater than or equal to {ge}",
    "greater_than": "Invalid value: should be greater than {gt}",
    "less_than_equal": "Invalid value: should be less than or equal to {le}",
    "less_than": "Invalid value: should be less than {lt}",
}
_EXAMPLES = {meta.DURATION_PATTERN: "a duration, such as 90s or 1h30m"}


@dataclass(frozen=True, slots=True)
class WrongField:
    """One thing that the apiserver would refuse."""

    way: Way
    """Keys and indices below `spec`."""
    path: str
    message: str


def wrong_fields(model: type[pydantic.BaseModel], value: Any, path: str) -> list[WrongField]:
    """Return all that is wrong with JSON that stands at `path`: types are not converted, and unknown fields are told."""
    try:
        model.model_validate_json(json.dumps(value), strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
    else:
        return []
    schema = _Walk(model.model_json_schema(by_alias=True))
    told: dict[Way, WrongField] = {}
    for each in found:
        way = _written(value, each["loc"], each["type"])
        place = cel.field_of(path, way)
        if each["type"] == "extra_forbidden":
            message = unknown_field(place, str(way[-1]), schema.fields(way[:-1]))
        else:
            message = _message(each, way)
        told.setdefault(way, WrongField(way, place, message))
    return list(told.values())


def without_empty(model: type[pydantic.BaseModel], value: Any) -> tuple[Any, list[Way]]:
    """Return JSON without the fields that are written and empty, and where they are: the apiserver drops them."""
    nulls = list(_nulls(value, ()))
    if not nulls:
        return value, []
    schema = _Walk(model.model_json_schema(by_alias=True))
    dropped = [way for way in nulls if schema.at(way)]
    return _without(value, (), frozenset(dropped)), dropped


def unknown_field(path: str, name: str, known: list[str]) -> str:
    """Return what is said of a field that there is not."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or [
        each for each in known if each.lower() == name.lower()
    ]
    told = f"; did you mean {near[0]}?" if near else ""
    return f"unknown field {texts.line(path)}{told}"


def _message(error: Mapping[str, Any], way: Way) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "Required value"
    if kind in _TYPES:
        is_now = _JSON.get(type(error["input"]), "null")
        return f"Invalid value: must be of type {_TYPES[kind]}, and is {is_now}"
    if kind in {"enum", "literal_error"}:
        return f"Unsupported value: supported values: {str(context['expected']).replace(chr(39), chr(34))}"
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return f"Invalid value: should match {_EXAMPLES.get(pattern, repr(pattern))}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    return f"Invalid value: {error['msg']}" if way else str(error["msg"])


def _nulls(value: Any, way: Way) -> Iterator[Way]:
    """Yield where a field of an object is null; an item of a list stays, and is refused."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        if item is None and isinstance(value, dict):
            yield (*way, key)
        yield from _nulls(item, (*way, key))


def _without(value: Any, way: Way, dropped: frozenset[Way]) -> Any:
    if isinstance(value, dict):
        kept = ((key, item) for key, item in value.items() if (*way, key) not in dropped)
        return {key: _without(item, (*way, key), dropped) for key, item in kept}
    if isinstance(value, list):
        return [_without(item, (*way, at), dropped) for at, item in enumerate(value)]
    return value


def _written(value: Any, way: Way, kind: str) -> Way:
    """Return the part of a path that is written; a union adds which of its types was tried."""
    if kind == "missing":
        return way
    for at, part in enumerate(way):
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if not inside:
            return way[:at]
        value = value[part]
    return way


class _Walk:
    """Goes down a JSON schema along a path."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def at(self, way: Way) -> Schema:
        """Return the schema of what stands there; an empty one where it may be anything, or nothing is known."""
        node = self._plain(self._schema)
        for part in way:
            named = node.get("properties", {}).get(part, node.get("additionalProperties"))
            below = node.get("items") if isinstance(part, int) else named
            node = self._plain(below if isinstance(below, dict) else {})
        return node

    def fields(self, way: Way) -> list[str]:
        """Return the names of the fields that there are."""
        return list(self.at(way).get("properties", {}))

    def _plain(self, node: Schema) -> Schema:
        """Return a node without references, and of a union with null the other."""
        if "$ref" in node:
            return self._plain(self._schema["$defs"][node["$ref"].rpartition("/")[2]])
        if "anyOf" in node:
            return self._plain(next((each for each in node["anyOf"] if each.get("type") != "null"), {}))
        known = {"type", "enum", "const", "properties", "items", "additionalProperties"}
        return node if known & node.keys() else {}


_KINDS = ("Runbook", "Connection", "Incident")
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    "name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid", "resourceVersion",
    "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink",
)  # fmt: skip
_NEAR = 0.75
"""How alike two kinds are, at least, of which one may be meant by the other."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong with an object."""

    path: str
    message: str
    excerpt: str = ""
    way: Way = ()
    """Keys and indices below `spec`, where it was found in the schema."""


def is_ours(value: Mapping[str, Any]) -> bool:
    """Tell whether an object is one of the operator's, or was meant to be."""
    group = str(value.get("apiVersion", "")).partition("/")[0]
    kind = value.get("kind")
    if group == GROUP or kind == "Runbook":
        return True
    return kind in ("Connection", "Incident") and bool(difflib.get_close_matches(group, [GROUP], cutoff=_NEAR))


def envelope_problems(value: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield what is wrong outside `spec`."""
    yield from _unknown(value, "", _FIELDS)
    version, kind = value.get("apiVersion"), value.get("kind")
    if version is None:
        yield Wrong("apiVersion", f"Required value: write {API_VERSION}")
    elif version != API_VERSION:
        yield Wrong(
            "apiVersion", f"no matches for kind {_quoted(kind)} in version {_quoted(version)}; write {API_VERSION}"
        )
    if kind is None:
        yield Wrong("kind", f"Required value: one of {', '.join(_KINDS)}")
    elif kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, n=1)
        told = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KINDS)}"
        yield Wrong("kind", f"no matches for kind {_quoted(kind)} in version {_quoted(version)}; {told}")
    yield from _of_metadata(value.get("metadata"))


def stored(value: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Wrong]]:
    """Return an object as the apiserver stores it, and the fields that it drops because nothing stands in them."""
    model = _model(value)
    if model is None:
        return value, []
    spec, dropped = without_empty(model, value.get("spec"))
    told = "is empty, which is the same as leaving it out"
    return {**value, "spec": spec}, [Wrong(cel.field_of("spec", way), told) for way in dropped]


def spec_problems(value: Mapping[str, Any]) -> list[Wrong]:
    """Return what the apiserver would refuse of the spec of an object; nothing for a kind that there is not."""
    model, spec = _model(value), value.get("spec")
    if model is None:
        return []
    if spec is None:
        return [Wrong("spec", "Required value")]
    found = wrong_fields(model, spec, "spec")
    wrong = [Wrong(each.path, each.message, way=each.way) for each in found]
    return wrong if wrong or value.get("kind") != "Connection" else [*_members(spec)]


def _model(value: Mapping[str, Any]) -> type[pydantic.BaseModel] | None:
    match value.get("kind"):
        case "Runbook":
            return reading.whole_spec(ACTIONS)
        case "Connection":
            return connections.whole_spec()
        case "Incident":
            from incident_operator.api.incident import IncidentSpec  # noqa: PLC0415 # rarely written by hand

            return IncidentSpec
        case _:
            return None


def _members(spec: Mapping[str, Any]) -> Iterator[Wrong]:
    """Require of a Connection the member that its type names, and no other."""
    kind = spec["type"]
    others = [each.key for each in connections.CONNECTIONS if each.key != kind and each.key in spec]
    if kind not in spec:
        yield Wrong("spec", f"type is {kind}, so exactly spec.{kind} has to be set")
    for other in others:
        yield Wrong(f"spec.{other}", f"type is {kind}, so exactly spec.{kind} has to be set")
    account = (spec.get("alertmanager") or {}).get("serviceAccountName")
    if "alertmanager" in spec and "secretRef" in spec and not account:
        told = "secretRef needs alertmanager.serviceAccountName: the account as which the Secret is read"
        yield Wrong("spec.secretRef", told)


def _of_metadata(metadata: Any) -> Iterator[Wrong]:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        yield Wrong("metadata", "Invalid value: must be of type object")
        return
    yield from _unknown(metadata, "metadata.", _METADATA)
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if name is not None and not (isinstance(name, str) and is_object_name(name)):
        yield Wrong("metadata.name", f"{_quoted(name)} is not a name of an object")
    if namespace is not None and not (isinstance(namespace, str) and is_dns_label(namespace)):
        yield Wrong("metadata.namespace", f"{_quoted(namespace)} is not a name of a namespace")
    for part in ("labels", "annotations"):
        given = metadata.get(part)
        for key, value in given.items() if isinstance(given, dict) else ():
            if not isinstance(value, str):
                yield Wrong(f"metadata.{part}.{key}", "Invalid value: must be of type string; put it in quotes")


def _unknown(value: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> Iterator[Wrong]:
    for key in value:
        if key not in known:
            path = f"{prefix}{key}"
            yield Wrong(path, unknown_field(path, key, list(known)))


def _quoted(value: Any) -> str:
    return texts.line(value if isinstance(value, str) else str(value))
