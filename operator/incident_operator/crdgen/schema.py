"""Rewrites a pydantic JSON schema into the structural schema that Kubernetes wants. Pure; knows no kind.

What a structural schema cannot say is an error that names the field, never a silent loss.

CRDs and approval policies as crds/ and the chart carry them: one source, with what the chart's values decide templated.

A value decides whether the CRDs are installed, another whether they outlive the release; the operator's name is filled in.

The steps of a Runbook as the definition and the docs have them: each stage allows what the compiler allows there.

Reads may stand everywhere, effects not where a stage only reads, an undo is for mitigations alone, and a probe is a read. The
definition has no references, so an action stands in it up to nine times. Each place is described while there is room: `kubectl apply`
keeps a definition in an annotation, and that is limited to 256 KiB.
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
        found[f"Step of {stage.value}"] = _of_stage(step, stage, actions)
        stages[stage.value] = {**stages[stage.value], "items": {"$ref": f"#/$defs/Step of {stage.value}"}}
    return {**model, "$defs": {**model["$defs"], **found}}


def action_definitions(actions: Actions) -> Json:
    """Return the JSON schemas of the spec and of all that it refers to, by name; a step there has what any stage allows."""
    spec = reading.whole_spec(actions).model_json_schema(by_alias=True)
    found = {"RunbookSpec": {key: value for key, value in spec.items() if key != "$defs"}, **spec["$defs"]}
    found["Undo"] = _carrying(found["Undo"], (each.key for each in actions if each.may_act), actions)
    found["Probe"] = _carrying(found["Probe"], (each.key for each in actions if each.may_read), actions)
    step = _carrying(found["Step"], (each.key for each in actions), actions)
    found["Step"] = _ruled(step, _undo_on(actions))
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


def _of_stage(step: Json, stage: Stage, actions: Actions) -> Json:
    allowed = [each.key for each in actions if each.may_read or stage not in READ_ONLY]
    made = _carrying(step, allowed, actions)
    gone = {field for field, stages in _ONLY_IN.items() if stage not in stages}
    kept = {key: value for key, value in made["properties"].items() if key not in gone}
    undo_on = _undo_on(actions)
    own = [rule for rule in made[_RULES] if rule != undo_on or "undoOn" in kept]
    return {**made, "properties": kept, **meta.validations(*own)}


_RULES = "x-kubernetes-validations"


def _carrying(carrier: Json, allowed: Iterable[str], actions: Actions) -> Json:
    """Return the schema of what carries one of the allowed actions; these come first in it."""
    keys, every = list(allowed), {each.key for each in actions}
    fields = carrier["properties"]
    ordered = [*keys, *(key for key in fields if key not in every)]
    own = [rule for rule in carrier.get(_RULES, []) if rule["message"] != "exactly one action"]
    properties = {key: fields[key] for key in ordered}
    return {**carrier, "properties": properties, **meta.validations(meta.exactly_one("action", keys), *own)}


def _ruled(carrier: Json, rule: Json) -> Json:
    return {**carrier, **meta.validations(*carrier[_RULES], rule)}


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
