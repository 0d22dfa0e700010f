"""Asks Alertmanagers (API v2) for their alerts and silences, each by itself. Returns what they say, and reads little out of it.

API: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import msgspec
from yarl import URL

from incident_operator.clients import addresses, http, redaction
from incident_operator.clients.http import HttpError, Reply, Request
from incident_operator.connections import Endpoint
from incident_operator.connections.alertmanager import Alertmanager
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure, Unusable, moment

ANSWER_BYTES = 8 * 1024 * 1024
"""About 8,000 alerts, each as often as it is routed."""
LONG_ANSWER_BYTES = 64 * 1024 * 1024
"""Of one that is read while no other long one is."""
MOST = 32
"""Alertmanagers of one Connection that are asked."""
_ACTIVE_ALONE = {"active": True, "silenced": False, "inhibited": False, "muted": False}
_ALL = {"active": True, "silenced": True, "inhibited": True, "unprocessed": True}


class AlertmanagerError(Failure):
    """No alerts."""

    def __init__(self, message: str) -> None:
        super().__init__(reasons.CONNECTION_FAILED, message, retryable=True)


class LongAnswerError(AlertmanagerError):
    """The answer is longer than was to be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one Alertmanager is asked."""

    url: str
    address: str = ""
    """One of the numeric addresses of the URL's host; empty where any will do."""

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.url} ({self.address})" if self.address and self.address != URL(self.url).host else self.url


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said."""

    body: bytes
    at: datetime | None
    """When, by its own clock; None where it did not say."""


async def places(where: Alertmanager) -> list[Place]:
    """Return where each Alertmanager is asked: of `addresses`, every address that a name has now. Raises `AlertmanagerError`."""
    if where.addresses is None:
        return [Place(url) for url in where.urls]
    found = [place for url in where.addresses for place in await _resolved(url)]
    if len(found) > MOST:
        raise AlertmanagerError(f"alertmanager.addresses leads to {len(found)} addresses; at most {MOST} are asked")
    return list(dict.fromkeys(found))


async def open_alerts(endpoint: Endpoint, place: Place, seconds: float, most: int = ANSWER_BYTES) -> Answer:
    """Return its groups of alerts that fire, without the silenced, inhibited and muted, in at most so many bytes.

    Raises `AlertmanagerError`, and `LongAnswerError` where there are more bytes.

    Asked for by group: the plain list of alerts does not leave out what a time interval mutes.
    """
    return await _answer(endpoint, place, "/api/v2/alerts/groups", _ACTIVE_ALONE, seconds, most)


async def all_alerts(endpoint: Endpoint, place: Place, seconds: float) -> Answer:
    """Return all alerts that it knows and that have not ended, whatever keeps it from telling of them. Raises `AlertmanagerError`."""
    return await _answer(endpoint, place, "/api/v2/alerts", _ALL, seconds)


async def silence(endpoint: Endpoint, place: Place, name: str, seconds: float) -> Answer:
    """Return one silence. Raises `AlertmanagerError`."""
    return await _answer(endpoint, place, f"/api/v2/silence/{quote(name, safe='')}", {}, seconds)


async def process(endpoint: Endpoint, place: Place, seconds: float) -> str:
    """Return what names the process that answers there: after it was started again it is another one. Raises `AlertmanagerError`."""
    answer = await _answer(endpoint, place, "/api/v2/status", {}, seconds)
    try:
        said = msgspec.json.decode(answer.body, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_understood(place, error) from None
    return f"{place.url} {place.address} {said.uptime} {said.cluster.name} {said.version_info.version}"


def not_understood(place: Place, why: Exception) -> AlertmanagerError:
    """Return what is told of an answer that cannot be read."""
    return AlertmanagerError(f"{place}: the answer is not that of Alertmanager's API v2: {why}")


class _Cluster(msgspec.Struct, frozen=True):
    name: str = ""
    """New for each process; empty where it has no peers."""


class _Version(msgspec.Struct, frozen=True):
    version: str = ""


class _Status(msgspec.Struct, rename="camel"):
    uptime: str
    """When it was started."""
    cluster: _Cluster = _Cluster()
    version_info: _Version = _Version()


async def _resolved(url: str) -> list[Place]:
    parsed = URL(url)
    host = parsed.host or ""
    try:
        return [Place(url, address) for address in await addresses.resolved(host, parsed.port or 0)]
    except OSError as error:
        raise AlertmanagerError(f"{url}: {error.strerror or error}") from None


async def _answer(
    endpoint: Endpoint,
    place: Place,
    path: str,
    query: Mapping[str, bool],
    seconds: float,
    most: int = ANSWER_BYTES,
) -> Answer:
    reply = await _get(endpoint, place, path, query, seconds, most)
    return Answer(reply.body, moment(reply.headers.get("date", "")))


async def _get(
    endpoint: Endpoint, place: Place, path: str, query: Mapping[str, bool], seconds: float, most: int
) -> Reply:
    try:
        request = Request("GET", http.target(place.url, path, query))
        reply = await http.send(request, endpoint.secret, seconds, most, place.address)
    except (HttpError, Unusable) as error:
        raise AlertmanagerError(error.message) from None
    if reply.status != 200:
        hint = redaction.of_status(endpoint.secret, reply.status)
        raise AlertmanagerError(f"{place}: GET {path} was answered with {reply.status}{hint}")
    if not reply.complete:
        told = f"{place}: the answer to GET {path} broke off, or is longer than {most} bytes"
        raise LongAnswerError(told) if len(reply.body) == most else AlertmanagerError(told)
    return reply
