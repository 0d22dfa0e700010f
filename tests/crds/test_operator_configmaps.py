"""Which ConfigMaps the operator's own account may write, as the shipped expressions say; evaluated here, without an apiserver."""

from typing import Any

import pytest
import yaml
from cel_expr_python import cel

from incident_operator import policies
from incident_operator.crdgen.schema import DEFAULT_OPERATOR, plain_policy

POLICY, BINDING = yaml.safe_load_all(plain_policy(policies.text("operator-configmaps.yaml")))
INCIDENT = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "name": "pack-1", "uid": "u"}
POD = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}
ANOTHER_GROUP = {**INCIDENT, "apiVersion": "incidents.dev.evil.example/v1"}
RUNBOOK = {**INCIDENT, "kind": "Runbook"}


def evaluated(expression: str, request: dict[str, str], new: Any, old: Any) -> Any:
    names = ("request", "object", "oldObject")
    environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))
    data = dict(zip(names, (request, new, old), strict=True))
    return environment.compile(expression).eval(data=data).value()


def allowed(operation: str, new: Any, old: Any, user: str = DEFAULT_OPERATOR) -> bool:
    request = {"operation": operation, "userInfo": {"username": user}}
    spec = POLICY["spec"]
    matched = all(evaluated(each["expression"], request, new, old) is True for each in spec["matchConditions"])
    return not matched or all(evaluated(each["expression"], request, new, old) is True for each in spec["validations"])


def owned_by(*owners: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "nginx-report", "namespace": "prod"}
    return {"metadata": metadata | ({"ownerReferences": list(owners)} if owners else {}), "data": {"a": "b"}}


FREE, OURS = owned_by(), owned_by(INCIDENT)


@pytest.mark.parametrize(
    ("operation", "new", "old", "may"),
    [
        ("CREATE", OURS, None, True),
        ("CREATE", FREE, None, False),
        ("CREATE", owned_by(POD), None, False),
        ("CREATE", owned_by(RUNBOOK), None, False),
        ("CREATE", owned_by(ANOTHER_GROUP), None, False),
        ("CREATE", owned_by(POD, INCIDENT), None, True),
        ("UPDATE", OURS, OURS, True),
        ("UPDATE", FREE, FREE, False),
        ("UPDATE", OURS, FREE, False),
        ("UPDATE", FREE, OURS, False),
        ("UPDATE", owned_by(POD), owned_by(POD), False),
        ("DELETE", None, OURS, True),
        ("DELETE", None, FREE, False),
    ],
)
def test_the_operator_writes_only_configmaps_that_an_incident_owns(
    operation: str, new: Any, old: Any, may: bool
) -> None:
    assert allowed(operation, new, old) is may


def test_nobody_else_is_held_by_it() -> None:
    assert allowed("UPDATE", FREE, FREE, user="bob@example.com")
    assert allowed("CREATE", FREE, None, user="system:serviceaccount:prod:incident-operator")


def test_it_denies_in_every_namespace_and_where_it_cannot_be_evaluated() -> None:
    spec = POLICY["spec"]
    assert (spec["failurePolicy"], BINDING["spec"]["validationActions"]) == ("Fail", ["Deny", "Audit"])
    assert BINDING["spec"] == {"policyName": POLICY["metadata"]["name"], "validationActions": ["Deny", "Audit"]}
    assert spec["matchConstraints"]["namespaceSelector"] == spec["matchConstraints"]["objectSelector"] == {}
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["apiGroups"], rule["resources"], rule["scope"]) == ([""], ["configmaps"], "*")
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}


def test_no_approval_depends_on_it() -> None:
    names = {guard.manifest["metadata"]["name"] for guard in policies.guards(DEFAULT_OPERATOR)}
    assert POLICY["metadata"]["name"] not in names
