"""How trouble with a database is told as an outcome."""

from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed

_REASONS = {
    Fault.UNREACHABLE: (reasons.CONNECTION_FAILED, True),
    Fault.REJECTED: (reasons.CONNECTION_FAILED, False),
    Fault.FORBIDDEN: (reasons.FORBIDDEN, False),
    Fault.READ_ONLY: (reasons.FORBIDDEN, False),
    Fault.MISSING: (reasons.STATEMENT_FAILED, False),
    Fault.TIMED_OUT: (reasons.TIMED_OUT, True),
    Fault.LOCKED: (reasons.CONFLICT, True),
    Fault.CONFLICT: (reasons.CONFLICT, True),
    Fault.STATEMENT: (reasons.STATEMENT_FAILED, False),
    Fault.UNBOUND: (reasons.BAD_REQUEST, False),
}


def failed(error: SqlError, connection: str) -> Failed:
    """Return the failure of a call that certainly changed nothing."""
    reason, retryable = _REASONS[error.fault]
    return Failed(reason, f"{connection}: {error.message}", retryable=retryable)
