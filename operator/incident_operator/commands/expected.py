"""What may be wrong with what a command was given, so that one line on stderr says it."""

from incident_operator.clients import access as accesses
from incident_operator.clients import kube
from incident_operator.clients.own_secrets import SecretError
from incident_operator.receiver.auth import TokenError
from incident_operator.receiver.tls import CertificateError

EXPECTED = (
    accesses.AccessError,
    kube.ApiError,
    SecretError,
    TokenError,
    CertificateError,
    OSError,
)
"""What can be wrong with what we were given; anything else is a defect and shows its traceback."""
