"""Values on their way into PostgreSQL and out of it: JSON in, JSON out. Sends nothing."""

import base64
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.json import Jsonb

from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import json_depth


def bind(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as psycopg binds them: lists as arrays, objects as jsonb. Raises `SqlError` (UNBOUND)."""
    return {name: _bindable(f"params.{name}", value) for name, value in params.items()}


def _bindable(where: str, value: Any) -> Any:
    _check_text(where, value)
    if isinstance(value, Mapping):
        return Jsonb(value)
    if isinstance(value, list | tuple):
        return [Jsonb(item) if isinstance(item, Mapping) else item for item in value]
    return value


def _check_text(where: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_text(f"{where}.{name}", name)
            _check_text(f"{where}.{name}", item)
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_text(f"{where}[{index}]", item)
    if isinstance(value, str):
        _check_characters(where, value)


def _check_characters(where: str, text: str) -> None:
    if "\0" in text:
        raise SqlError(Fault.UNBOUND, f"{where!r}: holds a NUL character, which PostgreSQL cannot store in a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SqlError(Fault.UNBOUND, f"{where!r}: holds half of a surrogate pair, which is not Unicode text") from None


def plain(value: Any) -> Any:
    """Return a loaded column value as plain JSON: no NaN, tuples as lists, anything exotic as its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, str | int | dict):
        return value
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


class _TextLoader(Loader):
    """Keeps PostgreSQL's own text, e.g. of a date: no range error for `infinity` or year 10000."""

    def load(self, data: Buffer) -> Any:
        return bytes(data).decode()


class _TimestampLoader(Loader):
    """`2025-10-21 00:30:04+00` → `2025-10-21T00:30:04Z` (RFC 3339; sessions run in UTC)."""

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode().replace(" ", "T", 1)
        return f"{text[:-3]}Z" if text.endswith("+00") else text


class _NumericLoader(Loader):
    """A float where it is exact, else the number's text."""

    def load(self, data: Buffer) -> float | str:
        text = bytes(data).decode()
        number = float(text)
        exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
        return number if exact else text


class _BytesLoader(Loader):
    def load(self, data: Buffer) -> str:
        return base64.b64encode(bytes.fromhex(bytes(data).decode().removeprefix("\\x"))).decode()


class _JsonLoader(Loader):
    """Decoded JSON; what is too deep or too long for us stays text."""

    def load(self, data: Buffer) -> Any:
        text = bytes(data)
        try:
            return json_depth.loads(text)
        except ValueError:
            return text.decode(errors="replace")


_LOADERS: dict[type[Loader], tuple[str, ...]] = {
    _TextLoader: ("date", "time", "timetz", "interval", "uuid", "inet", "cidr"),
    _TimestampLoader: ("timestamp", "timestamptz"),
    _NumericLoader: ("numeric",),
    _BytesLoader: ("bytea",),
    _JsonLoader: ("json", "jsonb"),
}


def register(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make a connection load columns as JSON values."""
    for loader, types in _LOADERS.items():
        for name in types:
            connection.adapters.register_loader(name, loader)
