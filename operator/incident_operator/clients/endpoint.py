"""An endpoint: a Connection and what opens it. What finds one is in `connections.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from incident_operator import connections
from incident_operator.api.connection import Connection


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Connection and what opens it."""

    connection: Connection
    secret: Mapping[str, str] = field(repr=False)
    """Decoded values; empty where the Connection names no Secret."""
    version: str
    """Changes with the Connection and with the Secret, for pools to notice a rotation."""

    fetched: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)
    """For a client that gets another credential with these, such as a token: it tells it here before it uses it."""

    def credentials(self) -> list[str]:
        """Return the values that must not be shown, as the Connection's type tells; of a type not known here, all."""
        kind = connections.named(self.connection.spec.type)
        return list(self.secret.values() if kind is None else kind.credentials_in(self.secret))
