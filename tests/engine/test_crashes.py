"""The process dies at any write, before or after it is applied, and at any act: each effect happens once."""

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Outcome, Succeeded
from tests.engine.fake_cluster import INCIDENT, DyingKube, FakeCluster, Killed
from tests.kubernetes.fake_faults import Fault

ORDER = ["serve", "rebuild", "mark", "undo-serve"]
WRITES = 14
"""More than the whole way takes, so that the last runs meet no death at all."""


async def survive(fake_cluster: FakeCluster) -> None:
    """Let people do their part, and start a new process whenever the old one died."""
    for _ in range(12):
        try:
            await fake_cluster.engine().reconcile(INCIDENT)
        except Killed:
            continue
        status = fake_cluster.incident().status
        if status.phase is Phase.AWAITING_APPROVAL:
            await fake_cluster.approve()
        if status.phase is Phase.VERIFYING:
            await fake_cluster.resolve_alert()


@pytest.mark.parametrize("applied", [False, True], ids=["before it is sent", "after it is applied"])
@pytest.mark.parametrize("nth", range(1, WRITES))
async def test_dying_at_any_write_doubles_and_loses_nothing(pack: FakeCluster, nth: int, applied: bool) -> None:
    DyingKube.dies_at, DyingKube.applied = nth, applied
    async with DyingKube(pack.api.access()) as client:
        for _ in range(3):
            try:
                await pack.engine(client).reconcile(INCIDENT)
            except Killed:
                break
            if pack.incident().status.phase is Phase.AWAITING_APPROVAL:
                await pack.approve()
            elif pack.incident().status.phase is Phase.VERIFYING:
                await pack.resolve_alert()
    await survive(pack)
    assert pack.targets.done() == ORDER
    assert pack.incident().status.phase is Phase.RESOLVED


@pytest.mark.parametrize("step", ["packs", *ORDER, "works"])
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
async def test_dying_in_an_act_doubles_and_loses_nothing(pack: FakeCluster, step: str, when: str) -> None:
    setattr(pack.targets, when, step)
    await survive(pack)
    assert pack.targets.done() == ORDER
    assert pack.incident().status.phase is Phase.RESOLVED


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.DROPPED, Fault.INTERNAL_ERROR, Fault.SERVICE_UNAVAILABLE])
@pytest.mark.parametrize("step", ORDER)
async def test_a_failing_status_write_after_an_effect_does_not_double_it(
    pack: FakeCluster, fault: Fault, step: str
) -> None:
    def break_next_write(call: Call) -> Outcome:
        del pack.targets.answers[step]
        pack.api.inject(fault, method="PATCH", path="/status")
        return Succeeded({"rows": []}, "1 row")

    pack.targets.answers[step] = break_next_write
    await survive(pack)
    assert pack.targets.done() == ORDER
    assert pack.incident().status.phase is Phase.RESOLVED
