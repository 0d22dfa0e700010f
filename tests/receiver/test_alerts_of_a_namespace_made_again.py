"""A namespace that was deleted and made again: nothing of the old one keeps an alert from the new one."""

import pytest

from incident_operator.kubernetes import discovery
from receiver.messages import alert
from receiver.world import World

STARTS = "2025-10-01T00:00:00Z"


async def deleted(world: World, *, is_told: bool) -> None:
    """Everything in it goes; of open Incidents the watch tells, of closed ones nobody."""
    for stored in world.incidents():
        world.api.remove(discovery.incidents("prod", stored["metadata"]["name"]))
        if is_told:
            world.one.incidents.forget(stored)


@pytest.mark.parametrize("phase", ["Resolved", "Failed"])
async def test_an_alert_that_a_closed_incident_of_the_old_one_held_opens_one_in_the_new_one(
    world: World, phase: str
) -> None:
    await world.one.take(alert(starts=STARTS))
    old = world.incident()
    world.close(old, phase)
    await world.one.watch()
    await deleted(world, is_told=False)
    world.one.incidents.forget_closed("prod")  # as the inbox does when its Runbooks go
    receipt = await world.one.take(alert(starts=STARTS))
    assert receipt.opened == 1
    assert world.incident()["metadata"]["uid"] != old["metadata"]["uid"]
    assert world.incident()["metadata"]["name"] == old["metadata"]["name"]


async def test_an_alert_of_an_open_incident_of_the_old_one_opens_one_in_the_new_one(world: World) -> None:
    await world.one.take(alert(starts=STARTS))
    old = world.incident()
    await deleted(world, is_told=True)
    assert (await world.one.take(alert(starts=STARTS))).opened == 1
    assert world.incident()["metadata"]["uid"] != old["metadata"]["uid"]


async def test_closed_incidents_of_other_namespaces_stay_known(world: World) -> None:
    await world.one.take(alert(starts=STARTS))
    world.close(world.incident())
    await world.one.watch()
    world.one.incidents.forget_closed("elsewhere")
    sent = len(world.api.requests)
    assert (await world.one.take(alert(starts=STARTS))).opened == 0
    assert len(world.api.requests) == sent


async def test_what_was_forgotten_and_is_there_is_read_again(world: World) -> None:
    """A Runbook that is deleted and made again in a namespace that stays loses nothing, and opens nothing twice."""
    await world.one.take(alert(starts=STARTS))
    world.close(world.incident())
    await world.one.watch()
    world.one.incidents.forget_closed("prod")
    assert (await world.one.take(alert(starts=STARTS))).opened == 0
    assert len(world.incidents()) == 1
