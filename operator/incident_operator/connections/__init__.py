"""The types of Connections: a file each, and a line each. Nothing is opened here; `clients/` does that.

An endpoint is a Connection and what opens it; `clients/connections.py` finds one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import pydantic

from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.connections import alertmanager, http, postgres
from incident_operator.connections.declaration import ConnectionType, ConnectionTypes
from incident_operator.connections.http import PROMETHEUS

CONNECTIONS: ConnectionTypes = (
    postgres.CONNECTION,
    http.CONNECTION,
    PROMETHEUS,
    alertmanager.CONNECTION,
)
"""In the order in which they are told of."""


def named(key: str) -> ConnectionType[Any] | None:
    """Return the type that a Connection's `type` names; None where this version knows none."""
    return next((each for each in CONNECTIONS if each.key == key), None)


def connection_of(raw: Any) -> Connection:
    """Return a Connection as stored, its member checked. Raises pydantic.ValidationError with the path of what is wrong."""
    _whole().model_validate(raw)
    return Connection.model_validate(raw)


@lru_cache(maxsize=8)
def whole_spec(types: ConnectionTypes = CONNECTIONS) -> type[ConnectionSpec]:
    """Return the model of a Connection's spec with a field for each type, as the definition and the docs show it."""
    names: Any = Literal[tuple(each.key for each in types)]
    kind = pydantic.fields.FieldInfo(annotation=names, description=ConnectionSpec.model_fields["type"].description)
    fields: dict[str, Any] = {"type": (names, kind)}
    fields |= {f"{each.key}_": (each.model | None, pydantic.Field(default=None, alias=each.key)) for each in types}
    return pydantic.create_model(
        "ConnectionSpec",
        __base__=ConnectionSpec,
        __doc__=ConnectionSpec.__doc__,
        __cls_kwargs__={"extra": "ignore"},
        **fields,
    )


@lru_cache(maxsize=1)
def _whole() -> type[Connection]:
    spec: Any = whole_spec()
    return pydantic.create_model("Connection", __base__=Connection, spec=(spec, ...))


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
        kind = named(self.connection.spec.type)
        return list(self.secret.values() if kind is None else kind.credentials_in(self.secret))
