"""JSON schemas for editors, of the kinds that people write: from the definitions, which editors cannot read themselves.

`# yaml-language-server: $schema=…` on the first line of a manifest names one. Unknown fields are wrong in them, as they are to the apiserver.
"""

import json
from collections.abc import Iterable
from typing import Any

from incident_operator.api.meta import API_VERSION
from incident_operator.core.outcomes import Json
from incident_operator.crdgen.kinds import Kind

DRAFT = "http://json-schema.org/draft-07/schema#"
"""What yaml-language-server and other editors read without being told."""
_FREE = "x-kubernetes-preserve-unknown-fields"
_EITHER = "x-kubernetes-int-or-string"
_RULES = "x-kubernetes-validations"
_CLUSTER = "x-kubernetes-"


def schema(kind: Kind, definition: Json, actions: Iterable[str]) -> str:
    """Return the JSON schema of a kind as text; `actions` are the keys of which a step, undo or probe carries exactly one."""
    stored = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = stored["properties"]
    described = {name: {"description": fields[name]["description"]} for name in ("apiVersion", "kind")}
    properties = {
        "apiVersion": {"const": API_VERSION, **described["apiVersion"]},
        "kind": {"const": kind.name, **described["kind"]},
        "metadata": {"type": "object", "description": "Name, namespace, labels and annotations, as of any object."},
        "spec": _rewritten(fields["spec"], tuple(actions)),
        "status": {"type": "object", "description": "The operator's; not for people to write."},
    }
    whole = {
        "$schema": DRAFT,
        "title": kind.name,
        "description": stored["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": properties,
        "additionalProperties": False,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _rewritten(node: Json, actions: tuple[str, ...]) -> Json:
    kept: Json = {key: value for key, value in node.items() if not key.startswith(_CLUSTER)}
    if node.get(_EITHER):
        kept["type"] = ["integer", "string"]
    if "properties" in node:
        kept["properties"] = {name: _rewritten(each, actions) for name, each in node["properties"].items()}
        if not node.get(_FREE) and "additionalProperties" not in node:
            kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            kept[key] = _rewritten(node[key], actions)
    return {**_bounds(kept), **_one_action(node, actions)}


def _bounds(node: Json) -> Json:
    """Rewrite exclusive bounds back: a flag in Kubernetes, a number in JSON Schema."""
    rewritten = dict(node)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if rewritten.get(exclusive) is True:
            rewritten[exclusive] = rewritten.pop(bound)
    return rewritten


def _one_action(node: Json, actions: tuple[str, ...]) -> dict[str, Any]:
    """Return the rule that exactly one action is written, where the definition has it."""
    if not any(each["message"] == "exactly one action" for each in node.get(_RULES, [])):
        return {}
    return {"oneOf": [{"required": [key]} for key in actions if key in node["properties"]]}
