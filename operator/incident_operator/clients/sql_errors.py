"""What can go wrong with a database, sorted by what a caller can do about it; and what PostgreSQL writes, as JSON has it."""

import base64
import json as decoder
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from typing import Self

import psycopg

from incident_operator.clients import redaction
from incident_operator.core import reasons, sanitize
from incident_operator.core.outcomes import Failure, Json
from incident_operator.core.sanitize import TooDeepError, loads

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?")
_INTERVAL = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)W)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?[\d.]+)S)?)?"
)
"""As `IntervalStyle = iso_8601` writes one; `infinity` is not."""
_INT64 = 19
"""Characters of a whole number that fits into 64 bits."""
_DAY = Decimal(86400)
_SECONDS = (_DAY * 36525 / 100, _DAY * 30, _DAY * 7, _DAY, Decimal(3600), Decimal(60), Decimal(1))


class Number(float):
    """A double that keeps what the server wrote, where that says more than the double, or than JSON can."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Return the number that a text says."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def number(text: str) -> float:
    """Return a `numeric` or a float, always a double: beyond its range infinite, beyond its digits rounded."""
    found = float(text)
    is_all = math.isfinite(found) and Decimal(repr(found)) == Decimal(text)
    return found if is_all else Number(text)


def duration(text: str) -> str:
    """Return an `interval` in seconds, `93600s`: a month has 30 days and a year 365.25, as in `extract(epoch …)`."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return text
    seconds = sum((Decimal(part) * size for part, size in zip(found.groups("0"), _SECONDS, strict=True)), Decimal(0))
    written = f"{seconds:f}"
    return f"{written.rstrip('0').rstrip('.') if '.' in written else written}s"


def moment(text: str) -> str:
    """Return a time as RFC 3339 in UTC, in which sessions run; what that cannot say (infinity, BC, year 10000) as it is."""
    found = _MOMENT.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else text


def octets(text: str) -> str:
    """Return a `bytea`, which sessions get in hexadecimal, in base64."""
    return base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()


def json(text: str) -> Json:
    """Return decoded JSON, a number that is too large for a double infinite; what is nested too deep for us stays text."""
    try:
        return loads(text)
    except TooDeepError:
        return text
    except ValueError:
        return _as_postgres_has_it(text)


def _as_postgres_has_it(text: str) -> Json:
    """Decode what PostgreSQL takes for JSON and others do not: any number, and in a `json` half of a surrogate pair."""
    try:
        return sanitize.result(decoder.loads(text, parse_float=number, parse_int=_whole))
    except ValueError:
        return text


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _INT64 else number(text)


class Fault(StrEnum):
    """Kinds of trouble with a database."""

    UNREACHABLE = "unreachable"
    """Nobody answered, or the connection was lost; may pass."""
    REJECTED = "rejected"
    """The server refused the credentials or the database; somebody has to change something."""
    FORBIDDEN = "forbidden"
    """The role lacks a privilege."""
    READ_ONLY = "read only"
    """A write in a read-only transaction."""
    STANDBY = "standby"
    """The server takes no writes at all, as one that is not (or not yet) the primary; may pass."""
    MISSING = "missing"
    """A table, schema or function does not exist."""
    TIMED_OUT = "timed out"
    LOCKED = "locked"
    """Another session held a lock for too long."""
    CONFLICT = "conflict"
    """A deadlock or a serialization failure: the same again may work."""
    STATEMENT = "statement"
    """The statement is wrong, or the data forbid it."""
    TOO_LARGE = "too large"
    """A row, or all that is read at one time, takes more memory than a query may."""
    UNBOUND = "unbound"
    """The parameters do not fit the statement; it was not sent."""


_MEANING = {
    Fault.UNREACHABLE: (reasons.CONNECTION_FAILED, True),
    Fault.REJECTED: (reasons.CONNECTION_FAILED, False),
    Fault.FORBIDDEN: (reasons.FORBIDDEN, False),
    Fault.READ_ONLY: (reasons.FORBIDDEN, False),
    Fault.STANDBY: (reasons.CONNECTION_FAILED, True),
    Fault.MISSING: (reasons.STATEMENT_FAILED, False),
    Fault.TIMED_OUT: (reasons.TIMED_OUT, True),
    Fault.LOCKED: (reasons.CONFLICT, True),
    Fault.CONFLICT: (reasons.CONFLICT, True),
    Fault.STATEMENT: (reasons.STATEMENT_FAILED, False),
    Fault.TOO_LARGE: (reasons.RESPONSE_TOO_LARGE, False),
    Fault.UNBOUND: (reasons.BAD_REQUEST, False),
}
"""Reason, and whether the same again may work."""


class SqlError(Failure):
    """Something went wrong with a database. Until COMMIT was sent, whatever was done in the transaction is undone."""

    def __init__(self, fault: Fault, message: str, *, maybe_applied: bool = False) -> None:
        reason, retryable = _MEANING[fault]
        super().__init__(reason, message, retryable=retryable, maybe_applied=maybe_applied)
        self.fault = fault


_BY_STATE = {
    "57014": Fault.TIMED_OUT,
    "55P03": Fault.LOCKED,
    "42501": Fault.FORBIDDEN,
    "25006": Fault.READ_ONLY,
    "42P01": Fault.MISSING,
    "3F000": Fault.MISSING,
    "42883": Fault.MISSING,
    "3D000": Fault.REJECTED,
    # poolers and servers that speak the protocol: "the result is ambiguous"
    "40003": Fault.UNREACHABLE,
}
_BY_CLASS = {
    "08": Fault.UNREACHABLE,
    "53": Fault.UNREACHABLE,
    "57": Fault.UNREACHABLE,
    "58": Fault.UNREACHABLE,
    "28": Fault.REJECTED,
    "40": Fault.CONFLICT,
}
_LOGIN_REFUSED = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects connection",
    "is not permitted to log in",
    "permission denied for database",
    "does not exist",
)
"""libpq reports a refused login as text only, without its SQLSTATE."""


_NO_MEMORY = ("out of memory", "cannot allocate memory")
"""What libpq says where it cannot hold a row. A server that has no memory itself tells so with a SQLSTATE."""


@contextmanager
def explained(secret: Mapping[str, str]) -> Iterator[None]:
    """Turn what psycopg raises inside into a `SqlError` without a secret in it."""
    try:
        yield
    except (psycopg.Error, UnicodeError, OSError) as error:
        fault, told = _fault(error), redaction.without(secret, _text(error))
        hint = redaction.of(secret) if fault is Fault.REJECTED else ""
        raise SqlError(fault, f"{told}{hint}") from None


def _fault(error: Exception) -> Fault:
    if isinstance(error, UnicodeError):
        return Fault.STATEMENT
    if not isinstance(error, psycopg.Error):
        return Fault.UNREACHABLE
    state = error.sqlstate
    if state is not None and error.diag.sqlstate is not None:
        # a fatal error ends the session, so it says nothing of the statement
        other = Fault.UNREACHABLE if error.diag.severity_nonlocalized in {"FATAL", "PANIC"} else Fault.STATEMENT
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], other)
    if any(sign in str(error).lower() for sign in _NO_MEMORY):
        return Fault.TOO_LARGE
    if isinstance(error, psycopg.OperationalError):
        return Fault.REJECTED if any(sign in str(error) for sign in _LOGIN_REFUSED) else Fault.UNREACHABLE
    return Fault.UNBOUND


def _text(error: Exception) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        # the detail is left out: it quotes rows
        return error.diag.message_primary
    text = (str(error) or type(error).__name__).partition("\n\tThis probably means")[0]
    return f"{text}; write %% for a literal %" if "are allowed as placeholders" in text else text
