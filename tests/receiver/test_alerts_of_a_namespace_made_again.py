"""A namespace that was deleted and made again: nothing of the old one keeps an alert from the new one."""

import pytest

from incident_operator.kubernetes import discovery
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers

STARTS = "2025-10-01T00:00:00Z"


async def deleted(receivers: Receivers, *, is_told: bool) -> None:
    """Everything in it goes; of open Incidents the watch tells, of closed ones nobody."""
    for stored in receivers.incidents():
        receivers.api.remove(discovery.incidents("prod", stored["metadata"]["name"]))
        if is_told:
            receivers.one.incidents.forget(stored)


@pytest.mark.parametrize("phase", ["Resolved", "Failed"])
async def test_an_alert_that_a_closed_incident_of_the_old_one_held_opens_one_in_the_new_one(
    receivers: Receivers, phase: str
) -> None:
    await receivers.one.take(alert(starts=STARTS))
    old = receivers.incident()
    receivers.close(old, phase)
    await receivers.one.watch()
    await deleted(receivers, is_told=False)
    receivers.one.incidents.forget_closed("prod")  # as the inbox does when its Runbooks go
    receipt = await receivers.one.take(alert(starts=STARTS))
    assert receipt.opened == 1
    assert receivers.incident()["metadata"]["uid"] != old["metadata"]["uid"]
    assert receivers.incident()["metadata"]["name"] == old["metadata"]["name"]


async def test_an_alert_of_an_open_incident_of_the_old_one_opens_one_in_the_new_one(receivers: Receivers) -> None:
    await receivers.one.take(alert(starts=STARTS))
    old = receivers.incident()
    await deleted(receivers, is_told=True)
    assert (await receivers.one.take(alert(starts=STARTS))).opened == 1
    assert receivers.incident()["metadata"]["uid"] != old["metadata"]["uid"]


async def test_closed_incidents_of_other_namespaces_stay_known(receivers: Receivers) -> None:
    await receivers.one.take(alert(starts=STARTS))
    receivers.close(receivers.incident())
    await receivers.one.watch()
    receivers.one.incidents.forget_closed("elsewhere")
    sent = len(receivers.api.requests)
    assert (await receivers.one.take(alert(starts=STARTS))).opened == 0
    assert len(receivers.api.requests) == sent


async def test_what_was_forgotten_and_is_there_is_read_again(receivers: Receivers) -> None:
    """A Runbook that is deleted and made again in a namespace that stays loses nothing, and opens nothing twice."""
    await receivers.one.take(alert(starts=STARTS))
    receivers.close(receivers.incident())
    await receivers.one.watch()
    receivers.one.incidents.forget_closed("prod")
    assert (await receivers.one.take(alert(starts=STARTS))).opened == 0
    assert len(receivers.incidents()) == 1
