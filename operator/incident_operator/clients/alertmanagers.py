"""Asks an Alertmanager (API v2) for its open alerts. Returns what it says, and reads nothing out of it.

API: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from incident_operator.clients import credential_hints, http, http_requests
from incident_operator.clients.endpoint import Endpoint
from incident_operator.clients.http import HttpError, Reply
from incident_operator.clients.http_requests import Request
from incident_operator.connections import alertmanager
from incident_operator.connections.alertmanager import Alertmanager
from incident_operator.core import reasons
from incident_operator.core.errors import Failure, Unusable

ANSWER_BYTES = 8 * 1024 * 1024
"""About 8,000 alerts, each as often as it is routed."""
LONG_ANSWER_BYTES = 64 * 1024 * 1024
"""Of one that is read while no other long one is."""
_ACTIVE_ALONE = {"active": True, "silenced": False, "inhibited": False, "muted": False}


class AlertmanagerError(Failure):
    """No alerts."""

    def __init__(self, message: str) -> None:
        super().__init__(reasons.CONNECTION_FAILED, message, retryable=True)


class LongAnswerError(AlertmanagerError):
    """The answer is longer than was to be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said."""

    body: bytes
    at: datetime | None
    """When, by its own clock; None where it did not say."""


async def open_alerts(endpoint: Endpoint, seconds: float, most: int = ANSWER_BYTES) -> Answer:
    """Return its groups of alerts that fire, without the silenced, inhibited and muted, in at most so many bytes.

    Raises `AlertmanagerError`, and `LongAnswerError` where there are more bytes.

    Asked for by group: the plain list of alerts does not leave out what a time interval mutes.
    """
    reply = await _get(endpoint, "/api/v2/alerts/groups", _ACTIVE_ALONE, seconds, most)
    return Answer(reply.body, _moment(reply.headers.get("date", "")))


async def _get(endpoint: Endpoint, path: str, query: Mapping[str, bool], seconds: float, most: int) -> Reply:
    url = _where(endpoint).url
    request = Request("GET", http_requests.target(url, path, query))
    try:
        reply = await http.send(request, endpoint.secret, seconds, most)
    except (HttpError, Unusable) as error:
        raise AlertmanagerError(error.message) from None
    if reply.status != 200:
        hint = credential_hints.of_status(endpoint.secret, reply.status)
        raise AlertmanagerError(f"{url}: GET {path} was answered with {reply.status}{hint}")
    if not reply.complete:
        told = f"{url}: the answer to GET {path} broke off, or is longer than {most} bytes"
        raise LongAnswerError(told) if len(reply.body) == most else AlertmanagerError(told)
    return reply


def _where(endpoint: Endpoint) -> Alertmanager:
    connection = endpoint.connection
    where = alertmanager.CONNECTION.of(connection.spec)
    if where is None:
        raise AlertmanagerError(f'Connection "{connection.metadata.name}" has no alertmanager')
    return where


def _moment(date: str) -> datetime | None:
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None
