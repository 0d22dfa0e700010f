"""What a sender is told, what the log tells of those that are refused, and what becomes of messages that are too long."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from incident_operator.core.alerts import merging
from incident_operator.receiver import server
from incident_operator.receiver.alertmanager import Message
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.refusals import EVERY, LINES, Receipt, RefusalLog
from incident_operator.receiver.server import ReceiverSettings
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert, resolved
from tests.receiver.receiver_setup import Receivers

TOKEN = {"Authorization": "Bearer the-token"}
PATH = "/api/v1/alerts"


@dataclass(frozen=True, slots=True)
class Door:
    receivers: Receivers
    http: aiohttp.ClientSession
    url: str

    async def send(
        self, body: bytes, *, path: str = PATH, method: str = "POST", headers: dict[str, str] = TOKEN
    ) -> tuple[int, str]:
        async with self.http.request(method, f"{self.url}{path}", data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.text()

    async def told(self, *alerts: messages.Json) -> str:
        _, text = await self.send(messages.body(*alerts))
        return json.loads(text)["message"]


@asynccontextmanager
async def opened(
    receivers: Receivers, folder: Path, rest: server.Rest | None = None, **changes: Any
) -> AsyncIterator[Door]:
    (folder / "token").write_text("the-token")
    chosen, one = ReceiverSettings(host="127.0.0.1", port=0, **changes), receivers.one
    tokens = Tokens(TokenFiles([folder / "token"]))
    handler = server.WebhookHandler(chosen, one.intake, (one.incidents, one.runbooks), one.metrics, tokens, rest)
    async with server.serving(handler, chosen) as port, aiohttp.ClientSession() as http:
        yield Door(receivers, http, f"http://127.0.0.1:{port}")


@pytest.fixture
async def door(receivers: Receivers, tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(receivers, tmp_path) as made:
        yield made


@pytest.mark.parametrize("path", [
    PATH, f"{PATH}/", f"{PATH}//", f"/{PATH}", f"{PATH}?source=grafana", f"{PATH}/?x",
    "/api//v1/alerts", "//api//v1///alerts/",
])  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_slashes_around_the_path_and_put_are_taken(door: Door, path: str, method: str):
    assert (await door.send(messages.body(alert()), path=path, method=method))[0] == 200
    assert len(door.receivers.incidents()) == 1


@pytest.mark.parametrize("path", ["/", "/api/v1/alert", f"{PATH}/x", "/x/api/v1/alerts"])
async def test_another_path_is_told_the_right_one(door: Door, path: str):
    status, text = await door.send(messages.body(alert()), path=path)
    assert (status, "; post alerts to /api/v1/alerts" in text) == (404, True)


@pytest.mark.parametrize(("body", "path", "headers", "status"), [
    (messages.body(alert()), PATH, TOKEN, 200), (b"{", PATH, TOKEN, 400), (messages.body({}), PATH, TOKEN, 400),
    (b"", PATH, {}, 401), (b"", "/", TOKEN, 404),
])  # fmt: skip
async def test_every_answer_is_one_line_of_json(door: Door, body, path, headers, status):
    found, text = await door.send(body, path=path, headers=headers)
    assert (found, text[-1], text.count("\n")) == (status, "\n", 1)
    assert set(json.loads(text)) == {"status", "message"}


async def test_the_answer_says_what_changed_and_why_the_rest_did_not(door: Door):
    a, b = alert(pod="a"), alert(pod="b")
    assert await door.told(a) == "1 alert: 1 Incident opened"
    name = f"prod/{door.receivers.incident()['metadata']['name']}"
    assert await door.told(a) == f"1 alert: 1 already in Incident {name}"
    assert await door.told(a, b) == f"2 alerts: 1 Incident changed, 1 already in Incident {name}"
    assert await door.told(resolved(pod="a")) == "1 alert: 1 Incident changed"
    assert await door.told(resolved(pod="a"), a, b) == f"2 alerts: 2 already in Incident {name}"
    assert await door.told(alert("Other")) == "1 alert: 1 without a Runbook"
    assert await door.told(resolved("Other")) == "1 alert: 1 resolved, but never stored as firing"
    assert await door.told() == "0 alerts: nothing to store"


async def test_an_alert_of_a_closed_incident_is_told_where_it_was(door: Door):
    await door.told(alert())
    door.receivers.close(door.receivers.incident())
    name = door.receivers.incident()["metadata"]["name"]
    assert await door.told(alert()) == f"1 alert: 1 already in Incident prod/{name}"


async def test_alerts_that_are_only_counted_are_already_in_their_incident(door: Door):
    storm = [alert(pod=str(number)) for number in range(1100)]
    assert await door.told(*storm) == "1100 alerts: 1 Incident opened"
    name = door.receivers.incident()["metadata"]["name"]
    assert await door.told(*storm) == f"1100 alerts: 1100 already in Incident prod/{name}"


def receipt(**parts: Any) -> str:
    return str(Receipt(**{"alerts": 2, "opened": 0, "changed": 0, "unmatched": 0, "never_stored": 0, **parts}))


@pytest.mark.parametrize(("parts", "text"), [
    ({"opened": 1}, "2 alerts: 1 Incident opened"),
    ({"opened": 2, "changed": 1}, "2 alerts: 2 Incidents opened, 1 Incident changed"),
    ({"changed": 3, "unmatched": 1}, "2 alerts: 3 Incidents changed, 1 without a Runbook"),
    ({"alerts": 1, "refused": 1}, "1 alert: 1 refused by their namespaces"),
    ({"known": 2, "known_in": ("a/b",)}, "2 alerts: 2 already in Incident a/b"),
    ({"known": 2, "known_in": ("a/b", "a/c")}, "2 alerts: 2 already in Incidents a/b, a/c"),
    ({"known": 9, "known_in": ("a", "b", "c", "d", "e")}, "2 alerts: 9 already in Incidents a, b, c and 2 more"),
    ({"heartbeats": 1, "ignored": 1}, "2 alerts: 1 ignored (unmatched.ignore), 1 heartbeat (Watchdog)"),
])  # fmt: skip
def test_a_receipt_counts_in_plain_english(parts, text):
    assert receipt(**parts) == text


@pytest.mark.parametrize(
    ("headers", "body", "path", "method", "status", "words"),
    [
        ({}, b"", PATH, "POST", 401, "it has no header Authorization"),
        ({"Authorization": "Basic s3cr3t"}, b"", PATH, "POST", 401, "is not of the form Bearer TOKEN"),
        ({"Authorization": "s3cr3t"}, b"", PATH, "POST", 401, "is not of the form Bearer TOKEN"),
        ({"Authorization": "Bearer s3cr3t"}, b"", PATH, "POST", 401, "its token is not one of those in "),
        (TOKEN, b"{", PATH, "POST", 400, "body: is not JSON"),
        (TOKEN, messages.body({}), PATH, "POST", 400, "1 alert refused: alerts[0]: object missing"),
        (TOKEN, b"", "/api/v2/alerts", "POST", 404, "POST /api/v2/alerts: Not Found"),
        (TOKEN, b"", PATH, "DELETE", 405, "DELETE /api/v1/alerts: Method Not Allowed"),
    ],
)
async def test_a_refused_request_leaves_one_line_however_often_it_comes(
    door: Door, headers, body, path, method, status, words
):
    with capture_logs() as logs:
        for _ in range(50):
            assert (await door.send(body, path=path, method=method, headers=headers))[0] == status
    (line,) = [each for each in logs if each["event"] == "Refused a request"]
    assert (line["sender"], line["status"]) == ("127.0.0.1", status)
    assert words in line["error"]
    assert line["remedy"]
    assert not any(secret in json.dumps(logs) for secret in ("s3cr3t", "the-token"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_of_refusals_leaves_few_lines_and_counts_the_others():
    clock = Clock()
    log = RefusalLog(clock)
    with capture_logs() as logs:
        for number in range(5000):
            log.tell(f"10.0.{number // 250}.{number % 250}", 401, "no\x1b[31m token", "send one")
        assert len(logs) == LINES
        clock.now = EVERY
        log.tell("10.1.0.1", 401, "no token", "send one")
    assert len(logs) == LINES + 1
    assert logs[-1]["others_not_logged"] == 5000 - LINES
    assert "\x1b" not in logs[0]["error"]


@dataclass
class Rest:
    """Stands for who reads the rest."""

    missing: str = ""
    asked: list[Message] = field(default_factory=list)

    async def read_now(self, message: Message) -> str:
        self.asked.append(message)
        return self.missing


LONG = [alert(pod=str(number)) for number in range(200)]
MOST = 16 * 1024


async def test_of_a_message_that_is_too_long_what_was_read_is_stored_and_it_is_sent_again(
    receivers: Receivers, tmp_path: Path
):
    async with opened(receivers, tmp_path, max_body_bytes=MOST) as door:
        status, text = await door.send(messages.body(*LONG))
    assert status == 503
    assert all(words in text for words in ("max_alerts", "Connection of type alertmanager", f"{MOST} bytes"))
    assert 20 < len(receivers.incident()["spec"]["alerts"]) < 100
    assert receivers.one.counted("alert_posts_too_long_total", rest="missing") == 1


async def test_the_rest_of_a_message_that_is_too_long_is_read_at_once(receivers: Receivers, tmp_path: Path):
    rest = Rest()
    async with opened(receivers, tmp_path, rest, max_body_bytes=MOST) as door:
        status, text = await door.send(messages.body(*LONG))
        assert (status, "; the rest of the message was read from Alertmanager" in text) == (200, True)
        rest.missing = "nobody knows"
        status, text = await door.send(messages.body(*LONG))
        assert (status, "nobody knows" in text) == (503, True)
        assert (await door.send(messages.body(alert())))[0] == 200
    assert [message.goes_on for message in rest.asked] == [True, True]
    assert receivers.one.counted("alert_posts_too_long_total", rest="read") == 1


async def test_3900_alerts_with_a_kilobyte_of_text_are_stored(tmp_path: Path):
    told = [{**alert(pod=str(number)), "annotations": {"description": "x" * 1024}} for number in range(3900)]
    async with receiver_setup.started() as receivers, opened(receivers, tmp_path) as door:
        assert (await door.send(messages.body(*told)))[0] == 200
        spec = receivers.incident()["spec"]
    assert len(spec["alerts"]) + spec["alertsOmitted"] == 3900


WATCHDOG, INHIBITOR = alert("Watchdog", severity="none"), alert("InfoInhibitor", severity="none")
ALL = messages.runbook("all", match=('alertname=~".+"',), group_by=())


@pytest.mark.parametrize("runbooks", [(), (ALL,), (messages.runbook("w", match=('alertname="Watchdog"',)),)])
async def test_watchdog_is_a_heartbeat_and_never_an_incident(tmp_path: Path, runbooks):
    async with (
        receiver_setup.started(*runbooks, unmatched_namespace="ops") as receivers,
        opened(receivers, tmp_path) as door,
    ):
        assert receivers.one.counted("watchdog_last_received_timestamp_seconds") == 0
        assert await door.told(WATCHDOG) == "1 alert: 1 heartbeat (Watchdog)"
        first = receivers.one.counted("watchdog_last_received_timestamp_seconds")
        assert first > 1_700_000_000
        await door.told({**WATCHDOG, "status": "resolved", "endsAt": messages.ENDED})
        assert receivers.one.counted("watchdog_last_received_timestamp_seconds") == first
        await door.told(WATCHDOG)
        assert receivers.one.counted("watchdog_last_received_timestamp_seconds") > first
        assert not [
            each for each in (*receivers.incidents(), *receivers.incidents("ops")) if "Watchdog" in json.dumps(each)
        ]


async def test_the_open_alerts_of_alertmanager_are_no_heartbeat(receivers: Receivers):
    await receivers.one.intake.reread(messages.read(WATCHDOG), "prod")
    assert receivers.one.counted("watchdog_last_received_timestamp_seconds") == 0
    assert receivers.incidents() == []


async def test_info_inhibitor_is_ignored_where_no_runbook_matches_it(tmp_path: Path):
    async with receiver_setup.started(unmatched_namespace="ops") as receivers, opened(receivers, tmp_path) as door:
        assert await door.told(INHIBITOR) == "1 alert: 1 ignored (unmatched.ignore)"
        assert await door.told({**INHIBITOR, "status": "resolved"}) == "1 alert: 1 ignored (unmatched.ignore)"
        assert receivers.incidents("ops") == []
        assert receivers.one.counted("alerts_ignored_total") == 2
        assert receivers.one.counted("alerts_unmatched_total") == 0
    async with receiver_setup.started(ALL, unmatched_namespace="ops") as receivers, opened(receivers, tmp_path) as door:
        assert await door.told(INHIBITOR) == "1 alert: 1 Incident opened"


async def test_an_incident_that_holds_watchdog_from_before_still_learns_its_end(receivers: Receivers):
    held = {**alert(), "labels": {"alertname": "Watchdog"}}
    sequence = merging.unmatched("prod", held["labels"]).sequence
    spec = {
        "alerts": [{"id": messages.received_id(held), "startsAt": "2025-10-21T00:10:12Z"}],
        "commonLabels": held["labels"],
    }
    metadata = {"name": sequence.name(1), "namespace": "prod", "labels": {"incidents.dev/group": sequence.digest}}
    receivers.api.put({"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": metadata, "spec": spec})
    await receivers.one.watch()
    await receivers.one.take({**held, "status": "resolved", "endsAt": messages.ENDED})
    assert receivers.incident()["spec"]["alerts"][0]["status"] == "resolved"
