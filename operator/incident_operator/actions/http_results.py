"""An HTTP reply as a step's result: {status, headers, body, json, truncated}, below 256 KiB."""

from typing import Any

import orjson

from incident_operator.clients.http import Reply
from incident_operator.core import json_depth

RESULT_BYTES = 240_000
BODY_CHARACTERS_BESIDE_JSON = 4096
"""Of the body's text where `json` has all of it anyway."""
HEADERS = 32
HEADER_CHARACTERS = 512
_SINGLE_BYTE = frozenset({"iso-8859-1", "windows-1252"})
"""Charsets still met beside UTF-8; a service does not get to choose any other decoder."""
_WITHHELD = frozenset({"set-cookie", "www-authenticate", "proxy-authenticate", "authentication-info"})
"""Headers that carry credentials, or challenges for them."""


def of(reply: Reply) -> dict[str, Any]:
    """Return the result. `json` is null where the body is no JSON, was cut, or is nested too deep."""
    text = _text(reply)
    decoded = _decoded(reply)
    cut = decoded is not None and len(text) > BODY_CHARACTERS_BESIDE_JSON
    result = {
        "status": reply.status,
        "headers": _headers(reply),
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


def _decoded(reply: Reply) -> Any:
    if not reply.complete:
        return None
    try:
        return json_depth.loads(reply.body)
    except ValueError:
        return None


def _headers(reply: Reply) -> dict[str, str]:
    shown = [(name, value[:HEADER_CHARACTERS]) for name, value in reply.headers.items() if name not in _WITHHELD]
    return dict(shown[:HEADERS])
