"""http: one request below a Connection's URL. Effect: read, keyed-call or unkeyed, by what the step declares.

For a read every reply is an answer, whatever its status: `expect` judges it, and in `verify` it has to be 2xx unless `expect` looks
at the status. For an effect the status says what became of it: 2xx done; 307, 308 and 4xx refused, so not done; anything else unclear,
as is a lost reply.
"""

import codecs
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypedDict

import orjson
from pydantic import ConfigDict, Field

from incident_operator.actions.clients import Clients
from incident_operator.api.meta import Model, ObjectName, rule, validations
from incident_operator.clients import http, redaction
from incident_operator.clients.http import Reply, Request
from incident_operator.connections import http as declared
from incident_operator.core import reasons, texts
from incident_operator.core.action import Action, Call, Connects, Preview, Text
from incident_operator.core.expressions import templates
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import (
    LATER,
    Doubt,
    Effect,
    Failed,
    Outcome,
    Pending,
    Succeeded,
    Undetermined,
    Unusable,
)
from incident_operator.core.sanitize import loads

_READS = frozenset({"GET", "HEAD"})


class Http(Model):
    """Sends one HTTP request.

    Effect: read for GET, HEAD or `safe`; keyed-call with `idempotencyKey`; else unkeyed.
    """

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.idempotencyKey) || !(has(self.safe) && self.safe) && !(self.method in ['GET', 'HEAD'])",
                "idempotencyKey is for requests that change something; this one only reads",
            ),
            rule("!has(self.body) || !(self.method in ['GET', 'HEAD'])", "GET and HEAD carry no body"),
        )
    )

    connection: Annotated[ObjectName, Connects("http")]
    """A Connection of type http."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """GET and HEAD only read; any other is an effect unless it is `safe`."""
    path: Annotated[str, Field(pattern=r"^/", max_length=2048), Take.URL_PATH] = "/"
    """Path below the Connection's URL; interpolated values are percent-encoded."""
    query: Annotated[dict[str, Any], Field(max_length=64), Take.NATIVE] = Field(default_factory=dict)
    """Parameters behind the `?`."""
    headers: Annotated[dict[str, Text], Field(max_length=32), Take.HEADER] = Field(default_factory=dict)
    """Headers to send; credentials are the Connection's."""
    json_: Annotated[Any, Field(alias="json"), Take.NATIVE] = None
    """A body to send as JSON; either this or `body`."""
    body: Annotated[Text | None, Take.TEXT] = None
    """A body to send as it is."""
    safe: bool = False
    """Declares that this request changes nothing, whatever its method; the Connection's `safePaths` has to name the path."""
    idempotency_key: Annotated[str | None, Field(max_length=63, pattern=r"^[A-Za-z0-9][-A-Za-z0-9]*$")] = None
    """Header in which the service honours an idempotency key; the step key is sent in it."""


class Result(TypedDict):
    """What `result` holds."""

    status: int
    headers: dict[str, str]
    body: str
    json: Annotated[Any, "null unless the body is JSON"]
    truncated: bool


def _effect(spec: Http) -> Effect:
    if spec.safe or spec.method in _READS:
        return Effect.READ
    if spec.idempotency_key:
        return Effect.KEYED_CALL
    return Effect.UNKEYED


def _check(spec: Http, path: str) -> Iterator[Problem]:
    if templates.climbs(spec.path):
        yield Problem(f"{path}.path", "climbs out of the Connection's URL: a segment is . or ..")
    if "${" not in spec.path and not {"?", "#"}.isdisjoint(spec.path):
        yield Problem(f"{path}.path", "holds ? or #; what follows a ? goes into query")
    if spec.json_ is not None and spec.body is not None:
        yield Problem(f"{path}.body", "a request has one body: either json or body")


LOOK_AGAIN_SECONDS = 5.0
RESULT_BYTES = 240_000
BODY_CHARACTERS_BESIDE_JSON = 4096
"""Of the body's text where `json` has all of it anyway."""
QUOTED_CHARACTERS = 200
"""Of the body, in a message."""
HEADERS = 32
HEADER_CHARACTERS = 512
_REFUSED_FOR_NOW = frozenset({408, 409, 425, 429})
"""The same request may be accepted later; 409 is also how a service says that this key is still in work."""
_SINGLE_BYTE = frozenset({"iso-8859-1", "windows-1252"})
"""Charsets still met beside UTF-8; a service does not get to choose any other decoder."""
_WITHHELD = frozenset({"set-cookie", "www-authenticate", "proxy-authenticate", "authentication-info"})
"""Headers that carry credentials, or challenges for them."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What is sent, but for the value of the idempotency header, and with which credentials."""

    request: Request
    secret: Mapping[str, str] = field(repr=False)


async def read(call: Call[Http], clients: Clients) -> Outcome:
    """Send a request that changes nothing and return {status, headers, body, json, truncated}. Raises `Failure`."""
    thing = await _thing(call, clients, safe=True)
    reply = await http.send(thing.request, thing.secret, call.timeout)
    hint = redaction.of_status(thing.secret, reply.status)
    return Succeeded(result_of(reply), f"{_summary(thing.request, reply)}{hint}", doubt=_doubt(reply))


async def show(call: Call[Http], clients: Clients, trial: bool) -> Preview:  # noqa: ARG001 # the interface of every action
    """Return the request; it is not tried out. Raises `Failure`."""
    thing, spec = await _thing(call, clients), call.spec
    request = thing.request
    details = {**spec.to_json(), "method": request.method, "url": str(request.url)}
    bound = {
        "method": request.method,
        "url": str(request.url),
        "headers": dict(request.headers),
        "idempotencyKey": spec.idempotency_key,
        "body": request.body.decode() if request.body is not None else None,
    }
    return Preview(f"{request.method} {request.url}", details, thing=thing, bound=bound)


async def act(call: Call[Http], preview: Preview, clients: Clients) -> Outcome:  # noqa: ARG001 # the interface of every action
    """Send the request, with the step key in the idempotency header where the step names one. Raises `Failure`."""
    thing: Thing = preview.thing
    request = replace(thing.request, headers={**thing.request.headers, **_idempotency(call)})
    reply = await http.send(request, thing.secret, call.timeout)
    return _answered(reply, request, _effect(call.spec), redaction.of_status(thing.secret, reply.status))


async def _thing(call: Call[Http], clients: Clients, *, safe: bool = False) -> Thing:
    endpoint = await clients.connections.endpoint(call.namespace, call.spec.connection, call.service_account)
    where = declared.CONNECTION.of(endpoint.connection.spec)
    if where is None:
        kind = endpoint.connection.spec.type
        raise Unusable(f'Connection "{call.spec.connection}" is of type {kind}, not http')
    spec = call.spec
    if safe and spec.method not in _READS and not where.is_safe(spec.path):
        # whoever writes the Connection says what changes nothing; the author of a Runbook alone could call anything so
        raise Unusable(
            f'{spec.method} {spec.path} is called safe, but Connection "{spec.connection}" does not name the path: '
            "add it to spec.http.safePaths there, or leave safe away, so that a person is asked"
        )
    http.check_headers(_idempotency(call))
    theirs = [*where.headers, *declared.headers_in(endpoint.secret)]
    http.refuse_those_of(theirs, {**spec.headers, **_idempotency(call)})
    return Thing(_request(where, spec), endpoint.secret)


def _request(where: declared.HttpEndpoint, spec: Http) -> Request:
    if spec.json_ is not None and spec.body is not None:
        raise Unusable("either json or body may be given, not both")
    body: bytes | None = None
    kind_of_body: dict[str, str] = {}
    try:
        http.check_headers(spec.headers)
        http.check_headers(where.headers, "a Connection")
        url = http.target(where.url, spec.path, spec.query)
        if spec.json_ is not None:
            body, kind_of_body = orjson.dumps(spec.json_), {"Content-Type": "application/json"}
        elif spec.body is not None:
            body, kind_of_body = spec.body.encode(), {"Content-Type": "text/plain; charset=utf-8"}
    except (UnicodeError, orjson.JSONEncodeError) as error:
        raise Unusable(f"cannot be written as UTF-8 or JSON: {error}") from None
    return Request(spec.method, url, {**kind_of_body, **spec.headers, **where.headers}, body)


def _idempotency(call: Call[Http]) -> dict[str, str]:
    return {} if call.spec.idempotency_key is None else {call.spec.idempotency_key: call.key}


def _summary(request: Request, reply: Reply) -> str:
    return f"{request.method} {request.url.path}: {reply.status}"


def _answered(reply: Reply, request: Request, effect: Effect, hint: str) -> Outcome:
    summary, keyed = _summary(request, reply), effect is Effect.KEYED_CALL
    if 200 <= reply.status < 300:
        return Succeeded(result_of(reply), summary)
    again = max(LOOK_AGAIN_SECONDS, reply.retry_after)
    if keyed and reply.status in _REFUSED_FOR_NOW:
        return Pending(again, f"{summary}{_quoted(reply)}; sending it again with the same key")
    if reply.status in {307, 308} or 400 <= reply.status < 500:
        reason = reasons.FORBIDDEN if reply.status in {401, 403} else reasons.BAD_REQUEST
        why = "redirects are not followed" if reply.status in {307, 308} else "refused"
        # what was sent without a key is not sent again by itself, whatever came back: nobody could tell two of it apart
        told = f"{summary}: {why}{_quoted(reply)}{hint}"
        return Failed(reason, told, retryable=False, result=result_of(reply))
    if keyed:
        return Pending(again, f"{summary}{_quoted(reply)}; sending it again with the same key")
    return Undetermined(f"{summary}: that status does not tell whether it was carried out{_quoted(reply)}")


def _doubt(reply: Reply) -> Doubt | None:
    """Return what speaks against the answer to a read: a status that is not 2xx, or a body that broke off."""
    if reply.broken:
        return Doubt("the connection broke in the body", "truncated", passes=True)
    if 200 <= reply.status < 300:
        return None
    passes = reply.status in LATER
    why = f"the status is {reply.status}, not 2xx{_quoted(reply)}"
    return Doubt(why, "status", passes=passes, after=reply.retry_after)


def _quoted(reply: Reply) -> str:
    """Return the first line of a body, for a message; empty where there is none."""
    line = texts.first_line(_text(reply), QUOTED_CHARACTERS)
    return f" ({line})" if line else ""


def result_of(reply: Reply) -> dict[str, Any]:
    """Return a reply as a step's result, below 256 KiB; `json` is null where the body is no JSON, was cut, or is nested too deep."""
    text, decoded = _text(reply), None
    if reply.complete:
        with suppress(ValueError):
            decoded = loads(reply.body.removeprefix(codecs.BOM_UTF8))
    headers = [(name, value[:HEADER_CHARACTERS]) for name, value in reply.headers.items() if name not in _WITHHELD]
    cut = decoded is not None and len(text) > BODY_CHARACTERS_BESIDE_JSON
    result = {
        "status": reply.status,
        "headers": dict(headers[:HEADERS]),
        "body": text[:BODY_CHARACTERS_BESIDE_JSON] if cut else text,
        "json": decoded,
        "truncated": not reply.complete,
    }
    if len(orjson.dumps(result)) > RESULT_BYTES:
        # control characters grow sixfold in JSON
        return {**result, "body": text[: RESULT_BYTES // 16], "json": None, "truncated": True}
    return result


def _text(reply: Reply) -> str:
    return reply.body.decode(reply.charset if reply.charset in _SINGLE_BYTE else "utf-8", "replace")


ACTION = Action(
    "http",
    Http,
    Result,
    effect=_effect,
    cases={
        Effect.READ: "for GET, HEAD and `safe: true`",
        Effect.KEYED_CALL: "with `idempotencyKey`",
        Effect.UNKEYED: "otherwise",
    },
    rights="get the Secret",
    checks=(_check,),
    instead="an http request that changes nothing is declared safe: true",
    read=read,
    show=show,
    act=act,
)
