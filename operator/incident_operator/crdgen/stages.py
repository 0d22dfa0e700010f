"""The steps of a Runbook as the definition and the docs have them: each stage allows what the compiler allows there.

Reads may stand everywhere, effects not where a stage only reads, an undo is for mitigations alone, and a probe is a read. The
definition has no references, so an action stands in it up to nine times. Each place is described while there is room: `kubectl apply`
keeps a definition in an annotation, and that is limited to 256 KiB.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from incident_operator.api import rules
from incident_operator.api.runbook import Stage
from incident_operator.core.action import Actions
from incident_operator.core.outcomes import Json
from incident_operator.core.runbooks import parsing
from incident_operator.core.runbooks.compiler_stages import READ_ONLY

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


def completed(model: Json, actions: Actions) -> Json:
    """Return the JSON schema of the kind Runbook with what each stage allows."""
    found = definitions(actions)
    step, stages = found.pop("Step"), found["RunbookSpec"]["properties"]
    for stage in Stage:
        found[f"Step of {stage.value}"] = _of_stage(step, stage, actions)
        stages[stage.value] = {**stages[stage.value], "items": {"$ref": f"#/$defs/Step of {stage.value}"}}
    return {**model, "$defs": {**model["$defs"], **found}}


def definitions(actions: Actions) -> Json:
    """Return the JSON schemas of the spec and of all that it refers to, by name; a step there has what any stage allows."""
    spec = parsing.whole_spec(actions).model_json_schema(by_alias=True)
    found = {"RunbookSpec": {key: value for key, value in spec.items() if key != "$defs"}, **spec["$defs"]}
    found["Undo"] = _carrying(found["Undo"], (each.key for each in actions if each.may_act), actions)
    found["Probe"] = _carrying(found["Probe"], (each.key for each in actions if each.may_read), actions)
    step = _carrying(found["Step"], (each.key for each in actions), actions)
    found["Step"] = _ruled(step, _undo_on(actions))
    return found


def shortened(structural: Json, actions: Actions) -> Json:
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
    return {**made, "properties": kept, **rules.validations(*own)}


_RULES = "x-kubernetes-validations"


def _carrying(carrier: Json, allowed: Iterable[str], actions: Actions) -> Json:
    """Return the schema of what carries one of the allowed actions; these come first in it."""
    keys, every = list(allowed), {each.key for each in actions}
    fields = carrier["properties"]
    ordered = [*keys, *(key for key in fields if key not in every)]
    own = [rule for rule in carrier.get(_RULES, []) if rule["message"] != "exactly one action"]
    properties = {key: fields[key] for key in ordered}
    return {**carrier, "properties": properties, **rules.validations(rules.exactly_one("action", keys), *own)}


def _ruled(carrier: Json, rule: Json) -> Json:
    return {**carrier, **rules.validations(*carrier[_RULES], rule)}


def _undo_on(actions: Actions) -> Json:
    natural = "".join(f" || has(self.{each.key})" for each in actions if each.naturally_undoable)
    said = "undoOn says when to undo, but this step has no undo"
    return rules.rule(f"!has(self.undoOn) || has(self.undo){natural}", said)


def _without_descriptions(node: Any) -> Any:
    """Return a schema without descriptions; a property that is called so stays."""
    if isinstance(node, list):
        return [_without_descriptions(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "description" or not isinstance(value, str)}
    return {key: _without_descriptions(value) for key, value in kept.items()}
