"""http: one request below a Connection's URL. Effect: read, keyed-call or unkeyed, by what the step declares.

For a read every reply is an answer, whatever its status: `expect` judges it. For an effect the status says what
became of it: 2xx done; 307, 308 and 4xx refused, so not done; anything else unclear, as is a lost reply.
"""

import orjson

from incident_operator.actions import endpoint_failures, http_results
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.api.actions import Http as Spec
from incident_operator.clients import http, http_requests
from incident_operator.clients.connections import Connections, Endpoint, EndpointError
from incident_operator.clients.http import HttpError, Reply
from incident_operator.clients.http_requests import Request, RequestError
from incident_operator.core import effects, reasons
from incident_operator.core.effects import Effect
from incident_operator.core.outcomes import Failed, Outcome, Pending, Succeeded, Undetermined

LOOK_AGAIN_SECONDS = 5.0
_REFUSED_FOR_NOW = frozenset({408, 409, 425, 429})
"""The same request may be accepted later; 409 is also how a service says that this key is still in work."""


class Http:
    """Sends one request; nothing but the Connection says to which host and with which credentials."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def run(self, call: Call) -> Outcome:
        """Send the request and return {status, headers, body, json, truncated}."""
        spec = _spec(call)
        try:
            endpoint = await self._endpoint(call, spec)
            request = _request(endpoint, spec, call.key)
            reply = await http.send(request, endpoint.secret, call.timeout)
        except EndpointError as error:
            return _unopened(error, effects.of(call.action, spec))
        except RequestError as error:
            return Failed(reasons.BAD_REQUEST, str(error), retryable=False)
        except HttpError as error:
            return _no_reply(error, effects.of(call.action, spec))
        return _answered(reply, request, effects.of(call.action, spec))

    async def preview(self, call: Call) -> Preview:
        """Show the request; it is not tried out. Raises `PreviewError`."""
        spec = _spec(call)
        try:
            request = _request(await self._endpoint(call, spec), spec, call.key)
        except (EndpointError, RequestError) as error:
            raise PreviewError(f"{call.step}: {error}") from None
        details = {**spec.to_json(), "method": request.method, "url": str(request.url)}
        return Preview(f"{request.method} {request.url}", details)

    async def _endpoint(self, call: Call, spec: Spec) -> Endpoint:
        return await self._connections.endpoint(call.namespace, spec.connection, call.service_account)


def _spec(call: Call) -> Spec:
    if not isinstance(call.spec, Spec):
        raise TypeError(f"not an http: {call.action}")
    return call.spec


def _request(endpoint: Endpoint, spec: Spec, key: str) -> Request:
    where = endpoint.connection.spec.http
    if where is None:
        kind = endpoint.connection.spec.type
        raise RequestError(f'Connection "{spec.connection}" is of type {kind}, not http')
    try:
        http_requests.check_headers(spec.headers)
        url = http_requests.target(where.url, spec.path, spec.query)
        body, kind_of_body = _body(spec)
    except (UnicodeError, orjson.JSONEncodeError) as error:
        raise RequestError(f"cannot be written as UTF-8 or JSON: {error}") from None
    headers = {**kind_of_body, **spec.headers, **_idempotency(spec, key)}
    return Request(spec.method, url, headers, body)


def _body(spec: Spec) -> tuple[bytes | None, dict[str, str]]:
    if spec.json_ is not None and spec.body is not None:
        raise RequestError("either json or body may be given, not both")
    if spec.json_ is not None:
        return orjson.dumps(spec.json_), {"Content-Type": "application/json"}
    if spec.body is not None:
        return spec.body.encode(), {"Content-Type": "text/plain; charset=utf-8"}
    return None, {}


def _idempotency(spec: Spec, key: str) -> dict[str, str]:
    if spec.idempotency_key is None:
        return {}
    header = {spec.idempotency_key: key}
    http_requests.check_headers(header)
    return header


def _unopened(error: EndpointError, effect: Effect) -> Outcome:
    if effect is Effect.KEYED_CALL and endpoint_failures.passing(error):
        return Pending(LOOK_AGAIN_SECONDS, f"{error.message}; trying again")
    return endpoint_failures.failed(error)


def _no_reply(error: HttpError, effect: Effect) -> Outcome:
    if effect is Effect.KEYED_CALL:
        # an earlier try under this key may have got through, even if this one did not
        return Pending(LOOK_AGAIN_SECONDS, f"{error.message}; asking again with the same key")
    if effect is Effect.READ or not error.sent:
        return Failed(reasons.CONNECTION_FAILED, error.message)
    return Undetermined(f"{error.message}; the request was sent, so it may have been carried out")


def _answered(reply: Reply, request: Request, effect: Effect) -> Outcome:
    summary = f"{request.method} {request.url.path}: {reply.status}"
    if effect is Effect.READ or 200 <= reply.status < 300:
        return Succeeded(http_results.of(reply), summary)
    if effect is Effect.KEYED_CALL and reply.status in _REFUSED_FOR_NOW:
        return Pending(LOOK_AGAIN_SECONDS, f"{summary}; asking again with the same key")
    if reply.status in {307, 308} or 400 <= reply.status < 500:
        return _refused(reply, summary)
    if effect is Effect.KEYED_CALL:
        return Pending(LOOK_AGAIN_SECONDS, f"{summary}; asking again with the same key")
    return Undetermined(f"{summary}: that status does not tell whether it was carried out")


def _refused(reply: Reply, summary: str) -> Failed:
    reason = reasons.FORBIDDEN if reply.status in {401, 403} else reasons.BAD_REQUEST
    why = "redirects are not followed" if reply.status in {307, 308} else "refused"
    retryable = reply.status in _REFUSED_FOR_NOW
    return Failed(reason, f"{summary}: {why}", retryable=retryable, result=http_results.of(reply))
