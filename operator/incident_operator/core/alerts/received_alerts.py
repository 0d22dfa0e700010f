"""One alert as a message tells of it, what makes it the same alert in another message, and what an Incident keeps of its texts.

A label may be longer than an Incident takes, or hold what a terminal obeys: Prometheus lets any UTF-8 be one. So what is kept is cut to a
length, and clean; who the alert is, and who takes it, is told by the whole.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import orjson

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.sanitize import stored_size

TEXT = 1024
"""Characters of an annotation, `description` among them."""
SUMMARY = 512
URL = 2048
SUMMARY_NAME, RUNBOOK_URL, DASHBOARD_URL, DESCRIPTION = "summary", "runbook_url", "dashboard_url", "description"
"""Annotations that an alert of an Incident has a field for."""
_MOST = {SUMMARY_NAME: SUMMARY, RUNBOOK_URL: URL, DASHBOARD_URL: URL}
_OWN = frozenset({SUMMARY_NAME, RUNBOOK_URL, DASHBOARD_URL, DESCRIPTION})
_OTHERS = 32
_NAME = 253
_SHORTEST = 16
_ALL_LABELS = 48 * 1024
"""Bytes of one alert's labels together: an Incident has 80 KiB for all that is told of its alerts in detail."""
_PLAIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:[/?#][!-?A-~]*)?")
"""Most links: in ASCII, and nothing stands before the host."""
_SCHEMES = frozenset({"http", "https"})
_CUT = "…"
_ELLIPSIS = len(_CUT.encode())

_HEARTBEAT = "Watchdog"
"""The `alertname` of the alert that only says that all is connected."""


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """How much is kept of an alert's labels."""

    count: int = 64
    length: int = 1024
    """Bytes of one name or value, in UTF-8."""


LIMITS = LabelLimits()


def kept_labels(whole: Mapping[str, str], limits: LabelLimits = LIMITS) -> Mapping[str, str]:
    """Return labels as an Incident holds them; the very same mapping where nothing has to be cut or cleaned.

    Of too many those with the shortest names stay: `pod` and `namespace` rather than `label_app_kubernetes_io_instance`.
    """
    if _fit(whole, limits):
        return whole
    length = limits.length
    while (found := _cut_to(whole, limits.count, length)) and stored_size(found) > _ALL_LABELS and length > _SHORTEST:
        length //= 2
    return found


def kept_label(value: str, limits: LabelLimits = LIMITS) -> str:
    """Return one label's value as an Incident holds it."""
    return _bytes(texts.cleaned(value), limits.length)


def kept_annotations(told: Mapping[str, str]) -> dict[str, str]:
    """Return annotations as an Incident holds them: at most 32 beside those that have a field."""
    others = sorted(told.keys() - _OWN)[:_OTHERS]
    chosen = {name: told[name] for name in (*(_OWN & told.keys()), *others)}
    if texts.not_text("".join([*chosen, *chosen.values()])):
        chosen = {texts.cleaned(name): texts.cleaned(text) for name, text in chosen.items()}
    return {texts.cut(name, _NAME): texts.cut(text, _MOST.get(name, TEXT)) for name, text in chosen.items()}


def kept_link(url: str) -> str:
    """Return a URL as a link that people may follow, without user and password; empty where it is not an http(s) URL."""
    if len(url) <= URL and _PLAIN.fullmatch(url):
        return url
    if not 0 < len(url) <= URL or url[-1] == _CUT or texts.unseen(url) is not None or " " in url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme.lower() not in _SCHEMES or not parts.hostname:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def kept_generator(url: str) -> str:
    """Return where an alert comes from: a link, or a path on its sender's own server; empty where it is too long or not text."""
    if len(url) > URL or texts.not_text(url):
        return ""
    return kept_link(url) if "://" in url else url


def _fit(whole: Mapping[str, str], limits: LabelLimits) -> bool:
    """Tell whether labels may stay as they are; most do, so that is found out at the least cost."""
    if len(whole) > limits.count or texts.not_text("".join([*whole, *whole.values()])):
        return False
    longest = max(map(len, [*whole, *whole.values()]), default=0)
    if longest * 4 > limits.length and any(
        len(each.encode()) > limits.length for pair in whole.items() for each in pair
    ):
        return False
    small = longest * 6 * 2 * len(whole) <= _ALL_LABELS
    return small or stored_size(dict(whole)) <= _ALL_LABELS


def _cut_to(whole: Mapping[str, str], count: int, length: int) -> dict[str, str]:
    names = sorted(whole, key=lambda name: (len(name), name))[:count]
    return {_bytes(texts.cleaned(name), length): _bytes(texts.cleaned(whole[name]), length) for name in names}


def _bytes(text: str, length: int) -> str:
    """Return at most so many bytes of a text; a cut is marked with an ellipsis."""
    written = text.encode()
    if len(written) <= length:
        return text
    if length < _ELLIPSIS:
        return written[:length].decode(errors="ignore")
    return written[: length - _ELLIPSIS].decode(errors="ignore") + _CUT


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEPARATOR = "-"
_FINGERPRINT_LENGTH = 40
_START_IN_ID = re.compile(rf"^[0-9a-f]{{{_FINGERPRINT_LENGTH}}}{_SEPARATOR}([0-9a-f]{{1,11}})$")
_FINER_THAN_MILLISECONDS = re.compile(r"(\.\d{3})\d+")


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert, from its start to its end. Made by `of`."""

    id: str
    """`<fingerprint>-<milliseconds since 1970, hex>`: the same alert in every message, whoever sends it.

    No finer, for Alertmanager's webhook tells nanoseconds, and its API milliseconds (cut, not rounded).
    """
    status: AlertStatus
    starts_at: datetime
    labels: Mapping[str, str]
    """All of them, whole: who it is, and who takes it."""
    kept: Mapping[str, str]
    """Its labels as an Incident holds them: cut, and clean."""
    ends_at: datetime | None = None
    annotations: Mapping[str, str] | None = None
    generator_url: str = ""
    end_told_by: str = ""
    """Who reported the end, where it was not Alertmanager's own message."""

    @property
    def firing(self) -> bool:
        """Whether it goes on."""
        return self.status is AlertStatus.FIRING


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return 160 bits of the SHA-256 over the sorted labels: unlike Alertmanager's own, impractical to collide."""
    return hashlib.sha256(orjson.dumps(sorted(labels.items()))).hexdigest()[:_FINGERPRINT_LENGTH]


def identity(labels: Mapping[str, str], starts_at: datetime) -> str:
    """Return the id of the alert with these labels that started then."""
    return f"{fingerprint(labels)}{_SEPARATOR}{(starts_at - _EPOCH) // timedelta(milliseconds=1):x}"


def to_milliseconds(rfc3339: str) -> str:
    """Return a time as Alertmanager's API would write it; parsers round nanoseconds, maybe up to the next millisecond."""
    return _FINER_THAN_MILLISECONDS.sub(r"\1", rfc3339, count=1)


def fingerprint_of(alert_id: str) -> str:
    """Return the part of an id that all alerts of the same labels share."""
    return alert_id.partition(_SEPARATOR)[0]


def started_at(alert_id: str) -> datetime | None:
    """Return the start that an id tells, finer than the seconds that an Incident shows; None for one made by hand."""
    told = _START_IN_ID.search(alert_id)
    return _EPOCH + timedelta(milliseconds=int(told[1], 16)) if told else None


def of(
    labels: Mapping[str, str],
    starts_at: datetime,
    ends_at: datetime | None = None,
    *,
    status: AlertStatus = AlertStatus.FIRING,
    annotations: Mapping[str, str] | None = None,
    generator_url: str = "",
    limits: LabelLimits = LIMITS,
) -> ReceivedAlert:
    """Return the alert with its identity; of its texts what an Incident keeps."""
    return ReceivedAlert(
        identity(labels, starts_at),
        status,
        starts_at,
        labels,
        kept_labels(labels, limits),
        ends_at,
        kept_annotations(annotations or {}),
        kept_generator(generator_url),
    )


def distinct(alerts: Iterable[ReceivedAlert]) -> tuple[ReceivedAlert, ...]:
    """Return each alert once; where a message tells of one twice, that it resolved is the later news."""
    by_id: dict[str, ReceivedAlert] = {}
    for alert in alerts:
        if alert.id not in by_id or not alert.firing:
            by_id[alert.id] = alert
    return tuple(by_id.values())


def is_heartbeat(alert: ReceivedAlert) -> bool:
    """Tell whether an alert says that the way to here works, and nothing else; one that resolved says nothing."""
    return alert.firing and alert.labels.get("alertname") == _HEARTBEAT
