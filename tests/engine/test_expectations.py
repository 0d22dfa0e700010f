"""Which events wake nobody: those that show our own write and nothing else."""

import pytest

from incident_operator.api.incident import Phase
from incident_operator.api.meta import ObjectKey
from incident_operator.core.machine.view import View
from incident_operator.engine.reconciler import Reconciler
from incident_operator.engine.recorder import Expectations, Progress
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster
from tests.kubernetes.fake_faults import Fault

A = ObjectKey("prod", "a")


def test_what_is_not_newer_than_a_reconciliation_knows_is_expected() -> None:
    expectations = Expectations()
    expectations.expect(A, "9")
    expectations.expect(A, "7")
    assert [expectations.is_expected(A, version) for version in ("7", "9", "10")] == [True, True, False]
    assert not expectations.is_expected(ObjectKey("prod", "b"), "9")


async def test_what_a_reconciliation_read_needs_no_other_reconciliation(pack: FakeCluster) -> None:
    reconciler = pack.engine()
    created = pack.incident().metadata.resource_version
    await reconciler.reconcile(INCIDENT)
    assert reconciler.recorder.expectations.is_expected(INCIDENT, created)
    assert reconciler.recorder.expectations.is_expected(INCIDENT, pack.incident().metadata.resource_version)


async def test_how_this_process_closed_an_incident_is_known_by_the_version_that_did(pack: FakeCluster) -> None:
    reconciler = pack.engine()
    await pack.annotate("abort", "now alice@example.com")
    await reconciler.reconcile(INCIDENT)
    stored = pack.incident()
    assert stored.status.phase is Phase.FAILED
    ending = reconciler.recorder.expectations.ending(INCIDENT, stored.metadata.resource_version)
    assert ending is not None
    assert ending.phase is Phase.FAILED
    assert reconciler.recorder.expectations.ending(INCIDENT, str(int(stored.metadata.resource_version) + 1)) is None


async def test_an_incident_that_stays_open_has_no_ending(pack: FakeCluster) -> None:
    reconciler = pack.engine()
    await reconciler.reconcile(INCIDENT)
    assert reconciler.recorder.expectations.ending(INCIDENT, pack.incident().metadata.resource_version) is None


def test_a_key_that_is_gone_is_expected_no_more() -> None:
    expectations = Expectations()
    expectations.expect(A, "7")
    expectations.forget(A)
    assert not expectations.is_expected(A, "7")


def test_what_is_remembered_is_bounded() -> None:
    expectations = Expectations()
    for number in range(20_001):
        expectations.expect(ObjectKey("prod", str(number)), "1")
    assert not expectations.is_expected(ObjectKey("prod", "0"), "1")
    assert expectations.is_expected(ObjectKey("prod", "20000"), "1")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("metadata", {"annotations": {"note": "by hand"}}),
        ("metadata", {"deletionTimestamp": "2025-10-21T00:31:00Z", "finalizers": ["x/y"]}),
        ("spec", {"truncatedAlerts": 3}),
    ],
    ids=["an annotation", "its deletion", "an alert"],
)
async def test_a_version_that_holds_somebody_elses_change_too_is_not_expected(
    pack: FakeCluster, part: str, change: dict[str, object]
) -> None:
    reconciler = pack.engine()

    def note() -> None:
        body = pack.api.object(discovery.incidents(*INCIDENT))
        pack.api.put({**body, part: {**body[part], **change}})

    # our write is applied but its reply is lost; somebody writes before we find it by its mark
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    pack.api.interleave(note, method="PATCH", path="/status")
    stored = (await reconciler.recorder.publish(*(await first_write(reconciler)))).stored
    assert stored.metadata.resource_version == pack.incident().metadata.resource_version
    assert not reconciler.recorder.expectations.is_expected(INCIDENT, stored.metadata.resource_version)


async def test_a_version_that_holds_our_write_alone_is_expected(pack: FakeCluster) -> None:
    reconciler = pack.engine()
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    stored = (await reconciler.recorder.publish(*(await first_write(reconciler)))).stored
    assert reconciler.recorder.expectations.is_expected(INCIDENT, stored.metadata.resource_version)


async def first_write(reconciler: Reconciler) -> tuple[Progress, View]:
    incident = await reconciler.state.read(*INCIDENT)
    view = await reconciler._view(incident)
    told = view.with_status(incident.status.model_copy(update={"runbook_revision": "pack-1"}))
    return Progress(incident, told.incident), told
