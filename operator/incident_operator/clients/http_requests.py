"""Makes a request out of what a step says: always below the Connection's own URL, never with a header that is not its to set.

Nothing is sent from here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

from yarl import URL

from incident_operator.clients import credential_hints
from incident_operator.connections import http as services
from incident_operator.core.errors import Unusable

_KEPT = "/%:@!$&'()*+,;=~-._"
"""Characters of a path that stay as they are; `%` because interpolated values come percent-encoded."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RESERVED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Headers that HTTP itself or the Connection's Secret sets, or by which a service takes another method or path than was judged."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def target(base: str, path: str, query: Mapping[str, Any]) -> URL:
    """Return the URL of a path below `base`. Raises `Unusable` for a path that could lead elsewhere."""
    _check_path(path)
    pairs = [pair for name, value in query.items() for pair in _pairs(name, value)]
    text = base.rstrip("/") + quote(path, safe=_KEPT)
    return URL(f"{text}?{urlencode(pairs)}" if pairs else text, encoded=True)


def _check_path(path: str) -> None:
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise Unusable(f"path {path!r}: has to begin with one slash; it is below the Connection's url")
    if "?" in path or "#" in path:
        raise Unusable(f"path {path!r}: holds ? or #; what follows ? goes into query")
    if _NOT_TEXT.search(unquote(path)) or "\t" in path:
        raise Unusable(f"path {path!r}: holds a control character")
    # services decode before they resolve, some of them twice; some leave out what follows a semicolon
    segments = re.split(r"[/\\]", _decoded(path))
    if any(each.partition(";")[0] in {".", ".."} for each in segments):
        raise Unusable(f"path {path!r}: holds a . or .. segment")


def _decoded(path: str) -> str:
    while (shorter := unquote(path)) != path:
        path = shorter
    return path


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        raise Unusable(f"query.{name}: an object; only texts, numbers, booleans and lists of them go into a query")
    items = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        raise Unusable(f"query.{name}: a list may hold only texts, numbers and booleans, and no null")
    return [(name, _written(item)) for item in items]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_headers(headers: Mapping[str, str], by: str = "a step") -> None:
    """Raise `Unusable` for a header that nobody but the operator may set, or that would break the request apart.

    Raises `UnicodeError` for half a surrogate pair.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Unusable(f"headers: {name!r} is not a header name")
        if _same(name) in _RESERVED:
            told = f"may not be set by {by}; credentials come from the Connection's Secret"
            raise Unusable(f"headers.{name}: {told}, method and path from the step's own fields")
        value.encode()
        if _NOT_TEXT.search(value):
            raise Unusable(f"headers.{name}: holds a control character")


def secret_headers(secret: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a Connection's Secret holds as `header.NAME`. Raises `Unusable` for one that is not to be set."""
    found = services.headers_in(secret)
    check_headers(found, "a Connection's Secret")
    return found


def refuse_those_of(theirs: Iterable[str], headers: Mapping[str, str]) -> None:
    """Raise `Unusable` where a step sets a header that its Connection sets: whose data it reads is not for a step to say."""
    taken = {_same(name) for name in theirs}
    for name in headers:
        if _same(name) in taken:
            raise Unusable(f"headers.{name}: the Connection sets it, so a step may not")


def _same(name: str) -> str:
    return name.lower().replace("_", "-")  # many services take one for the other


def credentials(secret: Mapping[str, str]) -> dict[str, str]:
    """Return the Authorization header that a Connection's Secret asks for: `token`, or `username` and `password`.

    Raises `Unusable` for a token that no header can hold.
    """
    if token := secret.get("token", "").strip():
        if _NOT_TEXT.search(token):
            raise Unusable(f"no request can carry the credentials{credential_hints.of(secret)}")
        return {"Authorization": f"Bearer {token}"}
    if pair := services.basic(secret):
        return {"Authorization": f"Basic {pair}"}
    return {}
