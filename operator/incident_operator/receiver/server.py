"""The webhook handler: `POST /api/v1/alerts`, as Alertmanager's webhook sends it. Answers; decides nothing about alerts.

| answer | when | Alertmanager |
|---|---|---|
| 200 | every alert is stored | is content |
| 400 | the message, or an alert in it, can never be understood; its other alerts are stored | drops the message |
| 401, 404, 405 | not allowed, not here, not so | drops the message |
| 503 | not everything is stored: starting, overloaded, no apiserver, too long | sends it again |

Whoever starts it reads the environment; nothing here does. Its certificate may be replaced while it runs.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
from aiohttp import web

from incident_operator.core import texts
from incident_operator.core.alerts.matching import IGNORE
from incident_operator.core.alerts.received_alerts import LabelLimits
from incident_operator.receiver.alertmanager import Message, Reading, read_message
from incident_operator.receiver.auth import Tokens
from incident_operator.receiver.intake import Intake, NotStoredError
from incident_operator.receiver.metrics import Arrival, LoadLimit, OverloadedError, ReceiverMetrics
from incident_operator.receiver.refusals import MalformedError, RefusalLog

_LOOK_EVERY = 60.0
"""Seconds between two looks at the files of the certificate."""
_LINGER = 2.0
"""Seconds that the rest of a refused body is read and thrown away, so that its sender sees the answer."""
_NAMED_REJECTIONS = 3
_BACKLOG = 1024
_SHOWN = 200
_RIGHT_HEADER = (
    "send the header Authorization: Bearer TOKEN, with a token of the webhook's Secret "
    "(in Alertmanager: http_config.authorization.credentials_file)"
)
_RIGHT_MESSAGE = "send what Alertmanager's webhook sends; the error names the field"
_NO_CONNECTION = "there is no Connection of type alertmanager from which the rest could be read"
_SHORTER = (
    "Set max_alerts in the webhook_configs of this receiver, group by more labels, or make a Connection of type alertmanager, "
    "from which the operator reads the rest itself"
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = structlog.get_logger()
_LABELS_OF_AN_INCIDENT = 64
_BYTES_OF_A_LABEL = 1024


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Where it listens, and how much it takes."""

    host: str = "0.0.0.0"  # noqa: S104 # a Service has to reach it; the token guards it
    port: int = 8443
    path: str = "/api/v1/alerts"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    unmatched_namespace: str | None = None
    """Where alerts that no Runbook matches become Incidents; None only counts and logs them."""
    unmatched_ignore: tuple[str, ...] = IGNORE
    """Matchers of alerts that only count where no Runbook matches them."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Read of one message; 3,900 alerts with 1 KB of text take 8 MB. What is beyond is read from Alertmanager itself, or sent again."""
    max_labels: int = _LABELS_OF_AN_INCIDENT
    max_label_bytes: int = _BYTES_OF_A_LABEL
    """Of one name or value, in UTF-8; what an Incident keeps of it."""
    max_posts: int = 256
    """Posts in work at a time; more are told to come again."""
    max_posts_bytes: int = 48 * 1024 * 1024
    """Bodies of those together: more than one may take, so that a long one does not wait until nobody else sends."""
    header_timeout: float = 5.0
    """Seconds for a connection to send its request's head, and to stay silent between two requests."""
    body_timeout: float = 10.0
    store_timeout: float = 8.0
    """Seconds to store a message; Alertmanager gives up after 10 and begins anew, what is stored by then counts."""

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises `ValueError` that names the setting."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: give both or none")
        if not 1 <= self.max_labels <= _LABELS_OF_AN_INCIDENT:
            raise ValueError(f"max_labels: {self.max_labels} is not within 1 and {_LABELS_OF_AN_INCIDENT}")
        if not 1 <= self.max_label_bytes <= _BYTES_OF_A_LABEL:
            raise ValueError(f"max_label_bytes: {self.max_label_bytes} is not within 1 and {_BYTES_OF_A_LABEL}")


class CertificateError(Exception):
    """Certificate and key cannot be used; the message says why."""


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS context (1.2 or newer). Raises `CertificateError`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(certificate, key)
    except OSError as error:
        raise CertificateError(f"cannot use {certificate} with {key}: {error.strerror or error}") from error
    return tls


async def keep_certificate_current(
    tls: ssl.SSLContext, certificate: Path, key: Path, every: float = _LOOK_EVERY
) -> None:
    """Load certificate and key again whenever they changed, for connections made from then on; runs until cancelled."""
    seen = _seen(certificate, key)
    while True:
        await asyncio.sleep(every)
        now = _seen(certificate, key)
        if now == seen:
            continue
        try:
            # tried on another context first: a failure would leave this one without a key
            tls_context(certificate, key)
            tls.load_cert_chain(certificate, key)
        except (CertificateError, OSError) as error:
            _log.warning("The new certificate cannot be used", error=str(error))
        else:
            _log.info("Loaded the new certificate", file=str(certificate))
            seen = now


def _seen(certificate: Path, key: Path) -> tuple[int, ...] | None:
    try:
        statuses = (certificate.stat(), key.stat())
    except OSError:
        return None
    return tuple(number for status in statuses for number in (status.st_mtime_ns, status.st_ino))


class Readiness(Protocol):
    """Something that has to be read before alerts can be judged."""

    @property
    def ready(self) -> bool:
        """Whether it is."""
        ...


class Rest(Protocol):
    """Who knows the alerts of a message that was too long to be read to its end."""

    async def read_now(self, message: Message) -> str:
        """Store the alerts that the message did not get to; return why not all are, empty where they are. Never raises."""
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
        rest: Rest | None = None,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._needed = needed
        self._metrics = metrics
        self._tokens = tokens
        self._rest = rest
        self._refusals = RefusalLog()
        self._load_limit = LoadLimit(settings.max_posts, settings.max_posts_bytes, metrics.in_flight)
        self._reading = Reading()
        self._limits = LabelLimits(settings.max_labels, settings.max_label_bytes)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=self._settings.max_body_bytes, middlewares=[self._always_json])
        # any slash may be several: a URL that ends in one is often put before a path that begins so
        parts = enumerate(part for part in self._settings.path.split("/") if part)
        slashed = "".join(f"{{slashes_{number}:/{'+' if number else '*'}}}{part}" for number, part in parts)
        path = f"/{slashed}{{after:/*}}"
        for method in ("POST", "PUT"):  # Grafana can be told to use either
            app.router.add_route(method, path, self._post)

        async def close(_: web.Application) -> None:
            self._reading.close()

        app.on_cleanup.append(close)
        return app

    async def _post(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization")
        if not self._tokens.admits(authorization):
            self._refusals.tell(request.remote, 401, self._tokens.why_not(authorization), _RIGHT_HEADER)
            return _answer(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if not all(each.ready for each in self._needed):
            return _answer(503, "still starting, not all Runbooks and Incidents are read; send it again")
        try:
            with self._load_limit.arrival() as arrival, self._metrics.duration.time():
                try:
                    message = await self._message(request, arrival)
                except (TimeoutError, web.RequestPayloadError, ConnectionError):
                    return _answer(503, "the body did not arrive whole; send it again")
                except MalformedError as error:
                    self._refusals.tell(request.remote, 400, str(error), _RIGHT_MESSAGE)
                    return _answer(400, str(error))
                return await self._store(message, request.remote)
        except OverloadedError:
            return _answer(503, "too many messages at a time; send it again")

    async def _message(self, request: web.Request, arrival: Arrival) -> Message:
        """Return what a request tells, of a body that is too long its beginning; the body is let go of."""
        body, whole = bytearray(), True
        async with asyncio.timeout(self._settings.body_timeout):
            async for chunk in request.content.iter_any():
                room = self._settings.max_body_bytes - len(body)
                arrival.grow(min(len(chunk), room))
                body += chunk[:room]
                if len(chunk) > room:
                    whole = False
                    break
        arrival.arrived()
        return await self._reading.read(partial(read_message, limits=self._limits, beginning=not whole), body)

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
        if message.goes_on:
            missing = _NO_CONNECTION if self._rest is None else await self._rest.read_now(message)
            self._metrics.too_long.labels("missing" if missing else "read").inc()
            if missing:
                _log.error("A message is too long", error=missing, sender=sender, remedy=_SHORTER)
                limit = f"the message is longer than {self._settings.max_body_bytes} bytes"
                stored = f"the alerts before that limit are stored ({receipt})"
                return _answer(503, f"{limit}; {stored}; {missing}. {_SHORTER}")
        if message.refused:
            named = "; ".join(str(rejection) for rejection in message.refused[:_NAMED_REJECTIONS])
            told = f"{texts.counted(message.refused_count, 'alert')} refused: {named}"
            self._refusals.tell(sender, 400, told, _RIGHT_MESSAGE)
            return _answer(400, f"{told}; the others are stored: {receipt}")
        more = "; the rest of the message was read from Alertmanager" if message.goes_on else ""
        return _answer(200, f"{receipt}{more}")

    @web.middleware
    async def _always_json(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            told = f"{texts.escaped(request.method, _SHOWN)} {texts.escaped(request.path, _SHOWN)}: {error.reason}"
            remedy = f"post alerts to {self._settings.path}"
            if 400 <= error.status < 500:
                self._refusals.tell(request.remote, error.status, told, remedy)
            response = _answer(error.status, f"{told}; {remedy}", allow)
        except Exception:  # noqa: BLE001 # an answer of our own keeps the alerts: the sender comes again
            _log.exception("A message could not be processed")
            response = _answer(503, "an internal error of the receiver; its log has the details; send it again")
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
    context = tls_context(settings.tls_certificate, settings.tls_key)
    reloading = asyncio.create_task(keep_certificate_current(context, settings.tls_certificate, settings.tls_key))
    try:
        yield context
    finally:
        reloading.cancel()
        with suppress(asyncio.CancelledError):
            await reloading


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    word = "success" if status < 300 else "error"
    text = json.dumps({"status": word, "message": message}) + "\n"
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
