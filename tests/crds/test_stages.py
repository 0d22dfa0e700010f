"""Each stage of the definition allows what the compiler allows there, and both say the same of every action."""

import json

import pytest
from pydantic import create_model

from incident_operator.actions import ACTIONS
from incident_operator.actions.exec import Exec
from incident_operator.actions.exec import Result as ExecResult
from incident_operator.api.runbook import Runbook, Stage
from incident_operator.core.action import Action
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiler import Compiled, compile_runbook
from incident_operator.crdgen import kinds

EXAMPLES = {
    "logs": [{"from": "deployment/web"}],
    "get": [{"apiVersion": "v1", "kind": "Pod", "name": "web"}],
    "promql": [{"connection": "metrics", "query": "up"}],
    "http": [{"connection": "api"}, {"connection": "api", "method": "POST"}],
    "sqlQuery": [{"connection": "db", "statement": "SELECT 1"}],
    "sqlExecute": [{"connection": "db", "statement": "UPDATE t SET a = 1", "maxRows": 1}],
    "scale": [{"target": "deployment/web", "replicas": 3}],
    "job": [{"from": "deployment/web"}],
    "exec": [{"target": "pod/web", "command": ["true"]}],
}
"""One step of each effect class that an action can have."""
NATURALLY_UNDOABLE = {"scale"}
READS = {"logs", "get", "promql", "http", "sqlQuery"}
EFFECTS = {"http", "sqlExecute", "scale", "job", "exec"}
EVERYTHING = READS | EFFECTS
UNKEYED = {"exec": {"target": "pod/web", "command": ["true"]}}
UNDO = {"sqlExecute": EXAMPLES["sqlExecute"][0]}
ALLOWED = {
    Stage.DIAGNOSE: (READS, set(), set()),
    Stage.MITIGATE: (EVERYTHING, EFFECTS, READS),
    Stage.REMEDIATE: (EVERYTHING, set(), READS),
    Stage.VERIFY: (READS, set(), set()),
    Stage.RESTORE: (EVERYTHING, set(), READS),
}
"""Stage → the actions of its steps, of their undos, and of their probes."""


def schema_of(stage, kind=kinds.RUNBOOK):
    whole = kinds.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return whole["properties"]["spec"]["properties"][stage.value]["items"]


def carried(node):
    """The actions that a place of the definition takes, and those that its rule lets through."""
    written = {action.key for action in ACTIONS if action.key in node.get("properties", {})}
    rule = next(
        (each["rule"] for each in node.get("x-kubernetes-validations", []) if "exactly one action" in each["message"]),
        "",
    )
    assert written == {action.key for action in ACTIONS if f"has(self.{action.key})" in rule}
    return written


def compiles(stage, step):
    proves = {"expect": "size(result) > 0"} if stage is Stage.VERIFY else {}
    spec = {
        "title": "t",
        "serviceAccountName": "rb",
        "match": ["a=b"],
        stage.value: [{"name": "one", **proves, **step}],
    }
    return isinstance(compile_runbook(Runbook.model_validate({"spec": spec}), None, ACTIONS), Compiled)


def acting(stage, key):
    """Steps of an action; in mitigate one may always be protective, where that is what lets it stand there."""
    steps = [{key: example} for example in EXAMPLES[key]]
    return [*steps, *({**step, "protective": True} for step in steps if stage is Stage.MITIGATE)]


def test_there_is_an_example_of_every_action():
    assert set(EXAMPLES) == {action.key for action in ACTIONS}
    for action in ACTIONS:
        assert {action.effect_of(action.model.model_validate(each)) for each in EXAMPLES[action.key]} <= action.effects


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_takes_the_actions_that_the_compiler_takes_there(stage):
    steps, undos, probes = ALLOWED[stage]
    node = schema_of(stage)
    assert carried(node) == steps
    assert carried(node["properties"].get("undo", {})) == undos
    assert carried(node["properties"].get("probe", {})) == probes
    assert {key for key in EXAMPLES if any(compiles(stage, step) for step in acting(stage, key))} == steps


@pytest.mark.parametrize("stage", Stage)
def test_the_compiler_takes_those_undos_and_probes_too(stage):
    _, undos, probes = ALLOWED[stage]
    undone = {
        key
        for key, specs in EXAMPLES.items()
        if any(compiles(stage, {**UNKEYED, "undo": {key: spec}}) for spec in specs)
    }
    guard = {"protective": True} if stage is Stage.MITIGATE else {}
    probed = {
        key
        for key, specs in EXAMPLES.items()
        if any(compiles(stage, {**UNKEYED, **guard, "probe": {key: spec, "expect": "true"}}) for spec in specs)
    }
    assert (undone, probed) == (undos, probes)


ACTING = {Stage.MITIGATE, Stage.REMEDIATE, Stage.RESTORE}


@pytest.mark.parametrize(
    ("field", "stages"),
    [
        ("undo", {Stage.MITIGATE}),
        ("undoOn", {Stage.MITIGATE}),
        ("protective", {Stage.MITIGATE}),
        ("approval", ACTING),
        ("probe", ACTING),
        ("timeout", set(Stage)),
        ("until", set(Stage)),
    ],
)
def test_a_field_is_in_the_stages_where_it_means_something(field, stages):
    assert {stage for stage in Stage if field in schema_of(stage)["properties"]} == stages


@pytest.mark.parametrize("stage", Stage)
def test_the_compiler_refuses_the_fields_that_the_definition_leaves_out(stage):
    """But for undoOn, which is read in mitigate alone and has a default everywhere."""
    key = "sqlExecute" if stage in ACTING else "get"
    step = {key: EXAMPLES[key][0]}
    written = {"protective": True, "approval": {}}
    fields = schema_of(stage)["properties"]
    assert [compiles(stage, {**step, name: value}) for name, value in written.items()] == [
        name in fields and (stage is not Stage.MITIGATE or name == "protective") for name in written
    ]


def test_what_undoes_itself_may_say_when_without_an_undo():
    rules = {each["message"]: each["rule"] for each in schema_of(Stage.MITIGATE)["x-kubernetes-validations"]}
    rule = rules["undoOn says when to undo, but this step has no undo"]
    assert rule == " || ".join(
        ["!has(self.undoOn)", "has(self.undo)", *(f"has(self.{key})" for key in NATURALLY_UNDOABLE)]
    )
    assert {action.key for action in ACTIONS if action.naturally_undoable} == NATURALLY_UNDOABLE


def size(actions):
    return len(json.dumps(kinds.definition(kinds.runbook_kind(actions)), separators=(",", ":")).encode())


def made(number, effect):
    """An action as large as exec, the largest by its descriptions."""
    model = create_model(f"Made{number}", __base__=Exec, __doc__=Exec.__doc__)
    return Action(f"made{number}", model, ExecResult, effect=effect, rights="")


def test_the_definition_leaves_room_for_many_more_actions():
    effects = [made(number, Effect.UNKEYED) for number in range(30)]
    reads = [made(number, Effect.READ) for number in range(30, 40)]
    assert size(ACTIONS) < 130_000
    assert size((*ACTIONS, *effects, *reads)) < 240_000


def test_an_action_is_described_everywhere_while_there_is_room_and_else_at_its_first_place_only():
    many = (*ACTIONS, *(made(number, Effect.UNKEYED) for number in range(30)))
    for catalogue, again in ((ACTIONS, True), (many, False)):
        kind = kinds.runbook_kind(catalogue)
        first, second = (schema_of(stage, kind)["properties"]["scale"] for stage in (Stage.MITIGATE, Stage.REMEDIATE))
        assert "description" in first
        assert ("description" in json.dumps(second)) is again
        assert first["properties"].keys() == second["properties"].keys()
