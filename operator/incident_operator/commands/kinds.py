"""The operator's kinds as `check` knows them: how they are written, and what their specs may hold."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from incident_operator import connections
from incident_operator.actions import ACTIONS
from incident_operator.api.meta import API_VERSION, GROUP, is_dns_label, is_object_name
from incident_operator.commands import schema_words
from incident_operator.commands.schema_words import Way
from incident_operator.core import texts
from incident_operator.core.expressions import problems
from incident_operator.core.runbooks import parsing

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
    spec, dropped = schema_words.without_empty(model, value.get("spec"))
    told = "is empty, which is the same as leaving it out"
    return {**value, "spec": spec}, [Wrong(problems.field("spec", way), told) for way in dropped]


def spec_problems(value: Mapping[str, Any]) -> list[Wrong]:
    """Return what the apiserver would refuse of the spec of an object; nothing for a kind that there is not."""
    model, spec = _model(value), value.get("spec")
    if model is None:
        return []
    if spec is None:
        return [Wrong("spec", "Required value")]
    found = schema_words.wrong_fields(model, spec, "spec")
    wrong = [Wrong(each.path, each.message, way=each.way) for each in found]
    return wrong if wrong or value.get("kind") != "Connection" else [*_members(spec)]


def _model(value: Mapping[str, Any]) -> type[pydantic.BaseModel] | None:
    match value.get("kind"):
        case "Runbook":
            return parsing.whole_spec(ACTIONS)
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
        yield from _not_texts(metadata.get(part), f"metadata.{part}")


def _not_texts(given: Any, path: str) -> Iterator[Wrong]:
    entries = given.items() if isinstance(given, dict) else ()
    for key, value in entries:
        if not isinstance(value, str):
            yield Wrong(f"{path}.{key}", "Invalid value: must be of type string; put it in quotes")


def _unknown(value: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> Iterator[Wrong]:
    for key in value:
        if key not in known:
            path = f"{prefix}{key}"
            yield Wrong(path, schema_words.unknown_field(path, key, list(known)))


def _quoted(value: Any) -> str:
    return texts.line(value if isinstance(value, str) else str(value))
