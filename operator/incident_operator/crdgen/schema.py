"""The schemas of the definitions, and how files are made templates of the chart. Pure.

A structural schema is what Kubernetes wants of a definition: what it cannot say is an error that names the field, never a silent loss.

Each stage of a Runbook allows what the compiler allows there: reads may stand everywhere, effects not where a stage only reads, an undo is
for mitigations alone, and a probe is a read. A definition has no references, so an action stands in it up to nine times. Each place is
described while there is room: `kubectl apply` keeps a definition in an annotation, and that is limited to 256 KiB.

crds/ and the chart carry the same, with what the chart's values decide templated: whether definitions are installed, whether they outlive
the release, and the operator's name.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from incident_operator import policies
from incident_operator.api import meta
from incident_operator.api.runbook import Stage
from incident_operator.core.action import Actions
from incident_operator.core.outcomes import Json
from incident_operator.core.runbooks import reading
from incident_operator.core.runbooks.checks import READ_ONLY

DEFAULT_OPERATOR = "system:serviceaccount:incident-operator-system:incident-operator"
"""The operator's user name in the plain manifests; the chart computes its own."""

_TEMPLATED_OPERATOR = '{{ include "incident-operator.username" . }}'
_TEMPLATED_LABELS = 'metadata:\n  labels:\n    {{- include "incident-operator.labels" . | nindent 4 }}\n'
_ENABLED = "{{- if .Values.policies.enabled }}\n"
_STAMPS_SERVED = (
    "{{- if and .Values.policies.enabled"
    ' (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") }}\n'
)
_END = "{{- end }}\n"
_LABELS = '  labels:\n    {{- include "incident-operator.labels" . | nindent 4 }}\n'
_KEEP = (
    "  {{- if .Values.crds.keep }}\n"
    "  annotations:\n"
    "    helm.sh/resource-policy: keep\n"
    "  {{- end }}\n"
)  # fmt: skip


def plain_policy(text: str) -> str:
    """Return a policy file for `kubectl apply`, trusting the default operator."""
    return text.replace(policies.OPERATOR, DEFAULT_OPERATOR)


def policy_template(file: str) -> str:
    """Return a policy file as a chart template, trusting the release's own service account.

    Raises ValueError where the source holds what the template language would interpret.
    """
    text = policies.text(file)
    if "{{" in text:
        raise ValueError(f"{file}: '{{{{' would be read as a template action")
    labelled = text.replace("metadata:\n", _TEMPLATED_LABELS)
    opening = _STAMPS_SERVED if file == policies.STAMPING else _ENABLED
    return opening + labelled.replace(policies.OPERATOR, _TEMPLATED_OPERATOR) + _END


def definition_template(text: str) -> str:
    """Return a CRD manifest as a chart template.

    Raises ValueError where a description holds what the template language would interpret.
    """
    if "{{" in text:
        raise ValueError("a description holds '{{', which would be read as a template action")
    labelled = text.replace("metadata:\n", f"metadata:\n{_LABELS}{_KEEP}", 1)
    return "{{- if .Values.crds.enabled }}\n" + labelled + _END


_RULES = "x-kubernetes-validations"
_ACTING = frozenset(Stage) - READ_ONLY
_MITIGATE = frozenset({Stage.MITIGATE})
_ONLY_IN: Mapping[str, frozenset[Stage]] = {
    "undo": _MITIGATE,
    "undoOn": _MITIGATE,
    "protective": _MITIGATE,
    "probe": _ACTING,
    "approval": _ACTING,
}
"""Fields of a step that mean something in some stages only; any other means something in all."""
_ROOM = 150_000
"""Bytes of a definition that repeats every description."""


def with_actions(model: Json, actions: Actions) -> Json:
    """Return the JSON schema of the kind Runbook with what each stage allows."""
    found = action_definitions(actions)
    step, stages = found.pop("Step"), found["RunbookSpec"]["properties"]
    for stage in Stage:
        allowed = [each.key for each in actions if each.may_read or stage not in READ_ONLY]
        made = _carrying(step, allowed, actions)
        gone = {field for field, where in _ONLY_IN.items() if stage not in where}
        kept = {key: value for key, value in made["properties"].items() if key not in gone}
        own = [rule for rule in made[_RULES] if rule != _undo_on(actions) or "undoOn" in kept]
        found[f"Step of {stage.value}"] = {**made, "properties": kept, **meta.validations(*own)}
        stages[stage.value] = {**stages[stage.value], "items": {"$ref": f"#/$defs/Step of {stage.value}"}}
    return {**model, "$defs": {**model["$defs"], **found}}


def action_definitions(actions: Actions) -> Json:
    """Return the JSON schemas of the spec and of all that it refers to, by name; a step there has what any stage allows."""
    spec = reading.whole_spec(actions).model_json_schema(by_alias=True)
    found = {"RunbookSpec": {key: value for key, value in spec.items() if key != "$defs"}, **spec["$defs"]}
    found["Undo"] = _carrying(found["Undo"], (each.key for each in actions if each.may_act), actions)
    found["Probe"] = _carrying(found["Probe"], (each.key for each in actions if each.may_read), actions)
    step = _carrying(found["Step"], (each.key for each in actions), actions)
    found["Step"] = {**step, **meta.validations(*step[_RULES], _undo_on(actions))}
    return found


def shortened_stages(structural: Json, actions: Actions) -> Json:
    """Return the structural schema of the kind Runbook; where it is long, with each action described at its first place only."""
    if len(json.dumps(structural, separators=(",", ":"))) < _ROOM:
        return structural
    spec = structural["properties"]["spec"]
    told: set[str] = set()
    steps = [spec["properties"][stage.value]["items"] for stage in Stage]
    places = [
        *steps,
        *(step["properties"][part] for part in ("undo", "probe") for step in steps if part in step["properties"]),
    ]
    for place in places:
        for action in actions:
            if action.key in told and action.key in place["properties"]:
                place["properties"][action.key] = _without_descriptions(place["properties"][action.key])
        told |= place["properties"].keys()
    return structural


def _carrying(carrier: Json, allowed: Iterable[str], actions: Actions) -> Json:
    """Return the schema of what carries one of the allowed actions; these come first in it."""
    keys, every = list(allowed), {each.key for each in actions}
    fields = carrier["properties"]
    ordered = [*keys, *(key for key in fields if key not in every)]
    own = [rule for rule in carrier.get(_RULES, []) if rule["message"] != "exactly one action"]
    properties = {key: fields[key] for key in ordered}
    return {**carrier, "properties": properties, **meta.validations(meta.exactly_one("action", keys), *own)}


def _undo_on(actions: Actions) -> Json:
    natural = "".join(f" || has(self.{each.key})" for each in actions if each.naturally_undoable)
    said = "undoOn says when to undo, but this step has no undo"
    return meta.rule(f"!has(self.undoOn) || has(self.undo){natural}", said)


def _without_descriptions(node: Any) -> Any:
    """Return a schema without descriptions; a property that is called so stays."""
    if isinstance(node, list):
        return [_without_descriptions(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "description" or not isinstance(value, str)}
    return {key: _without_descriptions(value) for key, value in kept.items()}


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
            name = node["$ref"].rsplit("/", 1)[-1]
            if name in inside:
                raise SchemaError(f"{path}: {name} contains itself; a structural schema has no recursion")
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            return self.rewrite({**self._definitions[name], **siblings}, path, inside | {name})
        if node.get("x-kubernetes-int-or-string"):
            return _kept({key: value for key, value in node.items() if key != "anyOf"}, path)
        if "anyOf" in node:
            # absence, not null, is how Kubernetes says "not set"
            members = [member for member in node["anyOf"] if member.get("type") != "null"]
            if len(members) != 1:
                told = f"a union of {len(members)} types; use optional fields and a CEL rule instead"
                raise SchemaError(f"{path}: {told}")
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return self.rewrite({**members[0], **rest}, path, inside)
        if "const" in node:
            node = {"enum": [node["const"]], **{key: value for key, value in node.items() if key != "const"}}
        return _freed(_kept(self._children(node, path, inside), path))

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


def _kept(node: Json, path: str) -> Json:
    unknown = [key for key in node if key not in _KEPT | _DROPPED and not key.startswith("x-kubernetes-")]
    if unknown:
        raise SchemaError(f"{path}: a structural schema has no {', '.join(unknown)}")
    if node.get("format") in _FORBIDDEN_FORMATS:
        raise SchemaError(f"{path}: {_FORBIDDEN_FORMATS[node['format']]}")
    kept = {key: value for key, value in node.items() if key not in _DROPPED}
    if not kept.get("default", True):
        del kept["default"]  # it says no more than absence does, and stored objects stay short
    # an exclusive bound is a number in JSON Schema, a flag beside the bound in Kubernetes
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in kept:
            kept[bound], kept[exclusive] = kept[exclusive], True
    return kept


def _freed(node: Json) -> Json:
    """Mark what may hold any JSON, which Kubernetes would prune otherwise."""
    if "type" not in node and "enum" not in node:
        return {**node, "x-kubernetes-preserve-unknown-fields": True}
    if node.get("additionalProperties") is True:
        named = {key: value for key, value in node.items() if key != "additionalProperties"}
        return {**named, "x-kubernetes-preserve-unknown-fields": True}
    return {key: value for key, value in node.items() if key != "additionalProperties" or value is not False}
