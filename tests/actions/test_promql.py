"""The promql action against servers that answer as Prometheus' query API does, or not at all."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from incident_operator.actions import promql
from incident_operator.actions.promql import Promql as Spec
from incident_operator.clients import prometheus
from incident_operator.clients.connections import EndpointError
from incident_operator.clients.prometheus import Answer, Prometheus
from incident_operator.core.outcomes import Failed, Succeeded
from incident_operator.kubernetes.fair_shares import FLOW, Flow
from incident_operator.kubernetes.priority import THREADS
from tests.actions.http_calls import FakeConnections, answering, call, endpoint, listening
from tests.actions.played import Played, clients

SECRET = {"token": "s3cr3t-t0ken"}


@pytest.fixture
def client() -> Iterator[Prometheus]:
    made = Prometheus()
    yield made
    made.close()


@pytest.fixture
async def serve_metrics() -> AsyncIterator[int]:
    """The port of a Prometheus that answers each query with 1."""
    app = web.Application()

    async def one(_: web.Request) -> web.Response:
        return data("vector", [{"metric": {}, "value": [1.5, "1"]}])

    app.router.add_get("/api/v1/query", one)
    async with TestServer(app) as server:
        yield server.port


def query(text: str = "up", **params: Any) -> Spec:
    return Spec.model_validate({"connection": "metrics", "query": text, "params": params})


def data(kind: str, result: Any) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})


def refusal(status: int, kind: str, error: str) -> web.Response:
    return web.json_response({"status": "error", "errorType": kind, "error": error}, status=status)


def action(client: Prometheus, url: str) -> Played:
    return asking(client, FakeConnections(endpoint(url, SECRET, kind="prometheus")))


def asking(client: Prometheus, connections: FakeConnections) -> Played:
    return Played(promql.ACTION, clients(connections=connections, prometheus=client))


HISTOGRAM = {"count": "60", "sum": "33.5", "buckets": [[1, "0.5", "1", "60"]]}
ANSWERS = {
    "one series": (
        data("vector", [{"metric": {"job": "api"}, "value": [1.5, "0.25"]}]),
        {"value": 0.25, "series": [{"labels": {"job": "api"}, "value": 0.25}]},
        "value 0.25",
    ),
    "no series": (data("vector", []), {"value": None, "series": []}, "no series"),
    "two series": (
        data("vector", [{"metric": {"a": "1"}, "value": [1, "1"]}, {"metric": {"a": "2"}, "value": [1, "2"]}]),
        {"value": None, "series": [{"labels": {"a": "1"}, "value": 1.0}, {"labels": {"a": "2"}, "value": 2.0}]},
        "2 series",
    ),
    "a scalar": (data("scalar", [1, "7"]), {"value": 7.0, "series": [{"labels": {}, "value": 7.0}]}, "value 7.0"),
    "a matrix": (
        data("matrix", [{"metric": {}, "values": [[1, "1"], [2, "3"]]}]),
        {"value": 3.0, "series": [{"labels": {}, "value": 3.0}]},
        "value 3.0",
    ),
    "infinity": (
        data("vector", [{"metric": {}, "value": [1, "+Inf"]}]),
        {"value": math.inf, "series": [{"labels": {}, "value": math.inf}]},
        "value +Inf",
    ),
    "a text": (data("string", [1, "5"]), {"value": "5", "series": [{"labels": {}, "value": "5"}]}, "value 5"),
    "an empty matrix": (data("matrix", []), {"value": None, "series": []}, "no series"),
    "a native histogram": (
        data("vector", [{"metric": {"a": "1"}, "histogram": [1, HISTOGRAM]}]),
        {"value": None, "series": [{"labels": {"a": "1"}, "value": None, "histogram": {"count": 60.0, "sum": 33.5}}]},
        "a native histogram (count 60, sum 33.5), not a number; histogram_quantile or histogram_count makes one of it",
    ),
    "a matrix of native histograms": (
        data("matrix", [{"metric": {}, "histograms": [[1, {"count": "1", "sum": "2"}], [2, HISTOGRAM]]}]),
        {"value": None, "series": [{"labels": {}, "value": None, "histogram": {"count": 60.0, "sum": 33.5}}]},
        "a native histogram (count 60, sum 33.5), not a number; histogram_quantile or histogram_count makes one of it",
    ),
    "a matrix that became native histograms": (
        data(
            "matrix",
            [
                {"metric": {}, "values": [[1, "7"]], "histograms": [[2, HISTOGRAM]]},
                {"metric": {"a": "2"}, "values": [[1, "2"]]},
            ],
        ),
        {
            "value": None,
            "series": [
                {"labels": {}, "value": None, "histogram": {"count": 60.0, "sum": 33.5}},
                {"labels": {"a": "2"}, "value": 2.0},
            ],
        },
        "2 series, 1 of them native histograms, which are not numbers",
    ),
}


@pytest.mark.parametrize(("answer", "result", "summary"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_becomes_a_value_and_series(client, service, answer, result, summary):
    service.answer = answer
    outcome = await action(client, service.url).run(call(query()))

    assert outcome == Succeeded({**result, "warnings": [], "infos": [], "truncated": False}, summary)


async def test_what_is_not_a_number_is_a_double(client, service):
    service.answer = data("vector", [{"metric": {}, "value": [1, "NaN"]}])
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Succeeded)
    assert math.isnan(outcome.result["value"])
    assert outcome.summary == "value NaN"


WARNED = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "0"]}]},
    "warnings": ["a store did not answer"],
    "infos": ["metric might not be a counter"],
}


@pytest.mark.parametrize(
    ("written", "kind", "doubted"),
    [({}, Succeeded, True), ({"warnings": "tell"}, Succeeded, False), ({"warnings": "fail"}, Failed, False)],
)
async def test_what_is_said_beside_the_number_is_told_and_counts(client, service, written, kind, doubted):
    service.answer = web.json_response(WARNED)
    spec = Spec.model_validate({"connection": "metrics", "query": "up", **written})
    outcome = await action(client, service.url).run(call(spec))

    assert isinstance(outcome, kind)
    told = outcome.summary if isinstance(outcome, Succeeded) else outcome.message
    assert told == "value 0.0; warning: a store did not answer; info: metric might not be a counter"
    assert outcome.result["warnings"] == ["a store did not answer"]
    assert outcome.result["infos"] == ["metric might not be a counter"]
    assert (isinstance(outcome, Succeeded) and outcome.doubt is not None) == doubted


@pytest.mark.parametrize("said", [{"infos": ["odd"]}, {"warnings": []}, {"warnings": None}])
async def test_an_answer_without_warnings_is_not_doubtful(client, service, said):
    service.answer = web.json_response({**WARNED, "warnings": [], **said})
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Succeeded)
    assert outcome.doubt is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("one", ["one"]),
        ({"store": None, "n": 1.5}, ['{"store": null, "n": 1.5}']),
        ([["a", True], 3], ['["a", true]', "3"]),
        ([None, "", " \n", {}, False], []),
        (False, []),
        (["\ud800\n\x1b[31mred"], ["\ufffd \ufffd[31mred"]),
    ],
)
async def test_warnings_of_another_form_are_told_as_they_were_written(client, service, said, told):
    service.answer = web.json_response({**WARNED, "infos": said, "warnings": said})
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Succeeded)
    assert (outcome.result["warnings"], outcome.result["infos"]) == (told, told)
    assert (outcome.doubt is not None) == bool(told)


async def test_a_tenant_goes_with_every_query_and_a_secret_one_is_masked(client, service):
    made = endpoint(
        service.url,
        {**SECRET, "header.X-Api-Key": "k3y-of-ours\n"},
        kind="prometheus",
        headers={"X-Scope-OrgID": "team-a"},
    )
    service.answer = refusal(400, "bad_data", "no such key: k3y-of-ours")
    outcome = await asking(client, FakeConnections(made)).run(call(query()))

    seen = service.seen[0].headers
    assert (seen["X-Scope-OrgID"], seen["X-Api-Key"]) == ("team-a", "k3y-of-ours")
    assert seen["Authorization"] == "Bearer s3cr3t-t0ken"
    assert isinstance(outcome, Failed)
    assert outcome.message == "metrics: Prometheus answered 400: no such key: ***"


async def test_a_connection_cannot_set_what_is_not_its_to_set(client, service):
    made = endpoint(service.url, kind="prometheus", headers={"Host": "elsewhere"})
    outcome = await asking(client, FakeConnections(made)).run(call(query()))
    assert isinstance(outcome, Failed)
    assert "headers.Host: may not be set by a Connection" in outcome.message
    assert service.seen == []


async def test_a_long_query_goes_by_post(client, service):
    service.answer = data("vector", [])
    text = " or ".join(["up"] * 2000)
    await action(client, service.url).run(call(query(text)))

    assert (service.seen[0].method, service.seen[0].query_string) == ("POST", "")
    sent = parse_qs(service.bodies[0].decode())
    assert (sent["query"], sent["timeout"]) == ([text], ["5.000"])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("999999", 300.0), ("soon", 0.0), (None, 0.0)])
async def test_not_now_may_be_asked_again_after_what_the_service_says(client, service, status, header, after):
    service.answer = web.Response(
        text="\n  <html>upstream connect error\nmore", status=status, headers={"Retry-After": header} if header else {}
    )
    outcome = await action(client, service.url).run(call(query()))

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.after) == ("ConnectionFailed", True, after)
    assert outcome.message == f"metrics: Prometheus answered {status}: <html>upstream connect error"


async def test_the_first_line_of_an_errors_body_is_quoted_clean_and_short(client, service):
    service.answer = web.Response(body=b"\x1b[31mno such tenant\xff " + b"x" * 900 + b"\nline 2", status=401)
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert not outcome.retryable
    assert "line 2" not in outcome.message
    assert "\x1b" not in outcome.message
    assert outcome.message.startswith("metrics: Prometheus answered 401: \ufffd[31mno such tenant\ufffd xxx")
    assert len(outcome.message) < 600


PAGE = "<!DOCTYPE html>\r\n<html>\n<head><title>\n 503 Service Unavailable &amp; gone</title></head><h1>Not now</h1>"
XML = "<?xml version='1.0'?>\n<Error><Code>SlowDown</Code></Error>"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (PAGE, "503 Service Unavailable & gone"),
        ("<html>\n<body><h1>Not now</h1>", "Not now"),
        ("<HTML></HTML>", "<HTML></HTML>"),
        (XML, "SlowDown"),
        ("<nil> pointer", "<nil> pointer"),
        ('{"status": "error", "error": null}', '{"status": "error", "error": null}'),
        ('{"error": {"message": "m"}}', '{"error": {"message": "m"}}'),
        ("", "no reason given"),
    ],
)
async def test_a_page_of_a_proxy_is_told_by_what_stands_in_it(client, service, body, told):
    service.answer = web.Response(status=500, text=body)
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert outcome.message == f"metrics: Prometheus answered 500: {told}"


@pytest.mark.parametrize("beside", [{}, {"data": {"resultType": "vector", "result": []}}])
async def test_an_answer_that_says_error_is_none_whatever_its_status(client, service, beside):
    service.answer = web.json_response({"status": "error", "error": "a shard is gone", **beside})
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert outcome.message == "metrics: Prometheus answered: a shard is gone"


@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"", b"HTTP/1.1 20"])
async def test_a_connection_that_breaks_may_be_asked_again(client, body):
    async with listening(answering(body)) as port:
        outcome = await action(client, f"http://127.0.0.1:{port}").run(call(query()))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("ConnectionFailed", True)


async def test_the_query_is_sent_with_credentials_and_a_timeout(client, service):
    service.answer = data("vector", [])
    await action(client, f"{service.url}/prom/").run(call(query("up{job=%(job)s} % 2", job='a"b')))

    seen = service.seen[0]
    assert seen.path == "/prom/api/v1/query"
    assert seen.query["query"] == 'up{job="a\\"b"} % 2'
    assert seen.query["timeout"] == "5.000"  # a real one refuses "5.000s"
    assert seen.headers["Authorization"] == "Bearer s3cr3t-t0ken"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("api", '"api"'),
        ('"} or vector(1) #', '"\\"} or vector(1) #"'),
        ("back\\slash", '"back\\\\slash"'),
        ("line\nbreak\ttab\0", '"line\\nbreak\\ttab\\U00000000"'),
        ("☃ é", '"☃ é"'),
        ("\u202e", '"\\U0000202e"'),
        (5, '"5"'),
        (True, '"true"'),
    ],
)
def test_a_parameter_becomes_one_quoted_string(value, literal):
    assert prometheus.render("up{a=%(v)s}", {"v": value}) == f"up{{a={literal}}}"


async def test_a_missing_parameter_is_told(client, service):
    outcome = await action(client, service.url).run(call(query("up{job=%(job)s}")))
    assert outcome == Failed("BadRequest", "query: %(job)s is not among params", retryable=False)
    assert service.seen == []


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "null"), (["a"], "a list or an object"), ({"a": 1}, "a list or an object")]
)
async def test_what_is_not_one_value_never_enters_a_query(client, service, value, kind):
    outcome = await action(client, service.url).run(call(query("up{job=%(job)s}", job=value)))
    told = f"params.job: {kind}; a parameter of a query is a text, a number or a boolean"
    assert outcome == Failed("BadRequest", told, retryable=False)
    assert service.seen == []


async def test_a_refused_query_is_told_in_prometheus_own_words(client, service):
    service.answer = refusal(400, "bad_data", '1:4: parse error: unexpected "}" in s3cr3t-t0ken')
    outcome = await action(client, service.url).run(call(query("up{")))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "StatementFailed"
    assert outcome.message == 'metrics: Prometheus answered 400: 1:4: parse error: unexpected "}" in ***'
    assert not outcome.retryable


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>"),
        web.json_response([]),
        web.json_response({"data": {"result": [1]}}),
        web.json_response({"data": {"result": [{"metric": {}, "value": [1, "x"]}]}}),
        web.json_response({"data": {"resultType": "string", "result": [1, None]}}),
        web.json_response({"data": {"resultType": "string", "result": [1, {"a": 1}]}}),
    ],
)
async def test_what_is_no_answer_of_a_prometheus_is_told(client, service, answer):
    service.answer = answer
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert "not that of a Prometheus query API" in outcome.message


async def test_a_redirect_is_not_followed(client, service):
    service.answer = web.Response(status=302, headers={"Location": f"{service.url}/login"})
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert "redirects are not followed" in outcome.message
    assert len(service.seen) == 1


async def test_an_unavailable_server_is_asked_once(client, service):
    service.answer = refusal(503, "timeout", "overloaded")
    await action(client, service.url).run(call(query()))
    assert len(service.seen) == 1


async def test_many_series_are_cut_below_the_limit(client, service):
    series = [{"metric": {"n": str(n), "text": "x" * 900}, "value": [1, "1"]} for n in range(1000)]
    service.answer = data("vector", series)
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["truncated"]
    assert len(json.dumps(outcome.result)) < 256 * 1024


async def test_an_endless_answer_is_refused(client, service):
    service.answer = web.Response(body=b"[" + b" " * (3 * 1024 * 1024))
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert "longer than 2 MiB" in outcome.message


HANGING = {
    "never answers": answering(b"", then_hang=True),
    "stops in its headers": answering(b"HTTP/1.1 200 OK\r\nContent-", then_hang=True),
    "stops in its body": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", then_hang=True),
}


@pytest.mark.parametrize("serve", HANGING.values(), ids=HANGING.keys())
async def test_a_server_that_hangs_is_left_in_bounded_time_and_so_is_its_thread(client, serve):
    async with listening(serve) as port:
        made = action(client, f"http://127.0.0.1:{port}")
        outcomes = [await made.run(call(query(), timeout=0.3)) for _ in range(2 * THREADS)]
    assert all(isinstance(outcome, Failed) and outcome.reason == "ConnectionFailed" for outcome in outcomes)
    assert "no answer within 0.3s" in outcomes[0].message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("http://no-such-host.invalid", "known"),
    ],
)
async def test_an_unreachable_server_is_told_in_one_line(client, url, says):
    outcome = await action(client, url).run(call(query()))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "ConnectionFailed"
    assert outcome.message.startswith(f"metrics: {url}: ")
    assert says in outcome.message
    assert outcome.retryable


async def test_an_unreadable_secret_is_the_reason_as_it_was_given(client):
    refused = EndpointError("SecretUnreadable", "may not get secret")
    outcome = await asking(client, FakeConnections(refused)).run(call(query()))
    assert outcome == Failed("SecretUnreadable", "may not get secret", retryable=False)


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("levels", [65, 300, 200_000])
async def test_an_answer_that_is_nested_too_deep_is_told_as_such(client, service, status, levels):
    service.answer = web.Response(body=b"[" * levels + b"]" * levels, status=status, content_type="application/json")
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Failed)
    told = "the answer is nested more than 64 levels deep" if status == 200 else "Prometheus answered 422: [[["
    assert told in outcome.message


async def test_labels_that_are_no_text_are_an_answer_all_the_same(client, service):
    body = b'{"status":"success","data":{"result":[{"metric":{"a":"\\ud800","b":[[1e999]]},"value":[1,"1"]}]}}'
    service.answer = web.Response(body=body, content_type="application/json")
    outcome = await action(client, service.url).run(call(query()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["series"] == [{"labels": {"a": "\ufffd", "b": [[math.inf]]}, "value": 1.0}]


def asked(client: Prometheus, namespace: str, port: int, seconds: float) -> "asyncio.Task[Answer]":
    """Ask as a visit of that namespace does."""

    async def ask() -> Answer:
        FLOW.set(Flow(namespace, 2))
        return await client.query(endpoint(f"http://127.0.0.1:{port}", SECRET, kind="prometheus"), "up", seconds)

    return asyncio.create_task(ask())


async def test_four_hanging_queries_of_one_namespace_leave_a_thread_to_others(client, serve_metrics):
    async with listening(answering(b"", then_hang=True)) as port:
        hanging = [asked(client, "eve", port, 30.0) for _ in range(2 * THREADS)]
        await asyncio.sleep(0)
        for _ in range(THREADS):
            answer = await asked(client, "prod", serve_metrics, 5.0)
            assert answer.samples[0].value == 1.0
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
