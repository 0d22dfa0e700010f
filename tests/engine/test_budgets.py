"""A Runbook over its budget of bytes or patterns is `Invalid`, told why; the others of its namespace are served."""

from datetime import UTC, datetime
from typing import Any

import pytest

from incident_operator.api.incident import Phase
from incident_operator.api.meta import ObjectKey
from incident_operator.core.runbooks import reading
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.readiness import Readiness
from incident_operator.engine.runbooks import Revisions
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, runbooks_of
from tests.engine.test_readiness import PACK, Answering, Endpoints


async def checked(fake_cluster: FakeCluster, spec: dict[str, Any], over: str = "") -> dict[str, Any]:
    """Return the Runbook's status after a check."""
    path = discovery.runbooks(*PACK)
    body = fake_cluster.api.object(path)
    fake_cluster.api.put({**body, "spec": {**body["spec"], **spec}})
    revisions = Revisions(fake_cluster.client)
    runbooks = runbooks_of(fake_cluster.client, revisions)
    now = datetime(2025, 10, 21, tzinfo=UTC)
    readiness = Readiness(
        fake_cluster.client,
        runbooks,
        revisions,
        Endpoints(fake_cluster.client),
        Answering(),
        IncidentCounts(),
        lambda: now,
        lambda _: over,
    )
    assert await readiness.check(ObjectKey(*PACK))
    return dict(fake_cluster.api.object(path)["status"])


@pytest.mark.parametrize("size", [reading.SPEC_BYTES, 5 * reading.SPEC_BYTES], ids=["decoded", "not even decoded"])
async def test_a_runbook_of_too_many_bytes_is_invalid_and_told_why(pack: FakeCluster, size: int) -> None:
    status = await checked(pack, {"unknown": "x" * size})
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert ready["message"].startswith("spec: has ")
    assert " bytes; a Runbook may have 262144 at most; split it" in ready["message"]
    assert status["observedGeneration"] == pack.api.object(discovery.runbooks(*PACK))["metadata"]["generation"]


async def test_a_runbook_over_its_namespaces_budget_of_patterns_is_invalid_and_told_why(pack: FakeCluster) -> None:
    status = await checked(pack, {}, "spec.match: with it the patterns would take too much")
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("Invalid", "spec.match: with it the patterns would take too much")


async def test_a_runbook_whose_expressions_would_double_without_end_is_invalid_and_told_why(pack: FakeCluster) -> None:
    doubled = "optional.of(params.date)" + ".optMap(d, d)" * 8 + ".orValue('')"
    step = pack.api.object(discovery.runbooks(*PACK))["spec"]["diagnose"][0]
    outputs = {f"o{at}": doubled for at in range(16)}
    status = await checked(pack, {"diagnose": [{**step, "name": f"s{at}", "outputs": outputs} for at in range(10)]})
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "spec.diagnose[0].outputs.o4: with it the Runbook's expressions have too many parts" in ready["message"]


async def test_a_ready_runbook_is_told_what_the_next_release_refuses(pack: FakeCluster) -> None:
    written = pack.api.object(discovery.runbooks(*PACK))["spec"]["diagnose"]
    status = await checked(pack, {"diagnose": [{**step, "timeout": "2h"} for step in written]})
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready["status"] == "True", ready["message"]
    assert "Warning: spec.diagnose[0].timeout: one attempt of sqlQuery takes 1h at most" in ready["message"]
    assert status["message"] == ready["message"]


async def test_the_runbooks_of_a_namespace_are_listed_once_for_a_check_however_many_connections_it_names(
    pack: FakeCluster,
) -> None:
    before = len(pack.api.requests)
    await checked(pack, {})
    listed = [one for one in pack.api.requests[before:] if one.path == discovery.runbooks("prod")]
    assert len(listed) == 1


async def test_an_incident_of_too_many_bytes_needs_a_human_and_goes_on_once_it_is_smaller(pack: FakeCluster) -> None:
    path = discovery.incidents(*INCIDENT)
    body = pack.api.object(path)
    alert = {"id": "a", "startsAt": "2025-10-21T00:00:00Z", "labels": {"weight": "x" * 1000}}
    pack.api.put({**body, "spec": {**body["spec"], "alerts": [{**alert, "id": str(at)} for at in range(500)]}})
    await pack.engine().reconcile(INCIDENT)
    halted = pack.incident().status
    assert (halted.phase, halted.reason) == (Phase.NEEDS_HUMAN, "IncidentTooLarge")
    assert "and at most 393216 are allowed; nothing was done" in halted.message
    assert pack.targets.done() == []
    pack.api.put({**pack.api.object(path), "spec": body["spec"]})
    await pack.engine().reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"]
