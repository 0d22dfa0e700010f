"""What a type of Connection is: one declaration in one file of this package, which everything else reads.

From it come the member of `spec` in the definition, what `check` requires, what an action may name (`Connects`), how it is
probed, and a row of the docs. docs/adding-an-action.md shows how to add one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from incident_operator.api.connection import ConnectionSpec
from incident_operator.api.meta import Model
from incident_operator.api.rules import Extra

M = TypeVar("M", bound=Model)


class Asking(Protocol):
    """What a probe may ask of its endpoint, with the Connection's credentials. Each raises where it does not answer."""

    async def sql(self, statement: str) -> None:
        """Run a read in a read-only transaction."""
        ...

    async def promql(self, query: str) -> None:
        """Evaluate an instant query."""
        ...

    async def get(self, base: str, path: str, *, ok: bool = False) -> None:
        """Fetch a path below a URL; any status is an answer, or only 200 where `ok` says so."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionType(Generic[M]):
    """One kind of endpoint."""

    key: str
    """As written in `type`, and the name of its member of `spec`."""
    model: type[M]
    """That member."""
    secret: str
    """What its Secret holds, for the docs."""
    probe: Callable[[M, Asking], Awaitable[None]]
    """Asks the endpoint for something small."""
    rules: tuple[Extra, ...] = ()
    """What the apiserver requires of a whole spec of this type (`api/rules.py`)."""

    def of(self, spec: ConnectionSpec) -> M | None:
        """Return where such a Connection leads; None for one of another type. Raises pydantic.ValidationError."""
        member = spec.members.get(self.key) if spec.type == self.key else None
        return None if member is None else self.model.model_validate(member)


ConnectionTypes = tuple[ConnectionType[Any], ...]
