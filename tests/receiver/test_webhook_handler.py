"""The webhook handler: who may post what, and the answer to everything else."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incident_operator.kubernetes.priority import Priority
from incident_operator.receiver import json_text, server
from incident_operator.receiver.alertmanager import Reading
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.server import ReceiverSettings
from tests.kubernetes.fake_faults import Fault
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers

AUTHORIZED = {"Authorization": "Bearer the-token"}


@dataclass(frozen=True, slots=True)
class Open:
    """A webhook handler that listens, and what is behind it."""

    receivers: Receivers
    http: aiohttp.ClientSession
    port: int

    async def post(
        self,
        body: bytes | io.BytesIO | AsyncIterator[bytes],
        headers: dict[str, str] = AUTHORIZED,
        path="/api/v1/alerts",
    ):
        async with self.http.post(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers) as response:
            return response.status, await response.json()

    async def told(self, body: bytes) -> int:
        return (await self.post(body))[0]

    def posts(self, code: int) -> float:
        return self.receivers.one.counted("alert_posts_total", code=str(code))


@asynccontextmanager
async def opened(receivers: Receivers, tokens: Path, **changes: object) -> AsyncIterator[Open]:
    chosen = replace(ReceiverSettings(host="127.0.0.1", port=0), **changes)
    one = receivers.one
    handler = server.WebhookHandler(
        chosen, one.intake, (one.incidents, one.runbooks), one.metrics, Tokens(TokenFiles([tokens]))
    )
    async with server.serving(handler, chosen) as port, aiohttp.ClientSession() as http:
        yield Open(receivers, http, port)


@pytest.fixture
def tokens(tmp_path) -> Path:
    path = tmp_path / "token"
    path.write_text("the-token")
    return path


@pytest.fixture
async def handler(receivers: Receivers, tokens: Path) -> AsyncIterator[Open]:
    async with opened(receivers, tokens) as made:
        yield made


async def test_a_message_is_answered_after_it_is_stored(handler: Open):
    status, answer = await handler.post(messages.body(alert()))
    assert status == 200
    assert answer == {"status": "success", "message": "1 alert: 1 Incident opened"}
    assert len(handler.receivers.incidents()) == 1
    assert handler.posts(200) == 1


async def test_the_content_type_does_not_matter(handler: Open):
    status, _ = await handler.post(messages.body(alert()), {**AUTHORIZED, "Content-Type": "text/plain"})
    assert status == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic dGhlLXRva2Vu"}])
async def test_without_the_token_nothing_is_read(handler: Open, headers):
    status, answer = await handler.post(messages.body(alert()), headers)
    assert status == 401
    assert answer == {"status": "error", "message": "the bearer token is missing or wrong"}
    assert handler.receivers.api.requests == []


async def test_another_path_and_another_method_are_told_so(handler: Open):
    status, answer = await handler.post(b"{}", path="/api/v2/alerts")
    assert (status, answer["message"]) == (404, "POST /api/v2/alerts: Not Found; post alerts to /api/v1/alerts")
    async with handler.http.get(f"http://127.0.0.1:{handler.port}/api/v1/alerts") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST,PUT")
        assert (await response.json())[
            "message"
        ] == "GET /api/v1/alerts: Method Not Allowed; post alerts to /api/v1/alerts"


async def test_a_malformed_message_is_told_its_field(handler: Open):
    status, answer = await handler.post(b'{"version":"4","alerts":{}}')
    assert status == 400
    assert answer == {"status": "error", "message": "alerts: expected `array`, got `object`"}


async def test_an_alert_that_cannot_be_stored_does_not_take_the_others_with_it(handler: Open):
    bad = {**alert(), "labels": {"pod": 1}}
    status, answer = await handler.post(messages.body(bad, alert(pod="good")))
    assert status == 400
    assert answer["message"].startswith(
        "1 alert refused: alerts[0].labels[...]: expected `str`, got `int`; the others are stored: 1 alert: "
    )
    assert handler.receivers.incident()["spec"]["commonLabels"]["pod"] == "good"
    assert handler.receivers.one.counted("alerts_refused_total") == 1


async def test_what_could_not_be_stored_is_to_be_sent_again_before_what_can_never_be(handler: Open):
    handler.receivers.api.inject(Fault.INTERNAL_ERROR, method="POST")
    body = messages.body({**alert(), "labels": {"pod": 1}}, alert(pod="good"))
    assert await handler.told(body) == 503
    assert await handler.told(body) == 400
    assert len(handler.receivers.incidents()) == 1


async def test_a_body_that_is_announced_as_too_long_is_waited_for_as_long_as_any(receivers: Receivers, tokens):
    async with opened(receivers, tokens, body_timeout=0.1) as handler:
        assert b" 503 " in await raw(handler, HEAD + b"Content-Length: 999999999\r\n\r\n{")


async def test_a_compressed_body_is_not_inflated(handler: Open):
    status, answer = await handler.post(b"\x1f\x8b" + b"\x00" * 20, {**AUTHORIZED, "Content-Encoding": "gzip"})
    assert (status, answer["message"]) == (400, "body: is not JSON: Expecting value at byte 0")


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.TOO_MANY_REQUESTS, Fault.INTERNAL_ERROR])
async def test_what_could_not_be_stored_is_to_be_sent_again(handler: Open, fault):
    handler.receivers.api.inject(fault, method="POST")
    status, answer = await handler.post(messages.body(alert()))
    assert status == 503
    assert answer["message"].startswith("1 of 1 groups are not stored")
    assert answer["message"].endswith("; send it again")
    assert await handler.told(messages.body(alert())) == 200
    assert len(handler.receivers.incidents()) == 1


async def test_an_apiserver_that_does_not_answer_is_not_waited_for_long(receivers: Receivers, tokens):
    receivers.api.inject(Fault.SILENT, method="POST")
    async with opened(receivers, tokens, store_timeout=0.05) as handler:
        status, answer = await handler.post(messages.body(alert()))
        assert (status, answer["message"]) == (503, "not everything was stored within 0.05s; send it again")
    async with opened(receivers, tokens) as handler:
        assert await handler.told(messages.body(alert())) == 200
    assert len(receivers.incidents()) == 1


@pytest.mark.parametrize("index", ["incidents", "runbooks"])
async def test_before_everything_stored_is_known_nothing_is_judged(receivers: Receivers, tokens, index):
    starting = type(getattr(receivers.one, index))()
    async with opened(replace(receivers, one=replace(receivers.one, **{index: starting})), tokens) as handler:
        status, answer = await handler.post(messages.body(alert()))
        assert (status, answer["message"]) == (
            503,
            "still starting, not all Runbooks and Incidents are read; send it again",
        )
        assert receivers.api.requests == []
        starting.mark_ready()
        assert await handler.told(messages.body()) == 200


@pytest.mark.parametrize("limit", [{"max_posts": 1}, {"max_posts_bytes": 1000}])
async def test_more_messages_than_fit_are_to_be_sent_again(tokens, limit):
    async with (
        receiver_setup.started(messages.runbook(severity="P2")) as receivers,
        opened(receivers, tokens, store_timeout=2.0, **limit) as handler,
    ):
        stuck = await stuck_posts(handler, alert())
        status, answer = await handler.post(messages.body(alert(pack_date="1")))
        assert (status, answer["message"]) == (503, "too many messages at a time; send it again")
        assert set(await asyncio.gather(*stuck)) == {503}
        assert await handler.told(messages.body(alert())) == 200
        assert receivers.one.counted("alert_posts_in_flight") == 0


async def stuck_posts(handler: Open, *alerts: messages.Json) -> list[asyncio.Task[int]]:
    """Post alerts, one a message, whose writes the apiserver does not answer."""
    handler.receivers.api.inject(Fault.SILENT, method="POST", times=len(alerts))
    posts = [asyncio.create_task(handler.told(messages.body(each))) for each in alerts]
    await arrived(handler.receivers, len(alerts))
    return posts


SEVERE = messages.runbook("severe", match=('alertname="Severe"',), severity="P0")
MILD = messages.runbook(severity="P3")


async def test_a_severe_alert_has_room_and_a_write_when_milder_ones_have_taken_all(tokens):
    mild = Priority().writes.limit - 1
    async with (
        receiver_setup.started(MILD, SEVERE) as receivers,
        opened(receivers, tokens, max_posts=mild, store_timeout=2.0) as handler,
    ):
        stuck = await stuck_posts(handler, *(alert(pack_date=str(number)) for number in range(mild)))
        assert await handler.told(messages.body(alert(pack_date="one more"))) == 503
        assert await handler.told(messages.body(alert("Severe"))) == 200
        assert set(await asyncio.gather(*stuck)) == {503}


async def test_a_small_message_is_read_though_long_ones_have_taken_all_bytes(tokens):
    async with (
        receiver_setup.started(MILD, SEVERE) as receivers,
        opened(receivers, tokens, max_posts_bytes=300_000, store_timeout=2.0) as handler,
    ):
        long = {**alert(), "annotations": {"text": "x" * 290_000}}
        stuck = await stuck_posts(handler, long)
        assert (
            await handler.told(messages.body({**long, "labels": {"alertname": "PackFailed", "pack_date": "2"}})) == 503
        )
        padded = {**alert("Severe"), "annotations": {"text": "x" * 20_000}}
        assert await handler.told(messages.body(padded)) == 200
        assert set(await asyncio.gather(*stuck)) == {503}


async def test_bodies_that_are_only_announced_take_nobodys_room(receivers: Receivers, tokens):
    async with opened(receivers, tokens, max_posts=4, max_posts_bytes=4_000_000, body_timeout=1.0) as handler:
        slow = [await asyncio.open_connection("127.0.0.1", handler.port) for _ in range(300)]
        for _, writer in slow:
            writer.write(HEAD + b"Content-Length: 4000000\r\n\r\n{")
            await writer.drain()
        assert await handler.told(messages.body(alert())) == 200
        answers = [await asyncio.wait_for(reader.read(), 30) for reader, _ in slow]
        assert {answer.split(b" ")[1] for answer in answers} == {b"503"}
        for _, writer in slow:
            writer.close()


async def test_others_have_their_turn_while_a_long_body_is_read(handler: Open):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    long = json_list(b'"x"', 190_000)
    reading = asyncio.create_task(Reading().read(json_text.read, long))
    counting = asyncio.create_task(count())
    assert len(await reading) == 190_000
    counting.cancel()
    assert turns > 1


async def test_a_short_body_is_read_on_the_spot():
    assert await Reading().read(lambda _: threading.current_thread(), b"{}") is threading.current_thread()


def json_list(item: bytes, count: int) -> bytes:
    return b"[" + b",".join([item] * count) + b"]"


async def arrived(receivers: Receivers, count: int = 1) -> None:
    for _ in range(1000):
        if len(receivers.api.requests) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing reached the apiserver")


async def raw(handler: Open, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", handler.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


HEAD = b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\n"


async def test_a_head_that_does_not_come_ends_the_connection(receivers: Receivers, tokens):
    async with opened(receivers, tokens, header_timeout=0.1) as handler:
        assert await raw(handler, HEAD) == b""


async def test_a_head_that_comes_byte_by_byte_ends_the_connection(receivers: Receivers, tokens):
    async with opened(receivers, tokens, header_timeout=0.3) as handler:
        reader, writer = await asyncio.open_connection("127.0.0.1", handler.port)
        for byte in HEAD * 3:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
            if reader.at_eof() or reader.exception():
                break
        assert reader.at_eof() or isinstance(reader.exception(), ConnectionResetError)
        writer.close()


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for(receivers: Receivers, tokens):
    async with opened(receivers, tokens, body_timeout=0.3) as handler:
        reader, writer = await asyncio.open_connection("127.0.0.1", handler.port)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        answer = asyncio.create_task(reader.read(20))
        for _ in range(900):
            writer.write(b" ")
            await asyncio.sleep(0.01)
            if answer.done():
                break
        assert (await answer).split(b" ")[1] == b"503"
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(receivers: Receivers, tokens):
    async with opened(receivers, tokens, body_timeout=0.1) as handler:
        answer = await raw(handler, HEAD + b"Content-Length: 10\r\n\r\n", b"{")
        assert b" 503 " in answer
        assert b"the body did not arrive whole" in answer


async def test_a_sender_that_goes_away_in_the_middle_leaves_nothing_behind(handler: Open):
    _, writer = await asyncio.open_connection("127.0.0.1", handler.port)
    writer.write(HEAD + b"Content-Length: 10\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert handler.receivers.one.counted("alert_posts_in_flight") == 0
    assert await handler.told(messages.body(alert())) == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_with_400(handler: Open, request_bytes):
    answer = await raw(handler, request_bytes)
    assert answer.split(b" ")[1] == b"400"


async def test_slow_connections_do_not_keep_good_ones_out(receivers: Receivers, tokens):
    async with opened(receivers, tokens, header_timeout=1.0) as handler:
        slow = [await asyncio.open_connection("127.0.0.1", handler.port) for _ in range(200)]
        for _, writer in slow:
            writer.write(HEAD)
        assert await handler.told(messages.body(alert())) == 200
        assert [await asyncio.wait_for(reader.read(), 10) for reader, _ in slow] == [b""] * 200
        for _, writer in slow:
            writer.close()


async def test_a_defect_of_the_receiver_does_not_lose_the_alert(receivers: Receivers, tokens):
    receivers.one.runbooks.matching = None
    async with opened(receivers, tokens) as handler:
        status, answer = await handler.post(messages.body(alert()))
    assert (status, answer["status"]) == (503, "error")
    assert "Traceback" not in answer["message"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_garbage_never_gets_a_5xx(tmp_path, bodies):
    path = tmp_path / "token"
    path.write_text("the-token")

    async def statuses() -> set[int]:
        async with receiver_setup.started() as receivers, opened(receivers, path) as handler:
            return {await handler.told(body) for body in bodies}

    assert asyncio.run(statuses()) <= {200, 400}


def test_settings_that_cannot_work_are_named():
    for changes, words in (
        ({"tls_key": Path("k")}, "tls_certificate and tls_key: give both or none"),
        ({"max_labels": 65}, "max_labels: 65 is not within 1 and 64"),
        ({"max_label_bytes": 0}, "max_label_bytes: 0 is not within 1 and 1024"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(ReceiverSettings(), **changes)
