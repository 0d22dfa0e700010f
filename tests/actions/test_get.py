"""`get`: reads objects of the Incident's namespace, and never a Secret."""

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.get import ACTION, Get
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Succeeded
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import ACCOUNT, Player, call
from tests.kubernetes.apiservers import Apiserver
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment, pod

USER = f"system:serviceaccount:prod:{ACCOUNT}"


def one(name="web", kind="Deployment", api_version="apps/v1"):
    return Get(api_version=api_version, kind=kind, name=name)


def several(kind="Pod", api_version="v1", **labels):
    return Get(api_version=api_version, kind=kind, selector=labels)


@pytest.fixture
def get(clients: Clients) -> Player:
    return Player(ACTION, clients)


async def test_an_object_is_read_by_its_name_as_the_runbooks_account(api: FakeApiserver, get: Player):
    api.put({**deployment(replicas=3), "status": {"readyReplicas": 1}})
    outcome = await get.run(call(one()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["object"]["status"] == {"readyReplicas": 1}
    assert [request.user for request in api.requests if request.path.endswith("/deployments/web")] == [USER]


async def test_what_only_the_apiserver_needs_is_left_out(api, get):
    made = deployment()
    made["metadata"] |= {
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "platform"},
    }
    api.put(made)
    meta = (await get.run(call(one()))).result["object"]["metadata"]
    assert "managedFields" not in meta
    assert meta["annotations"] == {"team": "platform"}


async def test_several_are_read_by_their_labels(api, get):
    api.put(pod("web-1"))
    api.put(pod("web-2"))
    api.put(pod("other", labels={"app": "other"}))
    outcome = await get.run(call(several(app="web")))
    assert [item["metadata"]["name"] for item in outcome.result["items"]] == ["web-1", "web-2"]
    assert outcome.result["truncated"] is False
    assert outcome.summary == "2 of kind Pod"


async def test_none_is_an_answer(api, get):
    assert (await get.run(call(several(app="web")))).result == {"items": [], "truncated": False}


async def test_what_does_not_fit_is_cut_and_says_so(api, get):
    for number in range(4):
        api.put(pod(f"web-{number}", annotations={"big": "x" * 80_000}))
    outcome = await get.run(call(several(app="web")))
    assert len(outcome.result["items"]) == 2
    assert outcome.result["truncated"] is True
    assert outcome.summary == "2 of kind Pod, cut"


async def test_an_object_that_does_not_fit_is_refused(api, get):
    api.put(pod("web-1", annotations={"big": "x" * 200_000}))
    outcome = await get.run(call(one("web-1", "Pod", "v1")))
    assert (outcome.reason, outcome.retryable) == (reasons.RESPONSE_TOO_LARGE, False)


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        (one("nobody"), reasons.NOT_FOUND, 'deployments.apps "nobody" not found'),
        (one("x", "Gizmo", "gizmos.dev/v1"), reasons.NOT_FOUND, "the cluster has no kind Gizmo in gizmos.dev/v1"),
        (one("x", "Deployment", "v1"), reasons.NOT_FOUND, "the cluster has no kind Deployment in v1"),
        (one("x", "PodList", "v1"), reasons.NOT_FOUND, "the cluster has no kind PodList in v1"),
        (one("x", "Pod", "a/b/c"), reasons.NOT_FOUND, "the cluster has no kind Pod in a/b/c"),
        (one("db", "Secret", "v1"), reasons.BAD_REQUEST, "get does not read Secrets"),
        (several("Secret", app="db"), reasons.BAD_REQUEST, "get does not read Secrets"),
        (one("db", "Secret", "/v1"), reasons.NOT_FOUND, "the cluster has no kind Secret in /v1"),
        (one("db", "SecretList", "v1"), reasons.NOT_FOUND, "the cluster has no kind SecretList in v1"),
        (Get(api_version="v1", kind="Pod"), reasons.BAD_REQUEST, "get needs a name, or a selector"),
        (one("../../secrets/db", "Pod", "v1"), reasons.BAD_REQUEST, "cannot be the name of a Kubernetes object"),
    ],
)
async def test_what_cannot_be_read_is_refused(api, get, spec, reason, told):
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "czNjcjN0"}})
    outcome = await get.run(call(spec))
    assert isinstance(outcome, Failed)
    assert outcome.reason == reason
    assert told in outcome.message
    assert not [request for request in api.requests if "/secrets" in request.path]


async def test_a_missing_right_is_told(api, get):
    api.put(deployment())
    api.forbid(USER, "get", "deployments.apps")
    outcome = await get.run(call(one()))
    assert (outcome.reason, outcome.retryable) == (reasons.FORBIDDEN, False)
    assert USER in outcome.message


@pytest.mark.parametrize("fault", [Fault.SERVICE_UNAVAILABLE, Fault.SILENT])
@pytest.mark.parametrize("path", ["/deployments/web", "/apis"])
async def test_an_apiserver_that_does_not_answer_is_a_failed_read(api, get, fault, path):
    api.put(deployment())
    api.inject(fault, path=path, times=3)
    outcome = await get.run(call(one(), timeout=0.5))
    assert (outcome.reason, outcome.retryable) == (reasons.CONNECTION_FAILED, True)


@pytest.mark.parametrize("fault", [Fault.TOO_MANY_REQUESTS, Fault.SERVICE_UNAVAILABLE])
@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("100000", 300.0), ("soon", 0.0)])
async def test_an_apiserver_that_says_when_to_come_again_is_heard(api, get, fault, header, after):
    api.put(deployment())
    await get.run(call(one()))  # so that the kinds are known
    api._faults.headers["Retry-After"] = header
    api.inject(fault, path="/deployments/web")
    outcome = await get.run(call(one()))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.after) == (reasons.CONNECTION_FAILED, True, after)


async def test_kinds_are_asked_for_once(api, get):
    api.put(deployment())
    await get.run(call(one()))
    asked = len(api.requests)
    await get.run(call(one()))
    assert len(api.requests) == asked + 1


async def test_a_kind_that_is_installed_later_is_found(api, get):
    await get.run(call(one("w", "Gadget", "late.dev/v1")))
    api.serve("late.dev", "v1", "Gadget", "gadgets")
    api.put({"apiVersion": "late.dev/v1", "kind": "Gadget", "metadata": {"name": "w", "namespace": "prod"}})
    assert isinstance(await get.run(call(one("w", "Gadget", "late.dev/v1"))), Succeeded)


async def test_with_no_more_rights_than_documented(apiserver: Apiserver):
    """Kinds of the core, of a group, and a custom one, found by the apiserver's own discovery."""
    rights = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["tests.incidents.dev"], "resources": ["widgets"], "verbs": ["list"]},
    ]
    await apiserver.grant(ACCOUNT, *rights)
    await apiserver.client.create(
        f"/apis/apps/v1/namespaces/{apiserver.namespace}/deployments",
        deployment(namespace=apiserver.namespace, replicas=0),
    )
    labelled = {"metadata": {"name": "w", "labels": {"colour": "red"}}, "kind": "Widget"}
    await apiserver.client.create(apiserver.widgets(), {**labelled, "apiVersion": "tests.incidents.dev/v1"})
    async with Cluster(apiserver.access) as cluster:
        get = Player(ACTION, calls.clients(cluster, apiserver.access))
        found = await get.run(call(one(), namespace=apiserver.namespace))
        listed = await get.run(
            call(several("Widget", "tests.incidents.dev/v1", colour="red"), namespace=apiserver.namespace)
        )
    assert found.result["object"]["spec"]["replicas"] == 0
    assert [item["metadata"]["name"] for item in listed.result["items"]] == ["w"]


async def test_an_object_that_is_nested_too_deep_is_not_read_and_that_is_told(api, get):
    nested: object = {}
    for _ in range(100):
        nested = {"a": nested}
    api.put({**deployment(), "status": nested})
    outcome = await get.run(call(one()))
    assert isinstance(outcome, Failed)
    assert outcome.retryable is False
    assert "deployments/web is nested more than 64 levels deep, which is not read" in outcome.message
