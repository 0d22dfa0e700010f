"""Priority: what is milder waits while something severe is under way, and never for long."""

import asyncio

import pytest

from incident_operator.api.meta import Severity
from incident_operator.kubernetes.fair_shares import Flow
from incident_operator.kubernetes.priority import Priority, kept_of


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_mild_waits_until_the_last_of_what_is_severe_is_done() -> None:
    priority = Priority()
    with priority.held(urgent=True):
        with priority.held(urgent=True):
            yielding = asyncio.create_task(priority.yield_to_urgent(urgent=False))
            await settle()
            assert priority.is_held
        await settle()
        assert not yielding.done()
    await asyncio.wait_for(yielding, 1)
    assert not priority.is_held


@pytest.mark.parametrize(("holder", "asker"), [(False, False), (False, True), (True, True)])
async def test_nobody_waits_for_what_is_mild_and_nothing_severe_waits(holder: bool, asker: bool) -> None:
    priority = Priority()
    with priority.held(urgent=holder):
        await asyncio.wait_for(priority.yield_to_urgent(urgent=asker), 1)


async def test_it_is_held_only_for_the_first_moments_of_what_takes_long() -> None:
    priority = Priority(longest=0.05)
    with priority.held(urgent=True):
        await asyncio.sleep(0.1)
        with priority.held(urgent=True):
            assert not priority.is_held, "what comes then has its rank and the places kept for it, no more"
    await settle()
    with priority.held(urgent=True):
        assert priority.is_held


async def test_what_is_mild_goes_on_after_a_while_though_one_severe_thing_follows_another() -> None:
    priority = Priority(longest=0.1)
    with priority.held(urgent=True):
        yielding = asyncio.create_task(priority.yield_to_urgent(urgent=False))
    for _ in range(100):
        with priority.held(urgent=True):
            await asyncio.sleep(0.01)
        if yielding.done():
            break
    assert yielding.done()


async def test_it_is_handed_over_to_what_follows_at_once_and_nothing_gets_between() -> None:
    priority, freed = Priority(), []
    priority.when_free(lambda: freed.append("free"))
    with priority.held(urgent=True):
        yielding = asyncio.create_task(priority.yield_to_urgent(urgent=False))
        await settle()
    with priority.held(urgent=True):
        await settle()
        assert (yielding.done(), freed) == (False, [])
    await asyncio.wait_for(yielding, 1)
    assert freed == ["free"]


@pytest.mark.parametrize(
    ("namespace", "severity", "level"),
    [("prod", "P0", 0), ("prod", "P4", 4), ("prod", "", 5), ("dev", "P0", 2), ("dev", "P3", 3), ("dev", "", 5)],
)
def test_what_is_of_a_namespace_counts_as_severe_as_that_may_be_at_the_most(
    namespace: str, severity: str, level: int
) -> None:
    flow = Priority({"dev": Severity.P2}).flow(namespace, severity)
    assert flow == Flow(namespace, level)
    assert flow.is_urgent is (level <= 1)


@pytest.mark.parametrize(("number", "kept"), [(2, 1), (5, 1), (16, 2), (256, 32)])
def test_one_in_eight_is_kept_for_what_is_urgent_and_one_at_least(number: int, kept: int) -> None:
    assert kept_of(number) == kept


async def test_it_is_given_back_by_what_fails() -> None:
    priority = Priority()
    with pytest.raises(ValueError, match="broken"), priority.held(urgent=True):
        raise ValueError("broken")
    await settle()
    assert not priority.is_held
