"""Whether the operator notices that the policies which make approvals trustworthy are missing or weakened."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from incident_operator import policies
from incident_operator.engine import readiness
from tests.approval_policy import people
from tests.approval_policy.scenario import Scenario

Json = dict[str, Any]
Bend = Callable[[Json], None]

GUARDS = policies.guards(people.OPERATOR)
APPROVAL, APPROVAL_BINDING, STATUS, EDITOR = GUARDS[0], GUARDS[1], GUARDS[2], GUARDS[4]


def _set(path: str, value: Any) -> Bend:
    *parents, last = path.split(".")

    def bend(spec: Json) -> None:
        node: Any = spec
        for parent in parents:
            node = node[int(parent)] if parent.isdigit() else node[parent]
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value

    return bend


def _drop(key: str, index: int) -> Bend:
    return lambda spec: spec[key].pop(index)


EXEMPTION = [{"name": "not-mallory", "expression": "request.userInfo.username != 'mallory'"}]
EXCLUDED = {
    "apiGroups": ["incidents.dev"],
    "apiVersions": ["v1alpha1"],
    "operations": ["UPDATE"],
    "resources": ["incidents"],
}
RULE = "matchConstraints.resourceRules.0"
WEAKENINGS = [
    ("a failing policy lets requests pass", APPROVAL, _set("failurePolicy", "Ignore"), "spec.failurePolicy was added"),
    ("somebody is exempt", STATUS, _set("matchConditions", EXEMPTION), "spec.matchConditions was added"),
    ("somebody is exempt too", APPROVAL, lambda spec: spec["matchConditions"].extend(EXEMPTION), "spec.matchConditions is not"),
    ("more is let pass unseen", APPROVAL, _set("matchConditions.0.expression", "false"), "spec.matchConditions[0].expression is not"),
    ("an edit is let pass unseen", EDITOR, _set("matchConditions.0.expression", "false"), "spec.matchConditions[0].expression is not"),
    ("a namespace is exempt", APPROVAL, _set("matchConstraints.namespaceSelector", {"matchLabels": {"a": "b"}}),
     "spec.matchConstraints.namespaceSelector was added"),
    ("an object is exempt", APPROVAL, _set("matchConstraints.objectSelector", {"matchLabels": {"a": "b"}}),
     "spec.matchConstraints.objectSelector was added"),
    ("other versions are exempt", APPROVAL, _set("matchConstraints.matchPolicy", "Exact"),
     "spec.matchConstraints.matchPolicy was added"),
    ("resources are excluded", APPROVAL, _set("matchConstraints.excludeResourceRules", [EXCLUDED]),
     "spec.matchConstraints.excludeResourceRules was added"),
    ("creation is exempt", APPROVAL, _set(f"{RULE}.operations", ["UPDATE"]), "spec.matchConstraints.resourceRules[0].operations"),
    ("a rule is looser", APPROVAL, _set("validations.0.expression", "true"), "spec.validations[0].expression is not"),
    ("a variable is looser", APPROVAL, _set("variables.0.expression", "'x'"), "spec.variables[0].expression is not"),
    ("a rule is gone", APPROVAL, _drop("validations", 0), "spec.validations is not"),
    ("parameters decide", APPROVAL, _set("paramKind", {"apiVersion": "v1", "kind": "ConfigMap"}), "spec.paramKind was added"),
    ("another operator is trusted", STATUS, _set("validations.0.expression", "request.userInfo.username == 'eve'"),
     "spec.validations[0].expression is not"),
    ("who edits a runbook leaves the others out", EDITOR, _set("variables.10.expression", "variables.caller"),
     "spec.variables[10].expression is not"),
    ("editors review", EDITOR, _drop("validations", 9), "spec.validations is not"),
    ("the binding only warns", APPROVAL_BINDING, _set("validationActions", ["Warn"]), "spec.validationActions is not"),
    ("the binding binds elsewhere", APPROVAL_BINDING, _set("policyName", "other"), "spec.policyName is not"),
    ("the binding is for one namespace", APPROVAL_BINDING,
     _set("matchResources", {"namespaceSelector": {"matchLabels": {"a": "b"}}}), "spec.matchResources was added"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "guard", "bend", "says"), WEAKENINGS, ids=[row[0] for row in WEAKENINGS])
def test_a_weakened_policy_is_noticed(sentence: str, guard: policies.Guard, bend: Bend, says: str) -> None:
    live = copy.deepcopy(guard.manifest)
    bend(live["spec"])
    found = readiness.weakened(live, guard.manifest)
    assert found is not None
    assert found.startswith(f"{guard.manifest['kind']} {guard.manifest['metadata']['name']}: {says}")


def test_a_missing_policy_is_noticed() -> None:
    name = APPROVAL.manifest["metadata"]["name"]
    assert readiness.weakened(None, APPROVAL.manifest) == f"ValidatingAdmissionPolicy {name} is missing"


def test_a_policy_without_a_spec_is_noticed() -> None:
    assert readiness.weakened({"metadata": {}}, APPROVAL.manifest) is not None


@pytest.mark.parametrize(
    ("guard", "bend", "says"),
    [
        (APPROVAL, lambda spec: spec.pop("validations"), "spec.validations was taken away"),
        (APPROVAL_BINDING, _set("validationActions", {"Deny": "yes"}), "spec.validationActions is not"),
        (APPROVAL_BINDING, _set("validationActions", "xx"), "spec.validationActions is not"),
        (APPROVAL_BINDING, _set("policyName", list(APPROVAL.manifest["metadata"]["name"])), "spec.policyName is not"),
    ],
)
def test_what_no_apiserver_would_store_is_noticed_too(guard: policies.Guard, bend: Bend, says: str) -> None:
    live = copy.deepcopy(guard.manifest)
    bend(live["spec"])
    found = readiness.weakened(live, guard.manifest)
    assert found is not None
    assert found.partition(": ")[2].startswith(says)


@pytest.mark.parametrize(
    "bend",
    [
        _set("failurePolicy", "Fail"),
        _set("matchConstraints.matchPolicy", "Equivalent"),
        lambda spec: spec["matchConstraints"]["resourceRules"][0].pop("scope"),
        _set(f"{RULE}.resourceNames", []),
        _set("matchConstraints.objectSelector", {}),
        _set("paramKind", None),
    ],
)
def test_what_the_apiserver_fills_in_or_leaves_out_is_no_difference(bend: Bend) -> None:
    live = copy.deepcopy(APPROVAL.manifest)
    bend(live["spec"])
    assert readiness.weakened(live, APPROVAL.manifest) is None


def test_no_conditions_and_an_empty_list_of_them_are_the_same() -> None:
    live = copy.deepcopy(STATUS.manifest)
    live["spec"]["matchConditions"] = []
    assert readiness.weakened(live, STATUS.manifest) is None


def test_a_missing_selector_and_an_empty_one_are_the_same() -> None:
    live = copy.deepcopy(APPROVAL.manifest)
    del live["spec"]["matchConstraints"]["namespaceSelector"]
    assert readiness.weakened(live, APPROVAL.manifest) is None


@pytest.mark.parametrize("name", ["", "o'brien", "a\\b", "a\nb"])
def test_a_user_name_that_would_end_its_quotation_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a user name that a policy can hold"):
        policies.guards(name)


@pytest.mark.cluster
async def test_the_policies_in_place_are_what_the_operator_ships(scenario: Scenario) -> None:
    admin = await scenario.client(people.ADMIN)
    for guard in GUARDS:
        assert readiness.weakened(await admin.get(guard.path), guard.manifest) is None


@pytest.mark.cluster
async def test_the_expressions_are_sound_in_the_eyes_of_the_apiserver(scenario: Scenario) -> None:
    admin = await scenario.client(people.ADMIN)
    collection = APPROVAL.path.rpartition("/")[0]
    limiting = [f"{collection}/{file.removesuffix('.yaml')}.incidents.dev" for file in policies.LIMITING]
    for path in [*(guard.path for guard in GUARDS), *limiting]:
        assert (await admin.get(path)).get("status", {}).get("typeChecking", {}) == {}, path


@pytest.mark.cluster
@pytest.mark.parametrize(("sentence", "guard", "bend", "says"), WEAKENINGS, ids=[row[0] for row in WEAKENINGS])
async def test_what_the_apiserver_would_store_of_it_is_noticed_too(
    scenario: Scenario, sentence: str, guard: policies.Guard, bend: Bend, says: str
) -> None:
    admin = await scenario.client(people.ADMIN)
    weaker = copy.deepcopy(guard.manifest)
    bend(weaker["spec"])
    stored = await admin.json_patch(guard.path, [{"op": "add", "path": "/spec", "value": weaker["spec"]}], dry_run=True)
    assert readiness.weakened(stored, guard.manifest) is not None
