"""A scaling that somebody puts back, through a whole Incident: it waits without a worker, fails by name, and is unwound."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from incident_operator.actions import ACTIONS, scale
from incident_operator.actions.scale_owners import BASELINE
from incident_operator.engine.calls import Redactors
from incident_operator.engine.reconciler import Reconciler
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.engine.fake_cluster import INCIDENT, START, FakeCluster, fake_cluster
from tests.kubernetes.manifests import deployment, managed

RUNBOOK = """
title: "Slow"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"', 'namespace="prod"']
mitigate:
- name: more
  scale: {target: deployment/web, atLeast: 5}
"""
WEB = "/apis/apps/v1/namespaces/prod/deployments/web"
ARGO = ("argocd-controller", "Apply", "")


class Slow:
    """An engine whose `scale` is the real one."""

    def __init__(self, fake_cluster: FakeCluster, cluster: Cluster) -> None:
        self.fake_cluster = fake_cluster
        self.cluster = cluster

    def engine(self) -> Reconciler:
        made, access = self.fake_cluster.engine(), self.fake_cluster.api.access()
        tools = calls.clients(self.cluster, access, lambda: self.fake_cluster.now)
        redactors = Redactors(tools, ACTIONS, lambda: self.fake_cluster.now)
        executor = replace(made.executor, actions={"scale": scale.ACTION}, redactors=redactors)
        return replace(made, executor=executor)

    def web(self) -> dict[str, Any]:
        found: dict[str, Any] = self.fake_cluster.api.object(WEB)
        return found

    def more(self) -> tuple[str, str, str]:
        (record, *_) = self.fake_cluster.incident().status.steps
        return record.state.value, record.reason, record.summary


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    async with fake_cluster(RUNBOOK) as made, Cluster(made.api.access()) as cluster:
        made.api.put(managed(deployment(), ARGO))
        yield Slow(made, cluster)


async def test_it_is_looked_at_again_a_minute_later_and_nothing_waits_meanwhile(slow: Slow) -> None:
    again = await slow.engine().reconcile(INCIDENT)
    assert again == START + timedelta(seconds=60)
    assert slow.web()["spec"]["replicas"] == 5
    assert slow.more()[0] == "Running"
    assert slow.fake_cluster.incident().status.message.startswith("Running more, until 00:31 at the latest")
    slow.fake_cluster.later(seconds=60)
    await slow.engine().reconcile(INCIDENT)  # by another process than the one that scaled
    assert slow.more() == ("Succeeded", "", "deployment/web scaled 2 → 5; argocd-controller sets its replicas too")
    await slow.fake_cluster.resolve_alert()
    await slow.engine().reconcile(INCIDENT)
    assert slow.fake_cluster.incident().status.phase == "Resolved"
    assert slow.web()["spec"]["replicas"] == 2


async def test_what_was_put_back_calls_a_person_with_the_name_and_holds_nothing(slow: Slow) -> None:
    await slow.engine().reconcile(INCIDENT)
    body = slow.web()
    slow.fake_cluster.api.put(managed({**body, "spec": {**body["spec"], "replicas": 2}}, ARGO))
    slow.fake_cluster.later(seconds=60)
    await slow.engine().reconcile(INCIDENT)
    told = "deployment/web scaled 2 → 5, and put back to 2 by argocd-controller"
    assert slow.more() == ("Failed", "PutBack", told)
    status = slow.fake_cluster.incident().status
    assert (status.phase, status.reason) == ("NeedsHuman", "StepFailed")
    assert f"Mitigate step more failed: {told}. Undone: more." in status.message
    assert slow.web()["spec"]["replicas"] == 2
    assert BASELINE not in slow.web()["metadata"]["annotations"]


async def test_without_such_an_owner_it_is_done_at_once(slow: Slow) -> None:
    slow.fake_cluster.api.put(managed(deployment(), ("kubectl-client-side-apply", "Update", "")))
    await slow.engine().reconcile(INCIDENT)
    assert slow.more() == ("Succeeded", "", "deployment/web scaled 2 → 5")
