"""The apiserver is away for half an hour: all of it goes on afterwards, nothing twice, and no approval outlives what it says."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Outcome, Pending, Succeeded
from incident_operator.engine.reconciler import Reconciler
from incident_operator.kubernetes import apiserver
from tests.engine.fake_cluster import INCIDENT, FakeCluster
from tests.kubernetes.fake_faults import Fault

MINUTES = 31
FOR_EVER = 10**9


@contextmanager
def away(fake_cluster: FakeCluster, how: Fault) -> Iterator[None]:
    """No request of anybody's is answered for as long as the block takes, which are so many minutes."""
    fake_cluster.api.inject(how, times=FOR_EVER)
    try:
        yield
    finally:
        fake_cluster.api._faults._injected.clear()
        fake_cluster.later(minutes=MINUTES)


async def tries(process: Reconciler, times: int = 3) -> None:
    for _ in range(times):
        with pytest.raises(apiserver.Unavailable):
            await process.reconcile(INCIDENT)


HOW = pytest.mark.parametrize("how", [Fault.SERVICE_UNAVAILABLE, Fault.DROPPED], ids=["503", "no connection"])


@HOW
async def test_a_question_that_nobody_could_answer_is_asked_again(pack: FakeCluster, how: Fault) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    before = pack.incident().status.pending_approval
    with away(pack, how):
        await tries(process)
    await process.reconcile(INCIDENT)
    current = pack.incident().status
    assert current.approvals[-1].state is ApprovalState.EXPIRED
    assert current.pending_approval.plan_hash != before.plan_hash
    assert pack.targets.done() == ["serve"]


@HOW
async def test_an_answer_that_was_given_just_before_is_too_old_afterwards(pack: FakeCluster, how: Fault) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()
    with away(pack, how):
        await tries(process)
    await process.reconcile(INCIDENT)
    assert pack.targets.done() == ["serve"], "it says until when it may be answered"
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


@pytest.mark.parametrize("restarted", [False, True], ids=["the same process", "another process"])
@HOW
async def test_what_an_act_came_to_meanwhile_is_told_afterwards_and_it_is_not_done_again(
    pack: FakeCluster, how: Fault, restarted: bool
) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()

    def gone_meanwhile(call: Call) -> Outcome:
        pack.api.inject(how, times=FOR_EVER)
        return Succeeded({"rows": []}, "1 row")

    pack.targets.answers["rebuild"] = gone_meanwhile
    with pytest.raises(apiserver.Unavailable):
        await process.reconcile(INCIDENT)
    await tries(process)
    pack.api._faults._injected.clear()
    del pack.targets.answers["rebuild"]
    pack.later(minutes=MINUTES)
    await (pack.engine() if restarted else process).reconcile(INCIDENT)
    assert pack.state("rebuild") == "Succeeded"
    assert pack.targets.done() == ["serve", "rebuild"], "what is left of the plan is asked for again"
    assert pack.incident().status.pending_approval.steps == ["mark"]


@HOW
async def test_what_was_under_way_is_followed_to_its_end(pack: FakeCluster, how: Fault) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    await pack.approve()
    pack.targets.answers["rebuild"] = lambda _: Pending(5.0, "running for 1s")
    await process.reconcile(INCIDENT)
    with away(pack, how):
        await tries(process)
    del pack.targets.answers["rebuild"]
    record = next(each for each in pack.incident().status.steps if each.name == "rebuild")
    pack.targets.effects.append(("rebuild", record.key))
    await process.reconcile(INCIDENT)
    assert pack.state("rebuild") == "Succeeded"


@pytest.mark.parametrize("visited", [True, False], ids=["visited before", "not visited"])
async def test_an_alert_that_resolved_meanwhile_is_restored_from(pack: FakeCluster, visited: bool) -> None:
    process = pack.engine()
    await process.reconcile(INCIDENT)
    with away(pack, Fault.SERVICE_UNAVAILABLE):
        await tries(process)
    if visited:
        await process.reconcile(INCIDENT)
    await pack.resolve_alert()
    await process.reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED
    assert pack.targets.done() == ["serve", "undo-serve"]
