"""What the receiver may be told; whoever starts it reads the environment, nothing here does."""

from dataclasses import dataclass
from pathlib import Path

from incident_operator.core.alerts import unmatched

_LABELS_OF_AN_INCIDENT = 64
_BYTES_OF_A_LABEL = 1024


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Where it listens, and how much it takes."""

    host: str = "0.0.0.0"  # noqa: S104 # a Service has to reach it; the token guards it
    port: int = 8443
    path: str = "/api/v1/alerts"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    unmatched_namespace: str | None = None
    """Where alerts that no Runbook matches become Incidents; None only counts and logs them."""
    unmatched_ignore: tuple[str, ...] = unmatched.IGNORE
    """Matchers of alerts that only count where no Runbook matches them."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Read of one message; 3,900 alerts with 1 KB of text take 8 MB. What is beyond is read from Alertmanager itself, or sent again."""
    max_labels: int = _LABELS_OF_AN_INCIDENT
    max_label_bytes: int = _BYTES_OF_A_LABEL
    """Of one name or value, in UTF-8; what an Incident keeps of it."""
    max_posts: int = 256
    """Posts in work at a time; more are told to come again."""
    max_posts_bytes: int = 48 * 1024 * 1024
    """Bodies of those together: more than one may take, so that a long one does not wait until nobody else sends."""
    header_timeout: float = 5.0
    """Seconds for a connection to send its request's head, and to stay silent between two requests."""
    body_timeout: float = 10.0
    store_timeout: float = 8.0
    """Seconds to store a message; Alertmanager gives up after 10 and begins anew, what is stored by then counts."""

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises `ValueError` that names the setting."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: give both or none")
        if not 1 <= self.max_labels <= _LABELS_OF_AN_INCIDENT:
            raise ValueError(f"max_labels: {self.max_labels} is not within 1 and {_LABELS_OF_AN_INCIDENT}")
        if not 1 <= self.max_label_bytes <= _BYTES_OF_A_LABEL:
            raise ValueError(f"max_label_bytes: {self.max_label_bytes} is not within 1 and {_BYTES_OF_A_LABEL}")
