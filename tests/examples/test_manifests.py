"""Every shipped manifest is what it says it is."""

import json

import pytest

from incident_operator import connections
from incident_operator.actions import ACTIONS
from incident_operator.api.connection import Connection
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import compiler, reading
from tests.examples import shipped

SPECS = {"Runbook": reading.whole_spec(ACTIONS), "Connection": connections.whole_spec()}


def workloads():
    return shipped.of_kind("Deployment")


def named(objects):
    return [f"{each['metadata'].get('namespace', '')}/{each['metadata']['name']}" for each in objects]


@pytest.mark.parametrize("path", shipped.files(), ids=lambda path: str(path.relative_to(shipped.EXAMPLES)))
def test_a_file_holds_whole_kubernetes_objects(path):
    found = shipped.documents(path)
    assert found
    for document in found:
        assert {"apiVersion", "kind", "metadata"} <= document.keys()
        assert document["metadata"]["name"]


@pytest.mark.parametrize(
    "body", [*shipped.of_kind("Runbook"), *shipped.of_kind("Connection")], ids=lambda b: b["metadata"]["name"]
)
def test_a_model_keeps_every_field_that_is_written(body):
    """The models drop what they do not know, so a misspelt field would vanish here."""
    kept = SPECS[body["kind"]].model_validate(body["spec"]).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert lost(body["spec"], kept) == []


def lost(written, kept, path="spec"):
    """Paths that are written but not kept with the same value."""
    if isinstance(written, dict) and isinstance(kept, dict):
        gone = [f"{path}.{key}" for key in written if key not in kept]
        return gone + [
            each for key in written.keys() & kept.keys() for each in lost(written[key], kept[key], f"{path}.{key}")
        ]
    if isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        return [each for at, one in enumerate(written) for each in lost(one, kept[at], f"{path}[{at}]")]
    return [] if written == kept else [path]


@pytest.mark.parametrize("body", shipped.of_kind("Runbook"), ids=lambda body: body["metadata"]["name"])
def test_a_runbook_compiles_with_the_connections_beside_it(body):
    namespace = body["metadata"]["namespace"]
    found = [Connection.model_validate(each) for each in shipped.of_kind("Connection")]
    known = {each.metadata.name: each.spec.type for each in found if each.metadata.namespace == namespace}
    compiled = compiler.compile_runbook(Runbook.model_validate(body), known, ACTIONS)
    assert isinstance(compiled, compiler.Compiled), compiled


@pytest.mark.parametrize("body", shipped.of_kind("Runbook"), ids=lambda body: body["metadata"]["name"])
def test_a_runbook_acts_as_an_account_that_is_shipped_and_bound(body):
    account = {
        "kind": "ServiceAccount",
        "name": body["spec"]["serviceAccountName"],
        "namespace": body["metadata"]["namespace"],
    }
    accounts = {(each["metadata"]["name"], each["metadata"]["namespace"]) for each in shipped.of_kind("ServiceAccount")}
    assert (account["name"], account["namespace"]) in accounts
    assert any(account in each["subjects"] for each in shipped.of_kind("RoleBinding"))


def test_every_connection_secret_may_be_read_by_the_runbook_account_and_by_name_only():
    wanted = {each["spec"]["secretRef"]["name"] for each in shipped.of_kind("Connection")}
    rules = [rule for role in shipped.of_kind("Role") for rule in role["rules"] if rule["resources"] == ["secrets"]]
    assert [rule["verbs"] for rule in rules] == [["get"]]
    assert set(rules[0]["resourceNames"]) == wanted


def test_no_role_has_a_wildcard():
    rules = [rule for role in shipped.of_kind("Role") for rule in role["rules"]]
    assert rules
    assert "*" not in json.dumps(rules)


@pytest.mark.parametrize("body", workloads(), ids=named(workloads()))
def test_a_workload_pulls_nothing_and_runs_restricted(body):
    pod = body["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_no_secret_is_shipped():
    assert shipped.of_kind("Secret") == []
