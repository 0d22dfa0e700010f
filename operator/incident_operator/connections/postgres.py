"""A PostgreSQL database."""

from typing import Annotated, Literal

from pydantic import Field

from incident_operator.api.meta import Model
from incident_operator.connections.declaration import Asking, ConnectionType


class Postgres(Model):
    """A PostgreSQL database; `secretRef` holds `username` and `password` (kubernetes.io/basic-auth), maybe `ca.crt`."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Name or address of the server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    """Its port."""
    database: Annotated[str, Field(min_length=1, max_length=63)]
    """The database to connect to."""
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """As in libpq: whether the line is encrypted, and the server's certificate checked."""


async def _probe(_where: Postgres, ask: Asking) -> None:
    await ask.sql("SELECT 1")


CONNECTION = ConnectionType(
    "postgres", Postgres, "`username`, `password`, maybe `ca.crt`", _probe, credentials=frozenset({"password"})
)
