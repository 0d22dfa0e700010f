"""The http action against real servers: what is sent, what is refused, and what a lost reply means."""

import json
import re
import socket

import pytest
from aiohttp import web

from incident_operator.clients.connections import EndpointError
from incident_operator.core.outcomes import Doubt, Failed, Failure, NotDone, Pending, Succeeded, Undetermined
from tests.actions.http_calls import FakeConnections, answering, call, endpoint, listening, request, sending
from tests.actions.played import Played

TOKEN = "s3cr3t/t0ken+=="
READ = request("POST", "/execute", safe=True, json={"a": 1})
KEYED = request("POST", "/pay", json={"a": 1}, idempotencyKey="Idempotency-Key")
UNKEYED = request("POST", "/send")


def action(url: str, secret: dict[str, str] | None = None) -> Played:
    return sending(FakeConnections(endpoint(url, secret)))


async def test_a_reply_is_status_headers_body_and_json(service):
    outcome = await action(service.url).run(call(request(path="/status")))

    assert isinstance(outcome, Succeeded)
    assert outcome.summary == "GET /status: 200"
    assert outcome.result["status"] == 200
    assert outcome.result["json"] == {"ok": True}
    assert outcome.result["body"] == '{"ok": true}'
    assert outcome.result["headers"]["content-type"] == "application/json; charset=utf-8"
    assert outcome.result["truncated"] is False


@pytest.mark.parametrize("path", ["/execute", "/query/", "/query/range"])
async def test_a_safe_post_is_a_read_where_its_connection_names_the_path(service, path):
    outcome = await action(service.url).run(call(request("POST", path, safe=True, json={})))
    assert isinstance(outcome, Succeeded)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/executed"), ("POST", "/query"), ("DELETE", "/orders"), ("POST", "/execute/all")]
)
async def test_what_a_runbook_alone_calls_safe_is_not_sent(service, method, path):
    outcome = await action(service.url).run(call(request(method, path, safe=True)))
    assert isinstance(outcome, Failed)
    assert f'{method} {path} is called safe, but Connection "api" does not name the path' in outcome.message
    assert "spec.http.safePaths" in outcome.message
    assert service.seen == []


async def test_a_request_goes_below_the_connections_url_with_its_query_and_body(service):
    spec = request("PUT", "/a%2Fb/c d", query={"q": "x&y=1 ☃", "n": 3, "flag": True, "many": ["1", 2], "none": None},
                   json={"k": [1]}, headers={"X-Trace": "1"})  # fmt: skip
    await action(f"{service.url}/base/").run(call(spec))

    seen = service.seen[0]
    assert seen.raw_path.partition("?")[0] == "/base/a%2Fb/c%20d"
    assert list(seen.query.items()) == [("q", "x&y=1 ☃"), ("n", "3"), ("flag", "true"), ("many", "1"), ("many", "2")]
    assert json.loads(service.bodies[0]) == {"k": [1]}
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["X-Trace"] == "1"


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        ({"token": f"{TOKEN}\n"}, f"Bearer {TOKEN}"),
        ({"username": "ann", "password": "pä:ss"}, "Basic YW5uOnDDpDpzcw=="),
        ({}, None),
    ],
)
async def test_credentials_come_from_the_secret(service, secret, header):
    await action(service.url, secret).run(call(request()))
    assert service.seen[0].headers.get("Authorization") == header


async def test_the_idempotency_header_carries_the_step_key(service):
    await action(service.url).run(call(KEYED))
    assert service.seen[0].headers["Idempotency-Key"] == "key-1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(service, status):
    service.answer = web.Response(status=status, headers={"Location": f"{service.url}/elsewhere"})
    outcome = await action(service.url).run(call(request()))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["status"] == status
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("//evil.example/x", "one slash"),
        ("/\\evil.example", "one slash"),
        ("/a/../admin", ".. segment"),
        ("/a/%2e%2E/admin", ".. segment"),
        ("/a/..%2Fadmin", ".. segment"),
        ("/a/%252e%252e/admin", ".. segment"),
        ("/a/..\\admin", ".. segment"),
        ("/a/%25252e%25252e/admin", ".. segment"),
        ("/a/..;/admin", ".. segment"),
        ("/a/%2e%2e%3Bx=1/admin", ".. segment"),
        ("/./a", ".. segment"),
        ("/a?b=c", "goes into query"),
        ("/a#b", "goes into query"),
        ("/a%0d%0aX: y", "control character"),
        ("/a\nb", "control character"),
        ("/\ud800", "UTF-8"),
    ],
)
async def test_a_path_that_could_lead_elsewhere_is_refused(service, path, says):
    spec = request().model_copy(update={"path": path})
    outcome = await action(service.url).run(call(spec))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "BadRequest"
    assert says in outcome.message
    assert not outcome.retryable
    assert service.seen == []
    with pytest.raises(Failure, match=re.escape(says)):
        await action(service.url).show(call(spec))


async def test_an_absolute_url_is_no_path(service):
    outcome = await action(service.url).run(call(request().model_copy(update={"path": "http://evil.example/"})))
    assert isinstance(outcome, Failed)
    assert service.seen == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (request(headers={"Authorization": "Bearer x"}), "headers.Authorization: may not be set by a step"),
        (request(headers={"host": "evil"}), "headers.host: may not be set by a step"),
        (request(headers={"Cookie": "a=b"}), "headers.Cookie: may not be set by a step"),
        *(
            (request(headers={name: "DELETE"}), f"headers.{name}: may not be set by a step")
            for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override")
        ),
        *(
            (request(headers={name: "/admin"}), f"headers.{name}: may not be set by a step")
            for name in ("X-Original-URL", "X-Rewrite-URL")
        ),
        (request(headers={"X\r\nY": "z"}), "is not a header name"),
        (request(headers={"X": "a\r\nY: z"}), "headers.X: holds a control character"),
        (request("POST", idempotencyKey="Host"), "headers.Host: may not be set by a step"),
        (request(query={"a": {"b": 1}}), "query.a: an object"),
        (request(query={"a": ["x", None]}), "query.a: a list may hold only texts"),
        (request("POST", json={}, body="x"), "either json or body"),
        (request("POST", json={"a": 2**70}), "cannot be written"),
        (request("POST", json="\ud800"), "cannot be written"),
    ],
)
async def test_what_cannot_be_sent_is_told_before_anything_is_sent(service, spec, says):
    outcome = await action(service.url).run(call(spec))
    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert service.seen == []


@pytest.mark.parametrize("size", [192 * 1024 + 1, 5_000_000])
async def test_a_long_body_is_cut_and_is_no_json(service, size):
    service.answer = web.Response(text=json.dumps("x" * size), content_type="application/json")
    outcome = await action(service.url).run(call(request()))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"]
    assert outcome.result["json"] is None
    assert 100_000 < len(json.dumps(outcome.result)) < 256 * 1024


async def test_a_body_of_control_characters_does_not_grow_past_the_limit(service):
    service.answer = web.Response(body=b"\x01" * 190_000)
    outcome = await action(service.url).run(call(request()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"]
    assert len(json.dumps(outcome.result)) < 256 * 1024


async def test_odd_bodies_and_headers_become_plain_json(service):
    service.answer = web.Response(body=b"\xff\xfe{", headers={"Set-Cookie": "session=1", "X-Odd": "ok"})
    outcome = await action(service.url).run(call(request()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["body"] == "\ufffd\ufffd{"
    assert outcome.result["json"] is None
    assert "set-cookie" not in outcome.result["headers"]
    json.dumps(outcome.result, allow_nan=False)


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_for_a_read_every_status_is_an_answer(service, status):
    service.answer = web.json_response({"detail": "Pricing pack warming in progress"}, status=status)
    outcome = await action(service.url).run(call(READ))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["status"] == status


@pytest.mark.parametrize(
    ("status", "passes"), [(200, None), (204, None), (302, False), (404, False), (429, True), (500, False), (503, True)]
)
async def test_a_read_says_what_speaks_against_its_answer(service, status, passes):
    service.answer = web.Response(
        text="\nwarming up\nmore" if status != 204 else None, status=status, headers={"Retry-After": "7"}
    )
    outcome = await action(service.url).run(call(READ))

    assert isinstance(outcome, Succeeded)
    expected = Doubt(f"the status is {status}, not 2xx (warming up)", "status", bool(passes), 7.0)
    assert outcome.doubt == (None if passes is None else expected)


async def test_json_behind_a_byte_order_mark_is_json(service):
    service.answer = web.Response(body=b'\xef\xbb\xbf{"ok": true}')
    outcome = await sending(FakeConnections(endpoint(service.url))).run(call(request()))
    assert outcome.result["json"] == {"ok": True}


async def test_a_compression_that_was_not_asked_for_is_told_without_what_to_install(service):
    service.answer = web.Response(body=b"zz", headers={"Content-Encoding": "br"})
    outcome = await sending(FakeConnections(endpoint(service.url))).run(call(request()))
    assert isinstance(outcome, Failed)
    assert outcome.message == f"{service.url}: Can not decode content-encoding: brotli (br)"


async def test_a_read_whose_body_broke_off_may_be_asked_again():
    async with listening(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")) as port:
        outcome = await action(f"http://127.0.0.1:{port}").run(call(READ))
    assert isinstance(outcome, Succeeded)
    assert outcome.doubt == Doubt("the connection broke in the body", "truncated", passes=True)


@pytest.mark.parametrize("status", [408, 409, 425, 429])
async def test_what_was_sent_without_a_key_is_never_sent_again_by_itself(service, status):
    service.answer = web.Response(text="slow down", status=status, headers={"Retry-After": "7"})
    unkeyed = await action(service.url).run(call(UNKEYED))
    service.answer = web.Response(status=status, headers={"Retry-After": "7"})
    keyed = await action(service.url).run(call(KEYED))

    assert isinstance(unkeyed, Failed)
    assert not unkeyed.retryable
    assert unkeyed.message.endswith(f"{status}: refused (slow down)")
    assert isinstance(keyed, Pending)
    assert keyed.after == 7.0


async def test_the_connections_headers_go_with_every_request_and_no_step_sets_them(service):
    made = endpoint(service.url, {"header.X-Api-Key": "k3y-of-ours"}, headers={"X-Scope-OrgID": "team-a"})
    played = sending(FakeConnections(made))
    await played.run(call(request(headers={"X-Mine": "1"})))
    taken = [await played.run(call(request(headers={name: "b"}))) for name in ("x-scope-orgid", "X_Api_Key")]

    seen = service.seen[0].headers
    assert (seen["X-Scope-OrgID"], seen["X-Api-Key"], seen["X-Mine"]) == ("team-a", "k3y-of-ours", "1")
    assert ["the Connection sets it" in each.message for each in taken if isinstance(each, Failed)] == [True, True]
    assert len(service.seen) == 1


STATUSES = {
    200: (Succeeded, Succeeded),
    201: (Succeeded, Succeeded),
    302: (Pending, Undetermined),
    307: (Failed, Failed),
    400: (Failed, Failed),
    403: (Failed, Failed),
    409: (Pending, Failed),
    429: (Pending, Failed),
    500: (Pending, Undetermined),
    503: (Pending, Undetermined),
}


@pytest.mark.parametrize(("status", "kinds"), STATUSES.items())
async def test_for_an_effect_the_status_says_what_became_of_it(service, status, kinds):
    service.answer = web.Response(status=status)
    keyed = await action(service.url).run(call(KEYED))
    service.answer = web.Response(status=status)
    unkeyed = await action(service.url).run(call(UNKEYED))
    assert (type(keyed), type(unkeyed)) == kinds


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LOST = {
    "closed without a reply": answering(b""),
    "closed in the middle of the status": answering(b"HTTP/1.1 20"),
    "nonsense": answering(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "never answered": answering(b"", then_hang=True),
}


@pytest.mark.parametrize("serve", LOST.values(), ids=LOST.keys())
async def test_a_lost_reply_is_a_failed_read_a_pending_keyed_call_and_an_unknown_effect(serve):
    async with listening(serve) as port:
        made = action(f"http://127.0.0.1:{port}")
        read, keyed, unkeyed = [await made.run(call(spec, timeout=0.5)) for spec in (READ, KEYED, UNKEYED)]

    assert isinstance(read, Failed)
    assert (read.reason, read.retryable) == ("ConnectionFailed", True)
    assert isinstance(keyed, Pending)
    assert isinstance(unkeyed, Undetermined)
    assert unkeyed.message.startswith(f"http://127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:{_unused_port()}", "http://no-such-host.invalid"], ids=["refused", "no such host"]
)
async def test_a_request_that_was_never_sent_certainly_had_no_effect(url):
    unkeyed = await action(url).run(call(UNKEYED))
    keyed = await action(url).run(call(KEYED))

    assert isinstance(unkeyed, Failed)
    assert (unkeyed.reason, unkeyed.retryable) == ("ConnectionFailed", True)
    assert isinstance(keyed, NotDone)
    assert keyed.summary == unkeyed.message


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_broken_connection_is_never_answered_by_sending_again(method):
    seen: list[bytes] = []
    async with listening(answering(b"", seen=seen)) as port:
        outcome = await action(f"http://127.0.0.1:{port}").run(call(request(method)))
    assert isinstance(outcome, Undetermined)
    assert len(seen) == 1


async def test_a_body_that_breaks_off_is_an_answer_all_the_same():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    for hang in (False, True):
        async with listening(answering(head, then_hang=hang)) as port:
            outcome = await action(f"http://127.0.0.1:{port}").run(call(UNKEYED, timeout=0.5))
        assert isinstance(outcome, Succeeded)
        assert outcome.result["status"] == 200
        assert outcome.result["truncated"]


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "http://[fe80::1]", "http://[::ffff:169.254.169.254]", "http://[fd00:ec2::254]"]
)
async def test_no_connection_leads_to_a_metadata_service(url):
    outcome = await action(url).run(call(UNKEYED))
    assert isinstance(outcome, Failed)
    assert "no Connection may lead there" in outcome.message


async def test_secrets_stay_out_of_messages(service):
    secret = {"token": TOKEN}
    outcome = await action(f"http://{TOKEN.replace('/', '').strip('=')}.invalid", secret).run(call(request()))
    assert isinstance(outcome, Failed)
    bad = await action("https://127.0.0.1:1", {"ca.crt": "nonsense", **secret}).run(call(request()))
    assert isinstance(bad, Failed)
    assert bad.message == "the Secret's ca.crt is not a PEM certificate"
    assert TOKEN not in repr((outcome, bad))


async def test_a_connection_of_another_type_is_refused():
    outcome = await sending(FakeConnections(endpoint("http://x", kind="prometheus"))).run(call(request()))
    assert isinstance(outcome, Failed)
    assert outcome.message == 'Connection "api" is of type prometheus, not http'


@pytest.mark.parametrize(("spec", "kind"), [(READ, Failed), (KEYED, NotDone), (UNKEYED, Failed)])
async def test_where_the_apiserver_does_not_answer_nothing_is_sent(spec, kind):
    down = EndpointError("ConnectionFailed", "cannot read Connection api")
    assert isinstance(await sending(FakeConnections(down)).run(call(spec)), kind)


async def test_the_preview_shows_the_request_and_no_credentials(service):
    preview = await action(service.url, {"token": TOKEN}).show(call(KEYED))
    assert preview.do == f"POST {service.url}/pay"
    assert preview.details["json"] == {"a": 1}
    assert TOKEN not in repr((preview, preview.thing))
    assert service.seen == []


DEEP = [b"[" * 65 + b"]" * 65, b"[" * 300, b"[" * 300 + b"]" * 300, b'{"a":' * 1100 + b"1" + b"}" * 1100]


@pytest.mark.parametrize("body", DEEP)
@pytest.mark.parametrize("spec", [request(), KEYED, UNKEYED], ids=["read", "keyed", "unkeyed"])
async def test_an_answer_that_is_nested_too_deep_is_done_all_the_same(service, spec, body):
    service.answer = web.Response(body=body, content_type="application/json")
    outcome = await action(service.url).run(call(spec))

    assert isinstance(outcome, Succeeded)
    assert (outcome.result["json"], outcome.result["body"]) == (None, body.decode())
    assert len(service.seen) == 1


async def test_an_answer_of_64_levels_is_decoded(service):
    service.answer = web.Response(body=b"[" * 64 + b"]" * 64, content_type="application/json")
    outcome = await action(service.url).run(call(UNKEYED))
    assert outcome.result["json"] is not None


@pytest.mark.parametrize("kind", [b"text/\xff; charset=\xfe", b"text/html; charset*", b"text/html; charset*=utf-8'"])
async def test_an_answer_whose_headers_make_no_sense_is_done_all_the_same(kind):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nX-Odd: \xff\xfe\r\nContent-Length: 2\r\n\r\n"
    async with listening(answering(head + b"[]")) as port:
        outcome = await action(f"http://127.0.0.1:{port}").run(call(UNKEYED))
    assert isinstance(outcome, Succeeded)
    assert (outcome.result["json"], outcome.result["headers"]["x-odd"]) == ([], "\ufffd\ufffd")


ODD = {
    "a body that is not gzip": b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]",
    "a charset that is none": b"Content-Type: text/plain; charset=rot13\r\nContent-Length: 2\r\n\r\n[]",
    "a charset of bytes": b"Content-Type: text/plain; charset=hex\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "a cookie that makes no sense": b"Set-Cookie: \x80=;;;=\r\nContent-Length: 2\r\n\r\n[]",
    "a link that makes no sense": b"Link: <http://[>; rel\r\nLocation: http://[\r\nContent-Length: 2\r\n\r\n[]",
    "numbers without end": b"Content-Length: 5002\r\n\r\n[" + b"9" * 5000 + b"]",
    "no body": b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD.keys())
async def test_after_a_2xx_nothing_makes_it_undone(rest):
    async with listening(answering(b"HTTP/1.1 200 OK\r\n" + rest, then_hang=True)) as port:
        outcome = await action(f"http://127.0.0.1:{port}").run(call(UNKEYED, timeout=0.5))
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.result["status"] == 200
    json.dumps(outcome.result, allow_nan=False)


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_service_that_answers_before_it_read_all_has_answered():
    spec = request("POST", "/send", json={"a": "x" * 20_000_000})
    async with listening(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", then_hang=True)) as port:
        outcome = await action(f"http://127.0.0.1:{port}").run(call(spec, timeout=2))
    assert isinstance(outcome, Succeeded), outcome


@pytest.mark.parametrize("spec", [KEYED, UNKEYED], ids=["keyed", "unkeyed"])
async def test_a_connection_that_is_edited_after_it_was_shown_does_not_move_the_request(service, spec):
    connections = FakeConnections(endpoint(service.url, {"token": TOKEN}))
    made = sending(connections)
    shown = await made.show(call(spec), trial=False)
    async with listening(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        connections.found = endpoint(f"http://127.0.0.1:{port}", {"token": "another-token"})
        outcome = await made.send(call(spec), shown)
        moved = await made.show(call(spec), trial=False)

    assert isinstance(outcome, Succeeded)
    assert outcome.result["json"] == {"ok": True}
    assert service.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert moved.digest != shown.digest


async def test_what_is_bound_is_all_that_is_sent_but_key_and_credentials(service):
    spec = request("POST", "/pay", body="☃", headers={"X-Trace": "1"}, idempotencyKey="Idempotency-Key")
    made = action(service.url, {"token": TOKEN})
    shown = await made.show(call(spec), trial=False)
    assert shown.bound == {
        "method": "POST",
        "url": f"{service.url}/pay",
        "headers": {"Content-Type": "text/plain; charset=utf-8", "X-Trace": "1"},
        "idempotencyKey": "Idempotency-Key",
        "body": "☃",
    }
    again = await action(service.url, {"token": "rotated"}).show(call(spec, key="key-2"), trial=False)
    assert again.digest == shown.digest


OTHERWISE = {
    "another method": {"method": "PUT"},
    "another path": {"path": "/other"},
    "a query": {"query": {"a": 1}},
    "another header": {"headers": {"X": "1"}},
    "another body": {"json": {"a": 2}},
    "another key header": {"idempotencyKey": "X-Key"},
}


@pytest.mark.parametrize("other", OTHERWISE.values(), ids=OTHERWISE.keys())
async def test_another_request_is_another_thing(other):
    fields = {"method": "POST", "path": "/pay", "json": {"a": 1}, "idempotencyKey": "Idempotency-Key"}
    made = action("http://bank.example")
    then = await made.show(call(request(**fields)), trial=False)
    now = await made.show(call(request(**fields | other)), trial=False)
    assert then.digest != now.digest


@pytest.mark.parametrize("url", ["http://bank-2.example", "https://bank.example", "http://bank.example:81"])
async def test_another_host_is_another_thing(url):
    then = await action("http://bank.example").show(call(KEYED), trial=False)
    now = await action(url).show(call(KEYED), trial=False)
    assert then.digest != now.digest


async def test_a_certificate_that_is_none_is_not_tried_again():
    outcome = await action("https://127.0.0.1:1", {"ca.crt": "nonsense"}).run(call(KEYED))
    assert outcome == Failed("ConnectionFailed", "the Secret's ca.crt is not a PEM certificate", retryable=False)
