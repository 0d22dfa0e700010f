"""A namespace that refuses Incidents: a refusal that passes loses nothing, one that stays holds nobody else up."""

import pytest
from structlog.testing import capture_logs

from incident_operator.kubernetes import discovery
from incident_operator.receiver import refusals
from incident_operator.receiver.intake import NotStoredError
from incident_operator.receiver.refusals import Refusals
from tests.kubernetes.fake_faults import Fault
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert, resolved
from tests.receiver.receiver_setup import Receivers, Replica

OTHERS = messages.runbook("pages", match=('alertname=~"Pack.*"',), namespace="oncall", severity="P0")
PLACE = discovery.incidents("prod")
ALWAYS = 1000


def impatient(receivers: Receivers) -> Replica:
    """A receiver that gives a namespace up at its first refusal."""
    return receiver_setup.replica(receivers.one.kube, messages.runbook(), OTHERS, give_up_seconds=0.0)


async def test_a_refusal_that_passes_loses_no_alert(receivers: Receivers) -> None:
    receivers.api.inject(Fault.FORBIDDEN, method="POST", path=PLACE, times=2)
    for _ in range(2):
        with pytest.raises(NotStoredError):
            await receivers.one.take(alert())
    receipt = await receivers.one.take(alert())
    assert (receipt.opened, receipt.refused) == (1, 0)
    assert receivers.one.counted("alerts_refused_total") == 0


async def test_a_refusal_that_stays_is_answered_and_counted_and_others_are_served(receivers: Receivers) -> None:
    receivers.api.inject(Fault.FORBIDDEN, path=PLACE, times=ALWAYS)
    one = impatient(receivers)
    with capture_logs() as logs:
        receipt = await one.take(alert(pod="a"), alert(pod="b"))
    assert str(receipt) == "2 alerts: 1 Incident opened, 2 refused by their namespaces"
    assert len(receivers.incidents("oncall")) == 1
    assert one.counted("alerts_refused_total") == 2
    (told,) = [one for one in logs if one["log_level"] == "error"]
    assert (told["namespace"], told["alertnames"]) == ("prod", ["PackFailed"])
    assert "bind the operator's writer role there" in told["remedy"]


async def test_what_is_refused_when_it_changes_is_given_up_too(receivers: Receivers) -> None:
    one = impatient(receivers)
    await one.take(alert(pod="a"))
    receivers.api.inject(Fault.FORBIDDEN, method="PATCH", path=PLACE, times=ALWAYS)
    receipt = await one.take(resolved(pod="a"))
    assert (receipt.changed, receipt.refused, receipt.never_stored) == (1, 1, 0)


async def test_a_namespace_that_takes_incidents_again_is_patiently_asked_again(receivers: Receivers) -> None:
    spans = Refusals()
    assert not spans.refused("prod")
    spans.give_up_seconds = 0.0
    assert spans.refused("prod"), "so long after the first refusal it would be given up"
    spans.give_up_seconds = 10.0
    spans.taken("prod")
    assert not spans.refused("prod")


async def test_a_refusal_long_after_another_begins_anew(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = Refusals(give_up_seconds=0.05)
    spans._spans["prod"] = (-1e6, -1e5)
    assert not spans.refused("prod")
    monkeypatch.setattr(refusals, "_FORGET_SECONDS", 1e9)
    spans._spans["shop"] = (-1e6, -1e5)
    assert spans.refused("shop")


async def test_a_poll_whose_namespace_refuses_says_so(receivers: Receivers) -> None:
    receivers.api.inject(Fault.FORBIDDEN, path=PLACE, times=ALWAYS)
    with pytest.raises(NotStoredError, match="the namespace refuses Incidents, so 1 alert cannot be stored"):
        await impatient(receivers).intake.reread(messages.read(alert()), "prod")
