"""What an Incident keeps of an alert's texts: cut to a length, and clean. Who the alert is, and who takes it, is told by the whole.

A label may be longer than an Incident takes, or hold what a terminal obeys: Prometheus lets any UTF-8 be one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from incident_operator.core import texts
from incident_operator.core.alerts import json_size

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


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """How much is kept of an alert's labels."""

    count: int = 64
    length: int = 1024
    """Bytes of one name or value, in UTF-8."""


LIMITS = LabelLimits()


def labels(whole: Mapping[str, str], limits: LabelLimits = LIMITS) -> Mapping[str, str]:
    """Return labels as an Incident holds them; the very same mapping where nothing has to be cut or cleaned.

    Of too many those with the shortest names stay: `pod` and `namespace` rather than `label_app_kubernetes_io_instance`.
    """
    if _fit(whole, limits):
        return whole
    length = limits.length
    while (
        (found := _cut_to(whole, limits.count, length)) and json_size.stored(found) > _ALL_LABELS and length > _SHORTEST
    ):
        length //= 2
    return found


def label(value: str, limits: LabelLimits = LIMITS) -> str:
    """Return one label's value as an Incident holds it."""
    return _bytes(texts.cleaned(value), limits.length)


def annotations(told: Mapping[str, str]) -> dict[str, str]:
    """Return annotations as an Incident holds them: at most 32 beside those that have a field."""
    others = sorted(told.keys() - _OWN)[:_OTHERS]
    chosen = {name: told[name] for name in (*(_OWN & told.keys()), *others)}
    if texts.not_text("".join([*chosen, *chosen.values()])):
        chosen = {texts.cleaned(name): texts.cleaned(text) for name, text in chosen.items()}
    return {texts.cut(name, _NAME): texts.cut(text, _MOST.get(name, TEXT)) for name, text in chosen.items()}


def link(url: str) -> str:
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


def generator(url: str) -> str:
    """Return where an alert comes from: a link, or a path on its sender's own server; empty where it is too long or not text."""
    if len(url) > URL or texts.not_text(url):
        return ""
    return link(url) if "://" in url else url


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
    return small or json_size.stored(dict(whole)) <= _ALL_LABELS


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
