"""The operator's account on a real apiserver: it writes the ConfigMaps of Incidents, and nobody else's."""

import asyncio
from typing import Any

import pytest

from incident_operator.api.incident import Incident
from incident_operator.api.meta import API_VERSION
from incident_operator.engine.evidence import EvidenceStore
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden, Kube
from tests.approval_policy import people
from tests.approval_policy.cases import PLAN_WAITS, WITH_RUNBOOK
from tests.approval_policy.scenario import Scenario

pytestmark = pytest.mark.cluster


async def test_the_operator_keeps_evidence_and_touches_no_other_configmap(scenario: Scenario) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    admin, operator = await scenario.client(people.ADMIN), await scenario.client(people.OPERATOR)
    await _in_force(operator, scenario.namespace)
    incident = Incident.model_validate(await admin.get(discovery.incidents(scenario.namespace, name)))
    for text in ("first", "second"):
        kept = await EvidenceStore().store(operator, incident, "evidence", {f"{text}.json": text})
        assert kept.problem == ""
    (place,) = set(kept.places.values())
    assert (await admin.get(discovery.configmaps(scenario.namespace, place)))["data"].keys() == {
        "first.json",
        "second.json",
    }
    applications = await admin.create(discovery.configmaps(scenario.namespace), _configmap("application"))
    path = discovery.configmaps(scenario.namespace, "application")
    owner = {"apiVersion": API_VERSION, "kind": "Incident", "name": name, "uid": incident.metadata.uid}
    for patch in ({"data": {"a": "c"}}, {"metadata": {"ownerReferences": [owner]}}):
        with pytest.raises(Forbidden, match="operator-configmaps"):
            await operator.merge_patch(path, patch)
    with pytest.raises(Forbidden, match="operator-configmaps"):
        await operator.delete(path)
    assert await admin.get(path) == applications


async def test_a_full_configmap_is_refused_as_by_the_fake(scenario: Scenario) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    admin, operator = await scenario.client(people.ADMIN), await scenario.client(people.OPERATOR)
    incident = Incident.model_validate(await admin.get(discovery.incidents(scenario.namespace, name)))
    data = {f"{number}.json": '"\\' * 32 * 1024 for number in range(18)}
    store = EvidenceStore()
    await store.store(operator, incident, "evidence", {"first.json": "x"})
    kept = await store.store(operator, incident, "evidence", data)
    assert (kept.problem, set(kept.places)) == ("", set(data))
    assert len(set(kept.places.values())) == 2


async def _in_force(operator: Kube, namespace: str) -> None:
    """Wait until the policy is enforced, which takes a new one a second or so."""
    for _ in range(100):
        try:
            await operator.create(discovery.configmaps(namespace), _configmap("probe"), dry_run=True)
        except Forbidden:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the operator may still create any ConfigMap")


def _configmap(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
