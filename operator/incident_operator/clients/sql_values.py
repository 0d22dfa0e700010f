"""Values on their way into PostgreSQL and out of it: JSON in, JSON out. Sends nothing."""

import base64
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.json import Jsonb

from incident_operator.clients import sql_types
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.clients.sql_texts import Number


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
    """Return a loaded column value as plain JSON, but for numbers that are not finite: tuples as lists, anything exotic as its text."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, str | int | float | dict):
        return value
    return str(value)


def stored(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as JSON for a `jsonb`: a `numeric` with all its digits, what is beyond a double as its text."""
    return orjson.dumps(rows, default=_exact)


def _exact(value: Any) -> Any:
    if not isinstance(value, Number):
        raise TypeError(f"a {type(value).__name__} is not JSON")
    # what is beyond a double is a number to PostgreSQL, and to no reader of JSON here
    return orjson.Fragment(value.text) if math.isfinite(value) else value.text


@cache
def _loader(read: Callable[[str], Any]) -> type[Loader]:
    """Return the loader that reads the server's text so."""

    class Reading(Loader):
        def load(self, data: Buffer) -> Any:
            return read(bytes(data).decode())

    return Reading


def register(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make a connection load columns as the table of types says."""
    for row in sql_types.TABLE:
        if row.read is not None:
            for name in row.types:
                connection.adapters.register_loader(name, _loader(row.read))
