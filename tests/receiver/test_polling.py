"""Reading Alertmanager's open alerts again: what was lost on the way becomes an Incident, and nothing else changes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from incident_operator.api.meta import rfc3339
from incident_operator.clients import alertmanagers
from incident_operator.clients.connections import Connections
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.discovery import EVERYWHERE
from incident_operator.kubernetes.priority import READERS
from incident_operator.receiver import json_text, polling
from incident_operator.receiver.alertmanager import read_listed
from incident_operator.receiver.polling import AlertmanagerPoll
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import service_account
from tests.receiver import messages
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers

NOW = datetime(2025, 10, 21, 0, 20, tzinfo=UTC)
DATE = "Tue, 21 Oct 2025 00:20:00 GMT"
LATER = "2025-10-21T00:24:00.000Z"
TOKEN = "s3cr3t-t0ken"


def open_alert(name: str = "PackFailed", *, state: str = "active", ends: str = LATER, **labels: str) -> messages.Json:
    """An alert as API v2 tells of it."""
    told = alert(name, starts="2025-10-21T00:10:12.500Z", ends=ends, **labels)
    return {**told, "status": {"state": state, "silencedBy": [], "inhibitedBy": []}}


def group(*alerts: messages.Json, receiver: str = "incident-operator") -> messages.Json:
    return {"labels": {}, "receiver": {"name": receiver}, "alerts": list(alerts)}


@dataclass
class Alertmanager:
    """Something that answers at Alertmanager's address."""

    url: str = ""
    groups: list[messages.Json] = field(default_factory=list)
    other: web.Response | None = None
    """Answered instead of the groups."""
    seen: list[web.BaseRequest] = field(default_factory=list)
    slow: float = 0.0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.seen.append(request)
        await asyncio.sleep(self.slow)
        return self.other or web.json_response(self.groups, headers={"Date": DATE})

    async def list(self, _: web.BaseRequest) -> web.Response:
        return web.json_response([alert for group in self.groups for alert in group["alerts"]])


@pytest.fixture
async def source() -> AsyncIterator[Alertmanager]:
    made = Alertmanager()
    app = web.Application()
    app.router.add_get("/api/v2/alerts/groups", made.answer)
    app.router.add_get("/api/v2/alerts", made.list)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


def connection(source: Alertmanager, namespace: str = "prod", *, secret: str = "", **fields: str) -> messages.Json:
    spec = {"type": "alertmanager", "alertmanager": {"url": source.url, **fields}}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Connection",
        "metadata": {"name": "alerts", "namespace": namespace},
        "spec": {**spec, **({"secretRef": {"name": secret}} if secret else {})},
    }


def reader(receivers: Receivers, *namespaces: str) -> AlertmanagerPoll:
    one = receivers.one
    return AlertmanagerPoll(
        one.kube, Connections(one.kube), one.intake, messages.LIMITS, lambda: NOW, namespaces or EVERYWHERE
    )


def ready(receivers: Receivers, namespace: str = "prod") -> tuple[str, str]:
    told = receivers.api.object(discovery.connections(namespace, "alerts"))["status"]["conditions"]
    condition = next(each for each in told if each["type"] == "Ready")
    return condition["status"], condition["message"]


def labels(receivers: Receivers, namespace: str = "prod") -> list[str]:
    return sorted(incident["spec"]["commonLabels"].get("pack_date", "") for incident in receivers.incidents(namespace))


async def test_an_alert_that_was_lost_on_the_way_becomes_an_incident_once(receivers: Receivers, source: Alertmanager):
    await receivers.one.take(alert(starts="2025-10-21T00:10:12.500300700Z", pack_date="arrived"))
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pack_date="arrived"), open_alert(pack_date="lost"))]
    reading = reader(receivers)
    await reading.once()
    assert labels(receivers) == ["arrived", "lost"]
    assert ready(receivers) == ("True", "")
    writes = len(receivers.writes)
    await reading.once()
    await reader(receivers, "prod", "elsewhere").once()
    assert len(receivers.writes) == writes
    query = {"active": "true", "silenced": "false", "inhibited": "false", "muted": "false"}
    assert dict(source.seen[0].query) == query


async def test_what_is_silenced_inhibited_or_sent_to_another_receiver_is_left_out(
    receivers: Receivers, source: Alertmanager
):
    receivers.api.put(connection(source, receiver="incident-operator"))
    quiet = [open_alert(state=state, pack_date=state) for state in ("suppressed", "unprocessed")]
    fires = open_alert(pack_date="fires")
    source.groups = [group(*quiet, fires), group(open_alert(pack_date="other"), fires, receiver="mail")]
    await reader(receivers).once()
    assert labels(receivers) == ["fires"]


async def test_a_connection_feeds_the_incidents_of_its_own_namespace_alone(receivers: Receivers, source: Alertmanager):
    receivers.one.runbooks.note(messages.runbook("theirs", namespace="tenant"))
    receivers.api.put(connection(source, "tenant"))
    theirs = open_alert(pack_date="lost", namespace="tenant")
    source.groups = [group(theirs, open_alert("Unmatched"), open_alert(pack_date="nobody's"))]
    await reader(receivers).once()
    assert labels(receivers, "tenant") == ["lost"]
    assert receivers.incidents("prod") == []
    assert receivers.one.counted("alerts_unmatched_total") == 0


@asynccontextmanager
async def silent_ones(receivers: Receivers, namespace: str) -> AsyncIterator[None]:
    """Connections of a namespace to Alertmanagers that do not answer while the block lasts."""
    answers_now = asyncio.Event()

    async def hang(_: web.BaseRequest) -> web.Response:
        await answers_now.wait()
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/api/v2/alerts/groups", hang)
    async with TestServer(app) as server:
        for number in range(2 * READERS):
            body = connection(Alertmanager(str(server.make_url("")).rstrip("/")), namespace)
            receivers.api.put({**body, "metadata": {**body["metadata"], "name": f"alerts-{number}"}})
        try:
            yield
        finally:
            answers_now.set()


async def eventually(met: Callable[[], bool]) -> None:
    for _ in range(800):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came true")


async def test_alertmanagers_of_one_namespace_that_hang_do_not_keep_that_of_another_from_being_read(
    receivers: Receivers, source: Alertmanager
):
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pack_date="lost"))]
    async with silent_ones(receivers, "eve"):
        reading = asyncio.create_task(reader(receivers).once())
        await eventually(lambda: labels(receivers) == ["lost"])
        assert not reading.done()
    await reading


async def test_no_round_waits_for_those_that_hang_since_the_one_before(
    receivers: Receivers, source: Alertmanager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(polling, "_EVERY", 0.05)
    receivers.api.put(connection(source))
    async with silent_ones(receivers, "eve"):
        running = asyncio.create_task(reader(receivers).run())
        await eventually(lambda: len(source.seen) >= 3)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_namespaces_that_are_not_served_are_not_read(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source))
    await reader(receivers, "elsewhere").once()
    assert source.seen == []


@pytest.mark.parametrize(
    ("told", "status"),
    [
        pytest.param([], "firing", id="absence tells nothing"),
        pytest.param([open_alert()], "firing", id="it fires"),
        pytest.param([open_alert(ends="0001-01-01T00:00:00Z")], "firing", id="no end is told"),
        pytest.param([open_alert(ends="2025-10-21T00:19:59.999Z")], "resolved", id="it has ended"),
    ],
)
async def test_an_alert_resolves_by_what_is_told_alone(receivers: Receivers, source: Alertmanager, told, status):
    await receivers.one.take(alert())
    receivers.api.put(connection(source))
    source.groups = [group(*told)]
    await reader(receivers).once()
    (listed,) = receivers.incident()["spec"]["alerts"]
    assert listed["status"] == status


def test_without_alertmanagers_own_clock_nothing_has_ended():
    body = json.dumps([group(open_alert(ends="2025-10-21T00:19:00Z"))]).encode()
    (only,) = read_listed(body, messages.LIMITS, "", None).alerts
    assert only.firing


def broken(**fields: Any) -> dict[str, Any]:
    return fields


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (broken(status=500), "GET /api/v2/alerts/groups was answered with 500"),
        (broken(status=302, headers={"Location": "/elsewhere"}), "was answered with 302"),
        (broken(body=b"<html>"), "the answer is not that of Alertmanager's API v2: body: is not JSON"),
        (broken(body=b'{"status":"success"}'), "API v2: body: expected `array`, got `object`"),
        (broken(body=b'[{"alerts":[{}]}]'), "API v2: [0]"),
        (broken(body=b"[" + b"[]," * 160_000 + b"[]]"), "API v2: body: expected `object`, got `array`"),
        (broken(body=b'[{"receiver":{"name":"a"},"alerts":[],"x":[' + b"[]," * 310_000 + b"]}]"), "holds more than"),
        (
            broken(body=json.dumps([group({**open_alert(), "labels": {"a": 1}})]).encode()),
            "1 alert can never be stored: [0].alerts[0].labels[...]: expected `str`, got `int`",
        ),
    ],
    ids=range(8),
)
async def test_an_answer_that_cannot_be_used_is_told_once(
    receivers: Receivers, source: Alertmanager, capsys, answer, words
):
    receivers.api.put(connection(source))
    reading = reader(receivers)
    for _ in range(2):
        source.other = web.Response(**answer)
        await reading.once()
    status, message = ready(receivers)
    assert (status, words in message) == ("False", True), message
    assert receivers.writes == ["PATCH"]
    assert capsys.readouterr().out.count("Cannot read open alerts again") == 1
    source.other = None
    await reading.once()
    assert ready(receivers) == ("True", "")


async def test_a_long_answer_is_read_alone_and_one_beyond_all_measure_is_told(
    receivers: Receivers, source: Alertmanager, monkeypatch
):
    receivers.api.put(connection(source))
    monkeypatch.setattr(alertmanagers, "LONG_ANSWER_BYTES", alertmanagers.ANSWER_BYTES + 64 * 1024)
    long = open_alert(pack_date="long")
    long["annotations"] = {"text": "x" * json_text.ALERT_BYTES}
    source.groups = [group({**long, "labels": {}}), group({**long, "labels": {}}), group(open_alert(pack_date="fires"))]
    await reader(receivers).once()
    assert labels(receivers) == ["fires"]
    assert ready(receivers)[1].startswith("2 alerts can never be stored: [0].alerts[0]: has ")
    source.groups = [*source.groups, group({**long, "labels": {}})]
    await reader(receivers).once()
    assert "is longer than 8454144 bytes" in ready(receivers)[1]


async def test_an_alert_that_cannot_be_understood_keeps_no_other_one_away(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source))
    source.groups = [group({**open_alert(), "startsAt": None}, "x", open_alert(pack_date="fires"))]
    await reader(receivers).once()
    assert labels(receivers) == ["fires"]
    assert ready(receivers)[1].startswith("2 alerts can never be stored: [0].alerts[0]: object missing required field")


async def test_an_alertmanager_that_is_not_there_is_told(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(Alertmanager("http://127.0.0.1:1")))
    await reader(receivers).once()
    assert ready(receivers) == ("False", "http://127.0.0.1:1: Connection refused")


async def test_an_alertmanager_that_does_not_answer_is_not_waited_for_long(receivers: Receivers, source, monkeypatch):
    monkeypatch.setattr(polling, "_ANSWER_SECONDS", 0.05)

    receivers.api.put(connection(source))
    source.slow = 0.5
    await reader(receivers).once()
    assert ready(receivers) == ("False", f"{source.url}: no reply within 0.05s")


async def test_one_that_fails_does_not_keep_the_others_from_being_read(receivers: Receivers, source: Alertmanager):
    receivers.one.runbooks.note(messages.runbook("theirs", namespace="tenant"))
    receivers.api.put(connection(Alertmanager("http://127.0.0.1:1"), "tenant"))
    malformed = connection(source, "another")
    receivers.api.put({**malformed, "spec": {"type": "alertmanager", "alertmanager": {"url": "nonsense"}}})
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pack_date="lost"))]
    await reader(receivers).once()
    assert labels(receivers) == ["lost"]


async def test_what_is_not_stored_is_stored_in_the_next_round(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pack_date="lost"))]
    receivers.api.inject(Fault.INTERNAL_ERROR, method="POST")
    reading = reader(receivers)
    await reading.once()
    assert ready(receivers)[0] == "False"
    await reading.once()
    assert labels(receivers) == ["lost"]
    assert ready(receivers) == ("True", "")


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.TOO_MANY_REQUESTS])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_an_apiserver_that_fails_ends_nothing(receivers: Receivers, source: Alertmanager, fault, method):
    receivers.api.put(connection(source))
    source.groups = [group(open_alert(pack_date="lost"))]
    receivers.api.inject(fault, method=method, path="connections")
    reading = reader(receivers)
    await reading.once()
    await reading.once()
    assert labels(receivers) == ["lost"]
    assert ready(receivers) == ("True", "")


ACCOUNT = "system:serviceaccount:prod:reads-alerts"


async def test_the_secret_is_read_as_the_account_that_the_connection_names(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source, secret="alertmanager", serviceAccountName="reads-alerts"))
    await reader(receivers).once()
    assert ready(receivers) == (
        "False",
        'Connection alerts names Secret "alertmanager", which is not in prod',
    )
    data = {"token": base64.b64encode(TOKEN.encode()).decode()}
    meta = {"name": "alertmanager", "namespace": "prod"}
    receivers.api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    receivers.api.put(service_account("reads-alerts"))
    await reader(receivers).once()
    assert ready(receivers) == ("True", "")
    assert source.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    receivers.api.forbid(ACCOUNT, "get", "secrets")
    await reader(receivers).once()
    assert ready(receivers)[1].startswith(f'Connection alerts: {ACCOUNT} may not get secret "alertmanager"')


async def test_without_an_account_no_secret_is_read(receivers: Receivers, source: Alertmanager):
    receivers.api.put(connection(source, secret="alertmanager"))
    await reader(receivers).once()
    assert ready(receivers)[1].startswith("alertmanager.serviceAccountName is missing")
    assert source.seen == []


async def test_it_reads_at_once_and_then_every_few_minutes(receivers: Receivers, source: Alertmanager, monkeypatch):
    monkeypatch.setattr(polling, "_EVERY", 0.01)
    receivers.api.put(connection(source))
    running = asyncio.create_task(reader(receivers).run())
    for _ in range(500):
        if len(source.seen) >= 3:
            break
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(source.seen) >= 3
    assert (
        rfc3339(NOW)
        == receivers.api.object(discovery.connections("prod", "alerts"))["status"]["conditions"][0][
            "lastTransitionTime"
        ]
    )


async def test_a_connection_of_another_type_is_none_of_its_concern(receivers: Receivers, source: Alertmanager):
    made = connection(source)
    receivers.api.put({**made, "spec": {"type": "http", "http": {"url": source.url}}})
    await reader(receivers).once()
    assert "status" not in receivers.api.object(discovery.connections("prod", "alerts"))
    assert source.seen == []


async def test_a_connection_without_its_section_is_told_what_is_missing(receivers: Receivers, source: Alertmanager):
    made = connection(source)
    receivers.api.put({**made, "spec": {"type": "alertmanager"}})
    await reader(receivers).once()
    assert ready(receivers)[1].startswith("alertmanager.serviceAccountName is missing")


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "alertmanager"},
        {"type": "alertmanager", "alertmanager": {"url": "nonsense"}},
        {"type": "alertmanager", "alertmanager": {"url": "http://alerts"}, "secretRef": {"name": "token"}},
    ],
    ids=["no section", "no url", "no account"],
)
async def test_a_connection_that_only_an_edit_helps_is_stalled_and_one_that_is_not_there_is_tried_again(
    receivers: Receivers, source: Alertmanager, spec
):
    def abnormal() -> set[str]:
        found = receivers.api.object(discovery.connections("prod", "alerts"))
        told, generation = found["status"], found["metadata"]["generation"]
        assert {told["observedGeneration"], *(each["observedGeneration"] for each in told["conditions"])} == {
            generation
        }
        return {each["type"] for each in told["conditions"]} - {"Ready"}

    made = connection(Alertmanager("http://127.0.0.1:1"))
    for written, wanted in ((spec, {"Stalled"}), (made["spec"], {"Reconciling"}), (connection(source)["spec"], set())):
        receivers.api.put({**made, "spec": written})
        await reader(receivers).once()
        assert abnormal() == wanted


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 21 Oct 2025 00:20:00 -0000",
        "Tue, 21 Oct 2025 00:20:00",
        "Tue, 21 Oct 99999999999999999999 00:20:00 GMT",
        "Tue, 21 Oct 2025 00:20:00 +99999999999",
        "yesterday",
    ],
)
async def test_whatever_date_an_answer_has_its_alerts_are_stored(receivers: Receivers, source: Alertmanager, date: str):
    receivers.api.put(connection(source))
    source.other = web.json_response([group(open_alert(pack_date="lost"))], headers={"Date": date})
    await reader(receivers).once()
    assert labels(receivers) == ["lost"]
    assert ready(receivers) == ("True", "")
