"""A Runbook's and a Connection's Ready condition: told once, the same for everybody, and without needless writes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.world import World
from incident_operator.api.annotations import EDITORS, REVIEWED
from incident_operator.api.connection import Connection
from incident_operator.api.meta import ObjectKey
from incident_operator.clients import kube, paths, probes
from incident_operator.clients.connections import Connections, EndpointError
from incident_operator.clients.endpoint import Endpoint
from incident_operator.engine.counts import Counts
from incident_operator.engine.probe_results import ConnectionUsers
from incident_operator.engine.readiness import Readiness
from incident_operator.engine.revisions import Revisions
from incident_operator.engine.runbooks import Runbooks

PACK, OTHER = ObjectKey("prod", "pack"), ObjectKey("prod", "other")


class Endpoints(Connections):
    """Lets every account in, but for those that the test names."""

    def __init__(self, client: kube.Kube) -> None:
        self.client = client
        self.refused: dict[str, str] = {}

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        if service_account in self.refused:
            raise EndpointError("SecretUnreadable", self.refused[service_account])
        found = await self.client.get(paths.connections(namespace, name))
        return Endpoint(Connection.model_validate(found), {}, "1")


class Answering(probes.Probes):
    """Every endpoint answers."""

    def __init__(self) -> None:
        pass

    async def probe(self, endpoint: Endpoint) -> probes.ProbeError | None:
        return None


class Checks:
    """Readiness as a process that has just started has it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.endpoints = Endpoints(world.client)
        revisions = Revisions(world.client)
        runbooks = Runbooks(world.client, revisions)
        now = datetime(2025, 10, 21, tzinfo=UTC)
        self.readiness = Readiness(
            world.client, runbooks, revisions, self.endpoints, Answering(), Counts(), lambda: now
        )

    async def check(self, *keys: ObjectKey) -> None:
        for key in keys:
            await self.readiness.check(key)

    def ready(self, path: str) -> Mapping[str, Any]:
        return next(one for one in self.world.api.object(path)["status"]["conditions"] if one["type"] == "Ready")


@pytest.fixture
def checks(pack: World) -> Checks:
    spec = {**pack.api.object(paths.runbooks("prod", "pack"))["spec"], "serviceAccountName": "poor"}
    pack.api.put(
        {
            **pack.api.object(paths.runbooks("prod", "pack")),
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
        ({}, "edit it once so that the policies stamp who wrote it"),
    ],
    ids=["one", "reviewed", "two", "reviewed before", "a name that cannot be seen", "nobody is known"],
)
async def test_a_ready_runbook_tells_in_daylight_who_may_not_approve(
    checks: Checks, annotations: dict[str, str], told: str
) -> None:
    path = paths.runbooks(*PACK)
    body = checks.world.api.object(path)
    checks.world.api.put({**body, "metadata": {**body["metadata"], "annotations": annotations}})
    await checks.check(PACK)
    ready = checks.ready(path)
    assert (ready["status"], told in ready["message"], bool(ready["message"])) == ("True", True, bool(told))
    assert checks.world.api.object(path)["status"].get("message", "") == ready["message"]


async def test_a_ready_runbook_tells_which_alerts_of_other_namespaces_it_does_not_get(checks: Checks) -> None:
    path = paths.runbooks(*PACK)
    body = checks.world.api.object(path)
    checks.world.api.put({**body, "spec": {**body["spec"], "match": ['alertname="PackFailed"']}})
    await checks.check(PACK)
    ready = checks.ready(path)
    assert (ready["status"], ready["reason"]) == ("True", "Ready")
    assert ready["message"].startswith(
        'It takes only alerts with namespace="prod", for namespace prod is not in globalNamespaces;'
    )
    assert checks.world.api.object(path)["status"]["message"] == ready["message"]


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_a_runbook_that_is_nested_without_end_is_invalid_and_spoils_no_other(checks: Checks) -> None:
    path = paths.runbooks("prod", "other")
    body = checks.world.api.object(path)
    step = {"name": "post", "http": {"connection": "read", "json": nested(200)}}
    checks.world.api.put({**body, "spec": {**body["spec"], "verify": [step]}})
    await checks.check(OTHER, PACK)
    ready = checks.ready(path)
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert ready["message"].startswith("spec.verify[0].http.json.a.a.")
    assert ready["message"].endswith("is nested deeper than 64 levels")
    assert checks.ready(paths.runbooks("prod", "pack"))["status"] == "True"
    assert checks.world.api.object(paths.connections("prod", "read"))["status"]["usedBy"] == 1


async def test_a_runbook_that_cannot_be_read_is_invalid(checks: Checks) -> None:
    path = paths.runbooks("prod", "other")
    body = checks.world.api.object(path)
    checks.world.api.put({**body, "spec": {**body["spec"], "severity": "P9"}})
    await checks.check(OTHER)
    assert checks.ready(path)["message"].startswith("spec.severity: ")
    writes = len(checks.world.api.writes)
    await checks.check(OTHER)
    assert len(checks.world.api.writes) == writes


async def test_a_good_runbook_is_ready_and_checking_it_again_writes_nothing(checks: Checks) -> None:
    await checks.check(PACK)
    before = len(checks.world.api.writes)
    await checks.check(PACK)
    assert checks.ready(paths.runbooks(*PACK))["status"] == "True"
    assert len(checks.world.api.writes) == before


async def test_a_connection_that_one_of_two_accounts_may_not_use_does_not_flip(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "poor may not get secret"
    await checks.check(PACK, OTHER)
    before = len(checks.world.api.writes)
    await checks.check(PACK, OTHER, PACK)
    ready = checks.ready(paths.connections("prod", "read"))
    assert (ready["status"], ready["message"]) == ("False", "poor may not get secret")
    assert checks.ready(paths.runbooks(*PACK))["status"] == "True"
    assert len(checks.world.api.writes) == before


async def test_an_account_that_no_longer_uses_a_connection_no_longer_speaks_of_it(checks: Checks) -> None:
    checks.endpoints.refused["poor"] = "poor may not get secret"
    await checks.check(OTHER)
    checks.world.api.remove(paths.runbooks(*OTHER))
    await checks.check(OTHER, PACK)
    read = checks.world.api.object(paths.connections("prod", "read"))
    assert (checks.ready(paths.connections("prod", "read"))["status"], read["status"]["usedBy"]) == ("True", 1)


async def test_what_others_keep_in_the_namespace_is_not_read_at_each_check(checks: Checks) -> None:
    await checks.check(PACK, OTHER)
    before = len(checks.world.api.requests)
    await checks.check(PACK, OTHER, PACK)
    read = {request.path for request in checks.world.api.requests[before:]}
    assert not read & {paths.connections("prod"), paths.runbooks("prod")}, "neither of them is listed"


async def test_who_uses_a_connection_is_known_from_the_first_check_on_and_after_an_edit(checks: Checks) -> None:
    await checks.check(PACK)
    assert checks.world.api.object(paths.connections("prod", "read"))["status"]["usedBy"] == 2
    other = checks.world.api.object(paths.runbooks(*OTHER))
    spec = {**other["spec"], "diagnose": [], "mitigate": [], "remediate": [], "verify": [], "restore": []}
    logs = {"name": "look", "logs": {"selector": {"app": "web"}}}
    checks.world.api.put({**other, "spec": {**spec, "diagnose": [logs]}})
    await checks.check(OTHER, PACK)
    assert checks.world.api.object(paths.connections("prod", "read"))["status"]["usedBy"] == 1


async def test_a_missing_connection_makes_it_not_ready_until_it_appears(checks: Checks) -> None:
    path = paths.connections("prod", "write")
    stored = checks.world.api.object(path)
    checks.world.api.remove(path)
    await checks.check(PACK)
    assert checks.ready(paths.runbooks(*PACK))["reason"] == "Invalid"
    checks.world.api.put(stored)
    await checks.check(PACK)
    status = checks.world.api.object(paths.runbooks(*PACK))["status"]
    assert (checks.ready(paths.runbooks(*PACK))["status"], status["message"]) == ("True", "")


async def test_a_runbook_that_is_gone_is_told(checks: Checks) -> None:
    assert not await checks.readiness.check(ObjectKey("prod", "gone"))


def test_a_runbook_that_is_edited_while_its_namespace_is_listed_counts_as_it_is_now() -> None:
    users, read = ConnectionUsers(), ObjectKey("prod", "read")
    users.note(PACK, "rb-pack", frozenset())
    users.learn("prod", [("pack", "rb-pack", frozenset({"read"})), ("other", "poor", frozenset({"read"}))])
    assert (users.knows("prod"), users.accounts(read)) == (True, ["poor"])
