"""How a Connection that cannot be used is told as an outcome."""

from incident_operator.clients.connections import EndpointError
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed


def passing(error: EndpointError) -> bool:
    """Whether only the apiserver did not answer, so that the same may work in a moment."""
    return error.reason == reasons.CONNECTION_FAILED


def failed(error: EndpointError) -> Failed:
    """Return the failure of a call that was never made."""
    return Failed(error.reason, error.message, retryable=passing(error))
