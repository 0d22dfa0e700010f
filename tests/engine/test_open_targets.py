"""Two open Incidents over the same object: each hears of the other, in its plan and in what it did unasked."""

import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from incident_operator.api.incident import Incident
from incident_operator.api.meta import ObjectKey
from incident_operator.engine.executor import OpenTargets
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, fake_cluster

RUNBOOK = """
title: "Slow"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"', 'namespace="prod"']
mitigate:
- name: more
  scale: {target: deployment/web, replicas: 5}
remediate:
- name: rebuild
  job: {from: deployment/scheduler, command: [build]}
- name: flush
  exec: {target: deployment/cache, command: [flush]}
  approval: {alone: true}
"""
SECOND = ObjectKey("prod", "pack-5f2c1-2")


@pytest.fixture
async def slow() -> AsyncIterator[FakeCluster]:
    """A firing alert, and a Runbook that scales unasked and then asks for two more acts."""
    async with fake_cluster(RUNBOOK) as made:
        yield made


def opened(fake_cluster: FakeCluster, key: ObjectKey) -> None:
    body = fake_cluster.api.object(discovery.incidents(*INCIDENT))
    fake_cluster.api.put({**body, "metadata": {"name": key.name, "namespace": key.namespace}, "status": {}})


def stored(fake_cluster: FakeCluster, key: ObjectKey) -> Incident:
    return Incident.model_validate(fake_cluster.api.object(discovery.incidents(*key)))


def summary(fake_cluster: FakeCluster, key: ObjectKey, step: str) -> str:
    return next(each.summary for each in stored(fake_cluster, key).status.steps if each.name == step)


def allowed(fake_cluster: FakeCluster, key: ObjectKey) -> list[str] | None:
    pending = stored(fake_cluster, key).status.pending_approval
    assert pending is not None
    return pending.plan[0].allows


async def approve(fake_cluster: FakeCluster, key: ObjectKey) -> None:
    pending = stored(fake_cluster, key).status.pending_approval
    assert pending is not None
    value = f"{pending.plan_hash[:12]} alice@example.com"
    await fake_cluster.client.merge_patch(
        discovery.incidents(*key), {"metadata": {"annotations": {"incidents.dev/approve": value}}}
    )


FLUSHES = "Other open Incidents act on deployment/cache too: "


async def test_each_plan_and_each_unasked_mitigation_says_so(slow: FakeCluster) -> None:
    engine = slow.engine()
    await engine.reconcile(INCIDENT)
    assert summary(slow, INCIDENT, "more") == "1 row"
    opened(slow, SECOND)
    await engine.reconcile(SECOND)
    assert summary(slow, SECOND, "more") == f"1 row; Other open Incidents act on deployment/web too: {INCIDENT.name}"
    assert allowed(slow, SECOND) is None, "a Job is an object of its own"
    await approve(slow, SECOND)
    await engine.reconcile(SECOND)
    assert allowed(slow, SECOND) == [f"{FLUSHES}{INCIDENT.name}"]


async def test_a_plan_that_did_not_say_so_is_asked_again_once_and_then_holds(slow: FakeCluster) -> None:
    engine = slow.engine()
    await engine.reconcile(INCIDENT)
    await approve(slow, INCIDENT)
    await engine.reconcile(INCIDENT)
    assert allowed(slow, INCIDENT) is None
    opened(slow, SECOND)
    await engine.reconcile(SECOND)
    await approve(slow, INCIDENT)
    await engine.reconcile(INCIDENT)
    assert allowed(slow, INCIDENT) == [f"{FLUSHES}{SECOND.name}"]
    assert FLUSHES in stored(slow, INCIDENT).status.message
    third = ObjectKey("prod", "pack-5f2c1-3")
    opened(slow, third)
    await engine.reconcile(third)
    await approve(slow, INCIDENT)
    await engine.reconcile(INCIDENT)
    assert "flush" in slow.targets.done(), "which others there are binds nobody"


@pytest.mark.parametrize("how", ["closed", "deleted"])
async def test_an_incident_that_is_not_open_any_more_is_named_no_more(slow: FakeCluster, how: str) -> None:
    engine = slow.engine()
    opened(slow, SECOND)
    await engine.reconcile(SECOND)
    if how == "closed":
        body = slow.api.object(discovery.incidents(*SECOND))
        slow.api.put({**body, "status": {**body["status"], "phase": "Resolved"}})
    else:
        slow.api.remove(discovery.incidents(*SECOND))
    await engine.reconcile(SECOND)
    await engine.reconcile(INCIDENT)
    assert summary(slow, INCIDENT, "more") == "1 row"


OWN_NAME = re.compile(rf"{SECOND.name}|{INCIDENT.name}|incident-[0-9a-f]{{20}}")
"""How an Incident is named, and its ConfigMaps."""


async def test_to_know_it_costs_no_request(slow: FakeCluster) -> None:
    engine = slow.engine()
    await engine.reconcile(INCIDENT)
    await slow.background.drain()
    alone = len(slow.api.requests)
    opened(slow, SECOND)
    await engine.reconcile(SECOND)
    await slow.background.drain()
    asked = [(one.method, OWN_NAME.sub("its-own", one.path)) for one in slow.api.requests]
    assert not Counter(asked[alone:]) - Counter(asked[:alone]), "the second asks nothing that the first did not"


A, B = (ObjectKey("prod", name) for name in "ab")


def test_one_that_left_the_open_ones_unseen_is_dropped() -> None:
    is_open = {A: True, B: True}
    known = OpenTargets(lambda key: is_open[key])
    known.note(A, frozenset({"deployment/web"}))
    known.note(B, frozenset({"deployment/web", "deployment/cache"}))
    assert known.others(A) == {"deployment/web": ("b",)}
    is_open[B] = False
    assert known.others(A) == {}
    known.forget(B)
    known.forget(A)
    assert known.others(A) == {}


def test_objects_of_another_namespace_and_what_is_skipped_by_now_are_others() -> None:
    known = OpenTargets()
    known.note(A, frozenset({"deployment/web"}))
    known.note(ObjectKey("shop", "a"), frozenset({"deployment/web"}))
    known.note(B, frozenset({"deployment/web"}))
    known.note(B, frozenset())
    assert known.others(A) == {}


def test_of_a_storm_over_one_object_a_few_are_named() -> None:
    known = OpenTargets()
    for number in range(3000):
        known.note(ObjectKey("prod", f"i-{number}"), frozenset({"deployment/web"}))
    (names,) = known.others(ObjectKey("prod", "i-7")).values()
    assert names[:2] == ("i-0", "i-1")
    assert "i-7" not in names
    assert len(names) < 60
