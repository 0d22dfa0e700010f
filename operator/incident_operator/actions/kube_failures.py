"""What an apiserver's refusal means for a step. No request is sent from here."""

from incident_operator.actions.protocol import Call
from incident_operator.clients import api_errors
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Pending

_LOOK_AGAIN = 2.0
"""Seconds until the marker is looked for under the same key."""


class Unusable(Exception):
    """A step asks for something that makes no sense; the message says what would be right."""


def failed(error: api_errors.ApiError | Unusable, call: Call) -> Failed:
    """Return the outcome of a request that certainly changed nothing, or of a read."""
    match error:
        case Unusable():
            return Failed(reasons.BAD_REQUEST, str(error), retryable=False)
        case api_errors.Forbidden():
            return Failed(reasons.FORBIDDEN, explain(error, call), retryable=False)
        case api_errors.NotFound():
            return Failed(reasons.NOT_FOUND, error.message)
        case api_errors.Conflict() | api_errors.AlreadyExists():
            return Failed(reasons.CONFLICT, error.message)
        case api_errors.Unavailable():
            return Failed(reasons.CONNECTION_FAILED, error.message)
        case _:
            return Failed(reasons.BAD_REQUEST, error.message, retryable=False)


def of_effect(error: api_errors.ApiError | Unusable, call: Call) -> Outcome:
    """Return the outcome of a write, or of the look for its marker: without an answer, it may be there all the same."""
    match error:
        case api_errors.Unavailable() | api_errors.Unreadable():
            return Pending(_LOOK_AGAIN, f"cannot tell whether it is done: {error.message}; looking again")
        case api_errors.Conflict():
            return Pending(_LOOK_AGAIN, f"not done so far: {error.message}; trying again", begun=False)
        case _:
            return failed(error, call)


def explain(error: api_errors.ApiError | Unusable, call: Call) -> str:
    """Return the message for people; where impersonation itself is refused, how a namespace opts in."""
    if isinstance(error, api_errors.Forbidden) and " cannot impersonate " in error.message:
        account = f"service account {call.service_account}"
        return f"the operator may not act as {account} in {call.namespace}; bind its impersonator role there ({error})"
    return str(error)
