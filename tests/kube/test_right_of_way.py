"""Right of way: what is milder waits while something severe is under way, and never for long."""

import asyncio

import pytest

from incident_operator.clients.right_of_way import RightOfWay


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_mild_waits_until_the_last_of_what_is_severe_is_done() -> None:
    way = RightOfWay()
    with way.held(severe=True):
        with way.held(severe=True):
            giving = asyncio.create_task(way.give(severe=False))
            await settle()
            assert way.is_held
        await settle()
        assert not giving.done()
    await asyncio.wait_for(giving, 1)
    assert not way.is_held


@pytest.mark.parametrize(("holder", "asker"), [(False, False), (False, True), (True, True)])
async def test_nobody_waits_for_what_is_mild_and_nothing_severe_waits(holder: bool, asker: bool) -> None:
    way = RightOfWay()
    with way.held(severe=holder):
        await asyncio.wait_for(way.give(severe=asker), 1)


async def test_it_is_held_only_for_the_first_moments_of_what_takes_long() -> None:
    way = RightOfWay(longest=0.05)
    with way.held(severe=True):
        await asyncio.sleep(0.1)
        with way.held(severe=True):
            assert not way.is_held, "what comes then has its rank and the places kept for it, no more"
    await settle()
    with way.held(severe=True):
        assert way.is_held


async def test_what_is_mild_goes_on_after_a_while_though_one_severe_thing_follows_another() -> None:
    way = RightOfWay(longest=0.1)
    with way.held(severe=True):
        giving = asyncio.create_task(way.give(severe=False))
    for _ in range(100):
        with way.held(severe=True):
            await asyncio.sleep(0.01)
        if giving.done():
            break
    assert giving.done()


async def test_it_is_handed_over_to_what_follows_at_once_and_nothing_gets_between() -> None:
    way, freed = RightOfWay(), []
    way.when_free(lambda: freed.append("free"))
    with way.held(severe=True):
        giving = asyncio.create_task(way.give(severe=False))
        await settle()
    with way.held(severe=True):
        await settle()
        assert (giving.done(), freed) == (False, [])
    await asyncio.wait_for(giving, 1)
    assert freed == ["free"]


async def test_it_is_given_back_by_what_fails() -> None:
    way = RightOfWay()
    with pytest.raises(ValueError, match="broken"), way.held(severe=True):
        raise ValueError("broken")
    await settle()
    assert not way.is_held
