"""A Runbook's and a Connection's Ready condition: told once, the same for everybody, and without needless writes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from incident_operator.api.incident import EDITORS, REVIEWED
from incident_operator.api.meta import ObjectKey
from incident_operator.clients.connections import Connections, EndpointError, ProbeError, Probes
from incident_operator.connections import Endpoint
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.readiness import ConnectionUsers, Readiness
from incident_operator.engine.runbooks import Revisions
from incident_operator.kubernetes import apiserver, discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, runbooks_of
from tests.kubernetes.manifests import pod, service_account

PACK, OTHER = ObjectKey("prod", "pack"), ObjectKey("prod", "other")


class Endpoints(Connections):
    """Lets every account in, but for those that the test names."""

    def __init__(self, client: apiserver.Kube) -> None:
        super().__init__(client)
        self.refused: dict[str, str] = {}

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        if service_account in self.refused:
            raise EndpointError("SecretUnreadable", self.refused[service_account])
        return Endpoint(await self._connection(namespace, name), {}, "1")


class Answering(Probes):
    """Every endpoint answers."""

    def __init__(self) -> None:
        pass

    async def probe(self, endpoint: Endpoint) -> ProbeError | None:
        return None


class Checks:
    """Readiness as a process that has just started has it."""

    def __init__(self, fake_cluster: FakeCluster) -> None:
        self.fake_cluster = fake_cluster
        self.endpoints = Endpoints(fake_cluster.client)
        revisions = Revisions(fake_cluster.client)
        runbooks = runbooks_of(fake_cluster.client, revisions)
        now = datetime(2025, 10, 21, tzinfo=UTC)
        self.readiness = Readiness(
            fake_cluster.client, runbooks, revisions, self.endpoints, Answering(), IncidentCounts(), lambda: now
        )

    async def check(self, *keys: ObjectKey) -> None:
        for key in keys:
            await self.readiness.check(key)

    def ready(self, path: str) -> Mapping[str, Any]:
        return next(one for one in self.fake_cluster.api.object(path)["status"]["conditions"] if one["type"] == "Ready")


@pytest.fixture
def checks(pack: FakeCluster) -> Checks:
    spec = {**pack.api.object(discovery.runbooks("prod", "pack"))["spec"], "serviceAccountName": "poor"}
    pack.api.put(
        {
            **pack.api.object(discovery.runbooks("prod", "pack")),
            "metadata": {"name": "other", "namespace": "prod"},
            "spec": spec,
        }
    )
    return Checks(pack)


CAROLS_REVIEW = {REVIEWED: "1 carol@example.com"}
TWO = "a@example.com\nb@example.com"


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({EDITORS: "a@example.com"}, ""),
        ({EDITORS: TWO, **CAROLS_REVIEW}, ""),
        (
            {EDITORS: TWO},
            "2 people changed it since it was last reviewed, and may not approve what it asks: a@example.com, b@",
        ),
        (
            {EDITORS: TWO, REVIEWED: "0 carol@example.com"},
            '-n prod runbook pack incidents.dev/reviewed="1 $(',
        ),
        ({EDITORS: "Eve\u202e\nFrank van Dam"}, 'what it asks: "Eve\\u202e", Frank van Dam. Somebody else'),
        ({}, "edit it once so that the policies record who wrote it"),
    ],
    ids=["one", "reviewed", "two", "reviewed before", "a name that cannot be seen", "nobody is known"],
)
async def test_a_ready_runbook_tells_in_daylight_who_may_not_approve(
    checks: Checks, annotations: dict[str, str], told: str
) -> None:
    path = discovery.runbooks(*PACK)
    body = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.put({**body, "metadata": {**body["metadata"], "annotations": annotations}})
    await checks.check(PACK)
    ready = checks.ready(path)
    assert (ready["status"], told in ready["message"], bool(ready["message"])) == ("True", True, bool(told))
    assert checks.fake_cluster.api.object(path)["status"].get("message", "") == ready["message"]


async def test_a_ready_runbook_tells_which_alerts_of_other_namespaces_it_does_not_get(checks: Checks) -> None:
    path = discovery.runbooks(*PACK)
    body = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.put({**body, "spec": {**body["spec"], "match": ['alertname="PackFailed"']}})
    await checks.check(PACK)
    ready = checks.ready(path)
    assert (ready["status"], ready["reason"]) == ("True", "Ready")
    assert ready["message"].startswith(
        'It takes only alerts with namespace="prod", because namespace prod is not in globalNamespaces;'
    )
    assert checks.fake_cluster.api.object(path)["status"]["message"] == ready["message"]


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_a_runbook_that_is_nested_without_end_is_invalid_and_spoils_no_other(checks: Checks) -> None:
    path = discovery.runbooks("prod", "other")
    body = checks.fake_cluster.api.object(path)
    step = {"name": "post", "http": {"connection": "read", "json": nested(200)}}
    checks.fake_cluster.api.put({**body, "spec": {**body["spec"], "verify": [step]}})
    await checks.check(OTHER, PACK)
    ready = checks.ready(path)
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert ready["message"].startswith("spec.verify[0].http.json.a.a.")
    assert ready["message"].endswith("is nested deeper than 64 levels")
    assert checks.ready(discovery.runbooks("prod", "pack"))["status"] == "True"
    assert checks.fake_cluster.api.object(discovery.connections("prod", "read"))["status"]["usedBy"] == 1


async def test_a_runbook_that_cannot_be_read_is_invalid(checks: Checks) -> None:
    path = discovery.runbooks("prod", "other")
    body = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.put({**body, "spec": {**body["spec"], "severity": "P9"}})
    await checks.check(OTHER)
    assert checks.ready(path)["message"].startswith("spec.severity: ")
    writes = len(checks.fake_cluster.api.writes)
    await checks.check(OTHER)
    assert len(checks.fake_cluster.api.writes) == writes


async def test_a_good_runbook_is_ready_and_checking_it_again_writes_nothing(checks: Checks) -> None:
    await checks.check(PACK)
    before = len(checks.fake_cluster.api.writes)
    await checks.check(PACK)
    assert checks.ready(discovery.runbooks(*PACK))["status"] == "True"
    assert len(checks.fake_cluster.api.writes) == before


async def test_a_connection_that_one_of_two_accounts_may_not_use_does_not_flip(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "poor may not get secret"
    await checks.check(PACK, OTHER)
    before = len(checks.fake_cluster.api.writes)
    await checks.check(PACK, OTHER, PACK)
    ready = checks.ready(discovery.connections("prod", "read"))
    assert (ready["status"], ready["message"]) == ("False", "poor may not get secret")
    assert checks.ready(discovery.runbooks(*PACK))["status"] == "True"
    assert len(checks.fake_cluster.api.writes) == before


async def test_an_account_that_no_longer_uses_a_connection_no_longer_speaks_of_it(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "poor may not get secret"
    await checks.check(OTHER)
    checks.fake_cluster.api.remove(discovery.runbooks(*OTHER))
    await checks.check(OTHER, PACK)
    read = checks.fake_cluster.api.object(discovery.connections("prod", "read"))
    assert (checks.ready(discovery.connections("prod", "read"))["status"], read["status"]["usedBy"]) == ("True", 1)


async def test_what_others_keep_in_the_namespace_is_not_read_at_each_check(checks: Checks) -> None:
    await checks.check(PACK, OTHER)
    before = len(checks.fake_cluster.api.requests)
    await checks.check(PACK, OTHER, PACK)
    read = {request.path for request in checks.fake_cluster.api.requests[before:]}
    assert not read & {discovery.connections("prod"), discovery.runbooks("prod")}, "neither of them is listed"


async def test_who_uses_a_connection_is_known_from_the_first_check_on_and_after_an_edit(checks: Checks) -> None:
    await checks.check(PACK)
    assert checks.fake_cluster.api.object(discovery.connections("prod", "read"))["status"]["usedBy"] == 2
    other = checks.fake_cluster.api.object(discovery.runbooks(*OTHER))
    spec = {**other["spec"], "diagnose": [], "mitigate": [], "remediate": [], "verify": [], "restore": []}
    logs = {"name": "look", "logs": {"selector": {"app": "web"}}}
    checks.fake_cluster.api.put({**other, "spec": {**spec, "diagnose": [logs]}})
    await checks.check(OTHER, PACK)
    assert checks.fake_cluster.api.object(discovery.connections("prod", "read"))["status"]["usedBy"] == 1


async def test_a_missing_connection_makes_it_not_ready_until_it_appears(checks: Checks) -> None:
    path = discovery.connections("prod", "write")
    stored = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.remove(path)
    await checks.check(PACK)
    assert checks.ready(discovery.runbooks(*PACK))["reason"] == "TargetMissing"
    checks.fake_cluster.api.put(stored)
    await checks.check(PACK)
    status = checks.fake_cluster.api.object(discovery.runbooks(*PACK))["status"]
    assert (checks.ready(discovery.runbooks(*PACK))["status"], status["message"]) == ("True", "")


SCALES = [{"name": "more", "scale": {"target": "deployment/web", "replicas": 5}}]
READS = [
    {"name": "lines", "logs": {"from": "statefulset/cache"}},
    {"name": "again", "logs": {"from": "statefulset/cache"}},
]
FLUSHES = [
    {"name": "build", "job": {"from": "deployment/scheduler", "command": ["build"]}},
    {"name": "flush", "exec": {"target": "pod/cache-0", "command": ["flush"]}},
]
APPS = "/apis/apps/v1/namespaces/prod"


def without_connections(checks: Checks, account: str = "rb") -> None:
    """A Runbook whose steps name four objects of the cluster, one of them twice."""
    path = discovery.runbooks(*PACK)
    body = checks.fake_cluster.api.object(path)
    stages = {"diagnose": READS, "mitigate": SCALES, "remediate": FLUSHES, "verify": []}
    checks.fake_cluster.api.put(
        {**body, "spec": {**body["spec"], "serviceAccountName": account, "parameters": [], **stages}}
    )
    checks.fake_cluster.api.put(pod("cache-0"))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"{APPS}/deployments/web", "there is no deployment/web in prod"),
        (f"{APPS}/deployments/scheduler", "there is no deployment/scheduler in prod"),
        (f"{APPS}/statefulsets/cache", "there is no statefulset/cache in prod"),
        ("/api/v1/namespaces/prod/pods/cache-0", "there is no pod/cache-0 in prod"),
    ],
)
async def test_a_target_that_is_not_there_is_told_until_it_is_and_not_where_the_account_may_not_look(
    checks: Checks, path: str, told: str
) -> None:
    without_connections(checks)
    stored = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.remove(path)
    await checks.check(PACK)
    ready = checks.ready(discovery.runbooks(*PACK))
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "TargetMissing", told)
    kind = path.split("/")[-2]
    resource = kind if kind == "pods" else f"{kind}.apps"
    checks.fake_cluster.api.forbid("system:serviceaccount:prod:rb", "get", resource)
    await checks.check(PACK)
    assert checks.ready(discovery.runbooks(*PACK))["status"] == "True"
    checks.fake_cluster.api.put(stored)
    await checks.check(PACK)
    assert checks.ready(discovery.runbooks(*PACK))["status"] == "True"


async def test_targets_are_looked_for_as_the_runbooks_account_each_once(checks: Checks) -> None:
    without_connections(checks)
    before = len(checks.fake_cluster.api.requests)
    await checks.check(PACK)
    asked = [
        each for each in checks.fake_cluster.api.requests[before:] if "/apps/" in each.path or "/pods/" in each.path
    ]
    objects = [each.path.rpartition("/")[2] for each in asked if "controllerrevisions" not in each.path]
    assert sorted(objects) == ["cache", "cache-0", "scheduler", "web"]
    assert {each.user for each in asked if "controllerrevisions" not in each.path} == {"system:serviceaccount:prod:rb"}


async def test_an_account_that_is_not_there_is_told_instead_of_what_it_may_not_do(checks: Checks) -> None:
    checks.fake_cluster.api.remove("/api/v1/namespaces/prod/serviceaccounts/poor")
    checks.endpoints.refused["poor"] = "poor may not get secret; grant it with a Role"
    await checks.check(OTHER)
    ready, told = checks.ready(discovery.runbooks(*OTHER)), "there is no ServiceAccount poor in prod"
    assert (ready["status"], ready["reason"]) == ("False", "AccountMissing")
    assert ready["message"] == f"{told}: kubectl get serviceaccounts -n prod"
    read = checks.ready(discovery.connections("prod", "read"))
    assert (read["status"], read["message"]) == ("False", ready["message"])
    checks.fake_cluster.api.put(service_account("poor"))
    checks.endpoints.refused.clear()
    await checks.check(OTHER)
    assert checks.ready(discovery.runbooks(*OTHER))["status"] == "True"


@pytest.mark.parametrize("may", [("",), ("", "system:serviceaccount:prod:poor")], ids=["as itself", "nobody"])
async def test_an_account_that_nobody_may_look_for_is_not_told_as_missing(checks: Checks, may: tuple[str, ...]) -> None:
    checks.fake_cluster.api.remove("/api/v1/namespaces/prod/serviceaccounts/poor")
    for user in may:
        checks.fake_cluster.api.forbid(user, "get", "serviceaccounts")
    await checks.check(OTHER)
    assert checks.ready(discovery.runbooks(*OTHER))["status"] == ("False" if len(may) == 1 else "True")


async def test_a_connection_is_named_once_in_what_is_told_of_it(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "Connection read: poor may not get secret"
    await checks.check(OTHER)
    told = checks.ready(discovery.runbooks(*OTHER))["message"].split("; ")
    assert "Connection read: poor may not get secret" in told
    assert not any("Connection read: Connection read" in line for line in told)


@pytest.mark.parametrize("gone", ["account", "target", "connection"])
async def test_a_runbook_whose_account_or_target_is_missing_runs_all_the_same(pack: FakeCluster, gone: str) -> None:
    where = {
        "account": "/api/v1/namespaces/prod/serviceaccounts/rb",
        "target": f"{APPS}/deployments/scheduler",
        "connection": discovery.connections("prod", "api"),
    }
    pack.api.remove(where[gone])
    checks = Checks(pack)
    await checks.check(PACK)
    assert checks.ready(discovery.runbooks(*PACK))["reason"] in {"AccountMissing", "TargetMissing"}
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]
    assert pack.incident().status.pending_approval is not None


async def test_a_runbook_that_is_gone_is_told(checks: Checks) -> None:
    assert not await checks.readiness.check(ObjectKey("prod", "gone"))


def test_a_runbook_that_is_edited_while_its_namespace_is_listed_counts_as_it_is_now() -> None:
    users, read = ConnectionUsers(), ObjectKey("prod", "read")
    users.note(PACK, "rb-pack", frozenset())
    users.learn("prod", [("pack", "rb-pack", frozenset({"read"})), ("other", "poor", frozenset({"read"}))])
    assert (users.knows("prod"), users.accounts(read)) == (True, ["poor"])


def abnormal(checks: Checks, path: str) -> dict[str, tuple[str, str]]:
    """Return the reason and message of each condition that is there only while something is wrong."""
    told = checks.fake_cluster.api.object(path)["status"]["conditions"]
    assert all(each["status"] == "True" for each in told if each["type"] != "Ready")
    return {each["type"]: (each["reason"], each["message"]) for each in told if each["type"] != "Ready"}


def observed(checks: Checks, path: str) -> tuple[int, set[int]]:
    """Return the generation that a status tells of, and those of its conditions."""
    status = checks.fake_cluster.api.object(path)["status"]
    return status["observedGeneration"], {each["observedGeneration"] for each in status["conditions"]}


async def test_a_runbook_that_nothing_but_an_edit_helps_is_stalled_and_a_good_one_is_not(checks: Checks) -> None:
    path = discovery.runbooks(*PACK)
    good = checks.fake_cluster.api.object(path)
    checks.fake_cluster.api.put({**good, "spec": {**good["spec"], "match": ["no matcher"]}})
    await checks.check(PACK)
    ready = checks.ready(path)
    assert abnormal(checks, path) == {"Stalled": ("Invalid", ready["message"])}
    generation = checks.fake_cluster.api.object(path)["metadata"]["generation"]
    assert observed(checks, path) == (generation, {generation})
    checks.fake_cluster.api.put({**checks.fake_cluster.api.object(path), "spec": good["spec"]})
    await checks.check(PACK)
    assert (checks.ready(path)["status"], abnormal(checks, path)) == ("True", {})


async def test_what_another_object_would_mend_is_tried_again_and_not_stalled(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "poor may not get secret"
    await checks.check(OTHER)
    assert set(abnormal(checks, discovery.runbooks(*OTHER))) == {"Reconciling"}
    told = abnormal(checks, discovery.connections("prod", "read"))
    assert told == {"Reconciling": ("ProbeFailed", "poor may not get secret")}
    checks.fake_cluster.api.remove(discovery.connections("prod", "write"))
    await checks.check(PACK)
    assert (checks.ready(discovery.runbooks(*PACK))["reason"], set(abnormal(checks, discovery.runbooks(*PACK)))) == (
        "TargetMissing",
        {"Reconciling"},
    )


async def test_a_malformed_connection_is_stalled_and_says_where(checks: Checks) -> None:
    path = discovery.connections("prod", "read")
    checks.fake_cluster.api.put({**checks.fake_cluster.api.object(path), "spec": {"type": "postgres"}})
    await checks.check(PACK)
    why = "malformed at spec.postgres: it is missing, and says where a Connection of type postgres leads"
    assert abnormal(checks, path) == {"Stalled": ("Malformed", why)}
    generation = checks.fake_cluster.api.object(path)["metadata"]["generation"]
    assert observed(checks, path) == (generation, {generation})


async def test_nothing_is_observed_of_a_connection_that_no_runbook_names_any_more(checks: Checks) -> None:
    path = discovery.connections("prod", "read")
    await checks.check(PACK, OTHER)
    for key in (PACK, OTHER):
        checks.fake_cluster.api.remove(discovery.runbooks(*key))
    await checks.check(PACK, OTHER)
    status = checks.fake_cluster.api.object(path)["status"]
    assert (status["usedBy"], status["conditions"], status.get("observedGeneration")) == (0, [], None)


async def test_all_that_is_wrong_with_a_runbook_is_one_line_for_kubectl_get(checks: Checks) -> None:
    path = discovery.runbooks(*PACK)
    body = checks.fake_cluster.api.object(path)
    broken = [{**step, "when": "params. +"} for step in body["spec"]["diagnose"]]
    checks.fake_cluster.api.put({**body, "spec": {**body["spec"], "diagnose": broken, "match": ["a", "b"] * 10}})
    await checks.check(PACK)
    message = checks.fake_cluster.api.object(path)["status"]["message"]
    assert message.startswith("spec.match[0]: ")
    assert "; spec.match[1]: " in message
    assert "\n" not in message
    assert len(message) <= 2020
