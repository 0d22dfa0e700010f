"""The alerts that a message was too long to get to are read from Alertmanager itself, or the message is sent again."""

from dataclasses import replace

import pytest

from incident_operator.receiver.alertmanager import Message
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers
from tests.receiver.test_polling import Alertmanager, connection, group, open_alert, reader, source

__all__ = ["source"]
STARTS = "2025-10-21T00:10:12.500Z"


def beginning(*pods: str) -> Message:
    """What was read of a long message."""
    return replace(messages.read(*(alert(starts=STARTS, pod=pod) for pod in pods)), goes_on=True)


async def test_the_rest_is_stored_at_once(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source))
    source.groups = [group(*(open_alert(pod=str(number)) for number in range(50)))]
    assert await reader(receivers).read_now(beginning("0", "1")) == ""
    assert len(receivers.incident()["spec"]["alerts"]) == 50


async def test_without_a_connection_nobody_can_read_it(receivers: Receivers):
    told = await reader(receivers).read_now(beginning("0"))
    assert told == "there is no Connection of type alertmanager from which the rest could be read"


async def test_an_alertmanager_that_does_not_know_the_message_is_not_its_sender(
    receivers: Receivers, source: Alertmanager
):
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pod="other"))]
    told = await reader(receivers).read_now(beginning("0"))
    assert told == "Connection prod/alerts: its Alertmanager does not know the alerts of this message"


async def test_an_alertmanager_that_does_not_answer_is_told(receivers: Receivers):
    receivers.api.put(connection(Alertmanager("http://127.0.0.1:1")))
    assert (await reader(receivers).read_now(beginning("0"))).startswith("Connection prod/alerts: http://127.0.0.1:1: ")


async def test_a_namespace_without_a_connection_keeps_the_rest_from_being_stored(source: Alertmanager):
    elsewhere = messages.runbook("b", match=('pod="9"',), group_by=(), namespace="oncall")
    async with receiver_setup.started(messages.runbook(), elsewhere) as receivers:
        receivers.api.put(connection(source))
        source.groups = [group(open_alert(pod="0"), open_alert(pod="9"))]
        told = await reader(receivers).read_now(beginning("0"))
        assert told == "no Connection of type alertmanager in oncall could be read, where the rest belongs"
        receivers.api.put(connection(source, "oncall"))
        assert await reader(receivers).read_now(beginning("0")) == ""
        assert len(receivers.incidents("oncall")) == 1


@pytest.mark.parametrize("ended", [True, False])
async def test_a_message_whose_alerts_have_all_resolved_is_believed(
    receivers: Receivers, source: Alertmanager, ended: bool
):
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pod="9"))]
    message = beginning() if ended else beginning("9")
    assert await reader(receivers).read_now(message) == ""
