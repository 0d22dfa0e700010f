"""What can go wrong with a database, sorted by what a caller can do about it. Opens no connection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

import psycopg

from incident_operator.clients import credential_hints, redaction
from incident_operator.core import reasons
from incident_operator.core.errors import Failure


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
        hint = credential_hints.of(secret) if fault is Fault.REJECTED else ""
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
