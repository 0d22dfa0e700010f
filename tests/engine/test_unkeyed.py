"""An act that leaves no mark (`exec`): at most once, its outcome stored at once, and else its probe or a person decides."""

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Outcome, Succeeded, Undetermined
from tests.engine.fake_cluster import INCIDENT, FakeCluster, Killed


async def approved(fake_cluster: FakeCluster) -> None:
    await fake_cluster.engine().reconcile(INCIDENT)
    await fake_cluster.approve()


async def killed(fake_cluster: FakeCluster) -> None:
    with pytest.raises(Killed):
        await fake_cluster.engine().reconcile(INCIDENT)


def commands(fake_cluster: FakeCluster) -> int:
    return len([call for call in fake_cluster.targets.calls if call.action == "exec"])


@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
async def test_an_interrupted_command_is_never_run_again_and_a_person_is_asked(cache: FakeCluster, when: str) -> None:
    await approved(cache)
    setattr(cache.targets, when, "flush")
    await killed(cache)
    await cache.engine().reconcile(INCIDENT)
    status = cache.incident().status
    assert (status.phase, status.reason) == (Phase.NEEDS_HUMAN, "StepUnknown")
    assert "exec flush may or may not have run" in status.message
    assert commands(cache) == 1


@pytest.mark.parametrize(("answer", "runs"), [(200, 1), (404, 2)])
async def test_a_probe_tells_whether_an_interrupted_command_ran(
    probed_cache: FakeCluster, answer: int, runs: int
) -> None:
    await approved(probed_cache)
    probed_cache.targets.kill_before = "flush"
    probed_cache.targets.answers["flush"] = lambda call: Succeeded({"status": answer}, "answered")
    await killed(probed_cache)
    await probed_cache.engine().reconcile(INCIDENT)
    assert commands(probed_cache) == runs
    assert probed_cache.state("flush") == "Succeeded"


async def test_a_command_whose_end_was_not_seen_is_not_run_again(cache: FakeCluster) -> None:
    cache.targets.answers["flush"] = lambda _: Undetermined("in cache-0/main: the connection was lost")
    await approved(cache)
    await cache.engine().reconcile(INCIDENT)
    await cache.engine().reconcile(INCIDENT)
    assert cache.incident().status.reason == "StepUnknown"
    assert commands(cache) == 1


@pytest.mark.parametrize("step", ["works", "rebuild"])
async def test_the_outcome_is_stored_before_what_takes_time_comes_next(cache: FakeCluster, step: str) -> None:
    seen: list[str] = []

    def spy(call: Call) -> Outcome:
        seen.append(cache.state("flush"))
        return Succeeded({"status": 200}, "ok")

    await approved(cache)
    cache.targets.answers["works"] = spy
    cache.targets.preview_of["rebuild"] = lambda: seen.append(cache.state("flush"))
    cache.targets.kill_after = step
    await killed(cache)
    assert set(seen) == {"Succeeded"}


async def test_it_costs_one_write_more_than_an_act_that_leaves_a_mark(cache: FakeCluster) -> None:
    await cache.engine().reconcile(INCIDENT)
    await cache.approve()
    await cache.engine().reconcile(INCIDENT)
    await cache.resolve_alert()
    await cache.engine().reconcile(INCIDENT)
    effects, waits, unkeyed = 2, 2, 1
    assert cache.incident().status.phase is Phase.RESOLVED
    assert cache.status_writes() == effects + 1 + waits + unkeyed
