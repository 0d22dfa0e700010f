"""A visit that fails for good: the Incident calls a person and says why, instead of being tried in silence for ever."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from incident_operator.api.incident import OPENED_BY, Phase
from incident_operator.engine.reconciler import FOR_GOOD, Reconciler
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster
from tests.kubernetes.fake_faults import Fault

STATUS = discovery.incidents(*INCIDENT, "status")
MANY = 1000


async def visit(engine: Reconciler, times: int = FOR_GOOD) -> datetime | None:
    """Visit it so often, as the work queue does; return when the last one wants to come back, None where it failed."""
    again = None
    for _ in range(times):
        try:
            again = await engine.reconcile(INCIDENT)
        except Exception:  # noqa: BLE001 # the work queue logs any, and comes again
            again = None
    return again


def refuse(fake_cluster: FakeCluster, fault: Fault, *, method: str, path: str, times: int = MANY) -> None:
    fake_cluster.api.inject(fault, method=method, path=path, times=times)


async def test_what_the_apiserver_refuses_for_good_calls_a_person_and_says_what(pack: FakeCluster) -> None:
    refuse(pack, Fault.INVALID, method="POST", path="controllerrevisions")
    await visit(pack.engine())
    status = pack.incident().status
    assert (status.phase, status.reason) == (Phase.NEEDS_HUMAN, "VisitFailed")
    assert "The operator cannot go on: injected by the test: INVALID. It is tried again." in status.message
    assert "incidents.dev/abort=" in status.message
    assert pack.targets.calls == []


async def test_it_goes_on_by_itself_once_that_is_mended(pack: FakeCluster) -> None:
    refuse(pack, Fault.INVALID, method="POST", path="controllerrevisions", times=FOR_GOOD)
    engine = pack.engine()
    await visit(engine)
    assert await visit(engine, 1) is not None
    assert (pack.incident().status.phase, pack.targets.done()) == (Phase.AWAITING_APPROVAL, ["serve"])


async def test_to_say_it_again_writes_nothing(pack: FakeCluster) -> None:
    refuse(pack, Fault.INVALID, method="POST", path="controllerrevisions")
    engine = pack.engine()
    await visit(engine)
    await pack.background.drain()
    before = pack.status_writes()
    await visit(engine)
    assert pack.status_writes() == before == 1


async def test_it_can_still_be_aborted(pack: FakeCluster) -> None:
    refuse(pack, Fault.INVALID, method="POST", path="controllerrevisions")
    engine = pack.engine()
    await visit(engine)
    await pack.annotate("abort", "now dave@example.com")
    await visit(engine)
    status = pack.incident().status
    assert (status.phase, status.reason) == (Phase.FAILED, "Aborted")


@pytest.mark.parametrize("fault", [Fault.SERVICE_UNAVAILABLE, Fault.TOO_MANY_REQUESTS, Fault.CONFLICT, Fault.DROPPED])
async def test_what_passes_calls_nobody(pack: FakeCluster, fault: Fault) -> None:
    refuse(pack, fault, method="POST", path="controllerrevisions", times=MANY)
    await visit(pack.engine(), FOR_GOOD)
    assert pack.status_writes() == 0


async def test_one_failure_calls_nobody(pack: FakeCluster) -> None:
    refuse(pack, Fault.INVALID, method="POST", path="controllerrevisions", times=FOR_GOOD - 1)
    engine = pack.engine()
    await visit(engine, FOR_GOOD - 1)
    assert pack.status_writes() == 0
    await visit(engine, 1)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


def defects() -> Iterator[BaseException]:
    while True:
        yield KeyError("a defect with a secret in it")


async def test_a_defect_calls_a_person_and_shows_nothing_of_what_it_held(pack: FakeCluster, monkeypatch) -> None:
    engine, raised = pack.engine(), defects()

    async def broken(_: object) -> None:
        raise next(raised)

    monkeypatch.setattr(engine.runbooks, "in_force", broken)
    await visit(engine)
    status = pack.incident().status
    assert (status.phase, status.reason) == (Phase.NEEDS_HUMAN, "VisitFailed")
    assert "KeyError; its log has the details" in status.message
    assert "secret" not in status.message


async def test_an_outcome_that_could_not_be_stored_is_not_lost_by_saying_so(pack: FakeCluster) -> None:
    engine = pack.engine()

    def refuse_the_next(*_: object) -> None:
        refuse(pack, Fault.INVALID, method="PATCH", path=STATUS, times=FOR_GOOD)

    pack.targets.begun["serve"] = type("Now", (), {"set": refuse_the_next})()
    await visit(engine)
    assert pack.targets.done() == ["serve"]
    pack.targets.begun.clear()
    assert await visit(engine, 1) is not None
    assert pack.state("serve") == "Succeeded"
    assert (pack.targets.looks, len(pack.targets.sent)) == ([], 1), "what this process knows needs no look"


async def test_an_incident_that_cannot_be_read_says_so(pack: FakeCluster) -> None:
    body = pack.api.object(discovery.incidents(*INCIDENT))
    pack.api.put({**body, "status": {"phase": "Diagnosing", "steps": [{"name": "x"}]}})
    await visit(pack.engine())
    status = pack.api.object(discovery.incidents(*INCIDENT))["status"]
    assert (status["phase"], status["reason"]) == ("NeedsHuman", "VisitFailed")
    assert "status.steps[0].stage: Field required" in status["message"]


async def test_an_opener_whose_name_cannot_be_excluded_is_told_so(pack: FakeCluster) -> None:
    body = pack.api.object(discovery.incidents(*INCIDENT))
    meta = {**body["metadata"], "annotations": {OPENED_BY: "o" * 260}}
    pack.api.put({**body, "metadata": meta})
    assert await visit(pack.engine(), 1) is not None
    status = pack.incident().status
    assert (status.phase, status.reason) == (Phase.NEEDS_HUMAN, "ApprovalPolicyMissing")
    assert "Whoever opened this Incident has a name of more than 253 characters" in status.message
