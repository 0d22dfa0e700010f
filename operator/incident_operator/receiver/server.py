"""The webhook handler: `POST /api/v1/alerts`, as Alertmanager's webhook sends it. Answers; decides nothing about alerts.

| answer | when | Alertmanager |
|---|---|---|
| 200 | every alert is stored | is content |
| 400 | the message, or an alert in it, can never be stored; its other alerts are | drops the message |
| 401, 404, 405, 413 | not allowed, not here, not so, too long | drops the message |
| 503 | not everything is stored: starting, overloaded, no apiserver | sends it again |
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog
from aiohttp import web

from incident_operator.receiver import payload, tls
from incident_operator.receiver.auth import Tokens
from incident_operator.receiver.checking import LabelLimits
from incident_operator.receiver.intake import Intake, NotStoredError
from incident_operator.receiver.load_limit import Arrival, LoadLimit, OverloadedError
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.payload import Message
from incident_operator.receiver.reading import Reading
from incident_operator.receiver.rejections import MalformedError
from incident_operator.receiver.settings import ReceiverSettings

_log = structlog.get_logger()
_LINGER = 2.0
"""Seconds that the rest of a refused body is read and thrown away, so that its sender sees the answer."""
_NAMED_REJECTIONS = 3
_BACKLOG = 1024
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readiness(Protocol):
    """Something that has to be read before alerts can be judged."""

    @property
    def ready(self) -> bool:
        """Whether it is."""
        ...


class WebhookHandler:
    """Lets messages in, one at a time each, and says what became of them."""

    def __init__(
        self,
        settings: ReceiverSettings,
        intake: Intake,
        needed: tuple[Readiness, ...],
        metrics: ReceiverMetrics,
        tokens: Tokens,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._needed = needed
        self._metrics = metrics
        self._tokens = tokens
        self._load_limit = LoadLimit(settings.max_posts, settings.max_posts_bytes, metrics.in_flight)
        self._reading = Reading()
        self._limits = LabelLimits(settings.max_labels, settings.max_label_bytes)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=self._settings.max_body_bytes, middlewares=[self._always_json])
        app.router.add_post(self._settings.path, self._post)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._reading.close()

    async def _post(self, request: web.Request) -> web.Response:
        if not self._tokens.admits(request.headers.get("Authorization")):
            return _answer(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if not all(each.ready for each in self._needed):
            return _answer(503, "still reading what is stored; send it again")
        if (request.content_length or 0) > self._settings.max_body_bytes:
            return self._too_large()
        try:
            with self._load_limit.arrival() as arrival, self._metrics.duration.time():
                return await self._take(request, arrival)
        except OverloadedError:
            return _answer(503, "too many messages at a time; send it again")

    async def _take(self, request: web.Request, arrival: Arrival) -> web.Response:
        try:
            body = await self._body(request, arrival)
            message = await self._reading.read(self._read, body)
        except web.HTTPRequestEntityTooLarge:
            return self._too_large()
        except (TimeoutError, web.RequestPayloadError, ConnectionError):
            return _answer(503, "the body did not arrive whole; send it again")
        except MalformedError as error:
            _log.warning("Refused a message", error=str(error), sender=request.remote)
            return _answer(400, str(error))
        return await self._store(message, request.remote)

    def _read(self, body: bytes) -> Message:
        return payload.read(body, self._limits)

    async def _body(self, request: web.Request, arrival: Arrival) -> bytes:
        body = bytearray()
        async with asyncio.timeout(self._settings.body_timeout):
            async for chunk in request.content.iter_any():
                arrival.grow(len(chunk))
                body += chunk
                if len(body) > self._settings.max_body_bytes:
                    raise web.HTTPRequestEntityTooLarge(self._settings.max_body_bytes, len(body))
        arrival.arrived()
        return bytes(body)

    async def _store(self, message: Message, sender: str | None) -> web.Response:
        try:
            async with asyncio.timeout(self._settings.store_timeout):
                routed = await self._intake.route(message)
                with self._load_limit.storing(urgent=self._intake.is_urgent(routed)):
                    receipt = await self._intake.take(message, routed)
        except (NotStoredError, TimeoutError) as error:
            reason = str(error) or f"not everything was stored within {self._settings.store_timeout:g}s"
            _log.warning("Alerts are not stored yet", error=reason, alerts=len(message.alerts))
            return _answer(503, f"{reason}; send it again")
        if message.refused:
            refused = "; ".join(str(rejection) for rejection in message.refused[:_NAMED_REJECTIONS])
            _log.error("Refused alerts", refused=len(message.refused), error=refused, sender=sender)
            return _answer(400, f"{len(message.refused)} alerts refused: {refused}; the others are stored: {receipt}")
        return _answer(200, str(receipt))

    def _too_large(self) -> web.Response:
        return _answer(413, f"the body is longer than {self._settings.max_body_bytes} bytes")

    @web.middleware
    async def _always_json(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            response = _answer(error.status, f"{request.method} {request.path}: {error.reason}", allow)
        except Exception:  # noqa: BLE001 # an answer of our own keeps the alerts: the sender comes again
            _log.exception("Taking a message in failed")
            response = _answer(503, "a defect of the receiver, its log tells more; send it again")
        self._metrics.posts.labels(str(response.status)).inc()
        return response


@asynccontextmanager
async def serving(handler: WebhookHandler, settings: ReceiverSettings) -> AsyncIterator[int]:
    """Listen for the block's time and yield the port. Raises `CertificateError`, or `OSError` if it cannot listen."""
    async with _secured(settings) as secured:
        runner = web.AppRunner(
            handler.application(),
            access_log=None,
            keepalive_timeout=settings.header_timeout,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.port, ssl_context=secured, backlog=_BACKLOG)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _secured(settings: ReceiverSettings) -> AsyncIterator[ssl.SSLContext | None]:
    if settings.tls_certificate is None or settings.tls_key is None:
        yield None
        return
    context = tls.context(settings.tls_certificate, settings.tls_key)
    reloading = asyncio.create_task(tls.keep_current(context, settings.tls_certificate, settings.tls_key))
    try:
        yield context
    finally:
        reloading.cancel()
        with suppress(asyncio.CancelledError):
            await reloading


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    word = "success" if status < 300 else "error"
    return web.json_response({"status": word, "message": message}, status=status, headers=headers)
