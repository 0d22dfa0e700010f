"""What senders of this protocol really send is stored: each sender's documented shape is a file of `senders/`.

Shapes: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config> (Alertmanager, and Mimir's),
<https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>,
<https://docs.victoriametrics.com/vmalert/> (posts to an Alertmanager, whose webhook tells of it).
"""

import json
from pathlib import Path

import pytest

from incident_operator.api.incident import AlertStatus
from incident_operator.receiver.alertmanager import read_message
from tests.receiver import messages, receiver_setup

FOLDER = Path(__file__).parent
SENDERS = {path.stem: path for path in sorted((FOLDER / "senders").glob("*.json"))}
ALL = messages.runbook("all", match=('alertname=~".+"',), group_by=("alertname",))


@pytest.mark.parametrize("sender", SENDERS)
def test_every_alert_of_every_sender_is_read(sender: str):
    body = SENDERS[sender].read_bytes()
    message = read_message(body, messages.LIMITS)
    told = json.loads(body)["alerts"]
    assert message.refused == ()
    assert [alert.labels for alert in message.alerts] == [each["labels"] for each in told]
    assert [alert.status.value for alert in message.alerts] == [each["status"] for each in told]


@pytest.mark.parametrize("sender", sorted(set(SENDERS) - {"empty"}))
async def test_every_senders_alert_becomes_an_incident(sender: str):
    async with receiver_setup.started(ALL) as receivers:
        await receivers.one.intake.take(read_message(SENDERS[sender].read_bytes(), messages.LIMITS))
        assert len(receivers.incidents()) == 1


LABELS = json.loads((FOLDER / "kube_prometheus_labels.json").read_bytes())


async def test_every_label_set_of_kube_prometheus_is_kept_exactly():
    async with receiver_setup.started(ALL) as receivers:
        for labels in LABELS:
            await receivers.one.take({**messages.alert(), "labels": labels})
        kept = sorted((each["spec"]["commonLabels"] for each in receivers.incidents()), key=str)
        heard = [labels for labels in LABELS if labels["alertname"] != "Watchdog"]
        assert kept == sorted(heard, key=str)


COLOURED = "\x1b[31mdown\x1b[0m"


def one(**fields: object) -> messages.Json:
    return {**messages.alert(), **fields}


def labelled(**labels: object) -> messages.Json:
    return one(labels={"alertname": "PackFailed", **labels})


ODD = {
    "a label over 1 KiB": labelled(query="x" * 5000),
    "a label of 100 KiB": labelled(query="ä" * 50_000),
    "a label name over 1 KiB": labelled(**{"n" * 2000: "x"}),
    "a coloured label": labelled(check=COLOURED),
    "a coloured label name": labelled(**{COLOURED: "x"}),
    "NUL in a label": labelled(check="a\x00b"),
    "half a character in a label": labelled(check="a\ud800b"),
    "half a character in a label name": labelled(**{"a\udfffb": "x"}),
    "100 labels": labelled(**{f"label_{number}": "x" for number in range(100)}),
    "64 labels that take much room": labelled(**{f"label_{number}": "<" * 1000 for number in range(63)}),
    "a null label": labelled(pod=None),
    "a dotted label": labelled(**{"k8s.pod.name": "web-0"}),
    "null annotations": one(annotations=None),
    "a null annotation": one(annotations={"summary": None, "description": "x"}),
    "no annotations": {key: value for key, value in messages.alert().items() if key != "annotations"},
    "a null end": one(endsAt=None),
    "a zero end": one(endsAt="0001-01-01T00:00:00Z"),
    "a zero end, zoned": one(endsAt="0001-01-01T00:00:00+01:00"),
    "no end": {key: value for key, value in messages.alert().items() if key != "endsAt"},
    "a null generator": one(generatorURL=None),
    "no fingerprint": {key: value for key, value in messages.alert().items() if key != "fingerprint"},
    "a null fingerprint": one(fingerprint=None),
    "NUL in an annotation": one(annotations={"summary": "a\x00b"}),
    "half a character in an annotation": one(annotations={"summary": "\udfff"}),
    "half a character in the generator": one(generatorURL="http://p/\ud800"),
    "null for all that Grafana adds": one(values=None, valueString=None, dashboardURL=None, panelURL=None, silenceURL=None, imageURL=None),
    "values that are no numbers": one(values={"B": None, "C": "x", "D": [1]}),
    "values with many digits": one(values={"B": 10**20, "C": -(10**20), "D": 1e300, "E": 5e-324}),
    "nine digits of a second": one(startsAt="2025-10-21T00:10:12.123456789Z"),
    "a zone": one(startsAt="2025-10-21T05:40:12.5+05:30"),
    "an annotation of 1 MiB": one(annotations={"summary": "x" * 2**20}),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
async def test_what_can_be_understood_is_stored(receivers: receiver_setup.Receivers, odd: str):
    body = json.dumps(messages.message(ODD[odd], messages.alert(pod="plain"))).encode()
    message = read_message(body, messages.LIMITS)
    assert message.refused == ()
    await receivers.one.intake.take(message)
    assert len(receivers.incident()["spec"]["alerts"]) == 2
    stored = json.dumps(receivers.incident(), ensure_ascii=False)
    assert not any(sign in stored for sign in ("\\u0000", "\\u001b", "\ud800", "\udfff"))
    before = len(receivers.writes)
    await receivers.one.intake.take(read_message(body, messages.LIMITS))
    assert len(receivers.writes) == before


SHAPES = {
    "not an object": "x",
    "a null alert": None,
    "no labels": one(labels={}),
    "null labels": one(labels=None),
    "labels that are a list": one(labels=["a"]),
    "a label that is a number": labelled(pod=1),
    "no start": {key: value for key, value in messages.alert().items() if key != "startsAt"},
    "a null start": one(startsAt=None),
    "a start before time": one(startsAt="0001-01-01T00:00:00Z"),
    "a start that is a number": one(startsAt=1761005412),
    "a start without a zone": one(startsAt="2025-10-21T00:00:00"),
    "a start that is not a time": one(startsAt="yesterday"),
    "another status": one(status="pending"),
    "no status": {key: value for key, value in messages.alert().items() if key != "status"},
    "annotations that are a list": one(annotations=["x"]),
    "deep labels": labelled(pod=json.loads("[" * 100 + "]" * 100)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_error_refuses_that_alert_alone(shape: str):
    body = json.dumps(messages.message(messages.alert(pod="a"), SHAPES[shape], messages.alert(pod="b"))).encode()
    message = read_message(body, messages.LIMITS)
    assert [alert.labels["pod"] for alert in message.alerts] == ["a", "b"]
    (rejection,) = message.refused
    assert rejection.field.startswith("alerts[1]")


@pytest.mark.parametrize("version", ["4", "1", "5", 4, None])
def test_the_version_does_not_matter(version: object):
    body = json.dumps({**messages.message(messages.alert()), "version": version}).encode()
    assert len(read_message(body, messages.LIMITS).alerts) == 1


@pytest.mark.parametrize("fields", [
    {"truncatedAlerts": None}, {"truncatedAlerts": -1}, {"truncatedAlerts": "2"}, {"groupKey": None}, {"commonLabels": None},
    {"extra": {"deep": [1, None]}}, {"receiver": None}, {"status": None}, {"externalURL": 1},
])  # fmt: skip
def test_fields_beside_the_alerts_refuse_nothing(fields: messages.Json):
    body = json.dumps({**messages.message(messages.alert()), **fields}).encode()
    message = read_message(body, messages.LIMITS)
    assert (len(message.alerts), message.truncated) == (1, 0)


def test_null_in_place_of_alerts_is_a_message_without_alerts():
    body = json.dumps({**messages.message(), "alerts": None}).encode()
    assert read_message(body, messages.LIMITS).alerts == ()


def test_alerts_that_differ_behind_the_cut_are_different_alerts():
    first, second = (messages.received(labelled(query="x" * 5000 + end)) for end in "ab")
    assert first.id != second.id


FIRING, ENDED = AlertStatus.FIRING, AlertStatus.RESOLVED


async def test_a_firing_alert_that_a_slower_peer_tells_after_its_end_changes_nothing(
    receivers: receiver_setup.Receivers,
):
    await receivers.one.take(messages.alert(pod="a"))
    await receivers.one.take(messages.resolved(pod="a"))
    writes = len(receivers.writes)
    await receivers.one.take(messages.alert(pod="a"))
    assert len(receivers.writes) == writes
    assert [each["status"] for each in receivers.incident()["spec"]["alerts"]] == ["resolved"]


async def test_a_firing_alert_whose_end_a_faster_peer_told_before_anything_was_stored_ends_at_once(
    receivers: receiver_setup.Receivers,
):
    await receivers.one.take(messages.resolved(pod="a"))
    assert receivers.incidents() == []
    await receivers.one.take(messages.alert(pod="a"), messages.alert(pod="b"))
    statuses = {each["labels"]["pod"]: each["status"] for each in receivers.incident()["spec"]["alerts"]}
    assert statuses == {"a": "resolved", "b": "firing"}
    writes = len(receivers.writes)
    await receivers.one.take(messages.alert(pod="a"), messages.alert(pod="b"))
    assert len(receivers.writes) == writes


async def test_an_alert_that_fires_anew_is_not_ended_by_an_end_that_was_told_before(
    receivers: receiver_setup.Receivers,
):
    await receivers.one.take(messages.resolved(pod="a"))
    await receivers.one.take(messages.alert(pod="a", starts="2025-10-21T00:41:00Z"))
    assert [each["status"] for each in receivers.incident()["spec"]["alerts"]] == ["firing"]


async def test_peers_that_group_otherwise_and_tell_twice_make_one_incident(receivers: receiver_setup.Receivers):
    await receivers.one.take(messages.alert(pod="a"), messages.alert(pod="b"))
    await receivers.one.take(messages.alert(pod="b"))
    await receivers.one.take(messages.alert(pod="b"), messages.alert(pod="a"), messages.alert(pod="b"))
    assert len(receivers.incident()["spec"]["alerts"]) == 2
