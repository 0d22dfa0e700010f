"""What a type of Connection is: one declaration in one file of this package, which everything else reads.

From it come the member of `spec` in the definition, what `check` requires, what an action may name (`Connects`), how it is
probed, and a row of the docs. docs/adding-an-action.md shows how to add one.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from incident_operator.api.connection import ConnectionSpec
from incident_operator.api.meta import Extra, Model

M = TypeVar("M", bound=Model)
Derived = Callable[[Mapping[str, str]], Iterable[str]]
"""Makes of a Secret's values what else opens the endpoint: what a client sends instead of them, or gets for them."""


class Asking(Protocol):
    """What a probe may ask of its endpoint, with the Connection's credentials. Each raises where it does not answer."""

    async def sql(self, statement: str) -> None:
        """Run a read in a read-only transaction."""
        ...

    async def promql(self, query: str) -> None:
        """Evaluate an instant query."""
        ...

    async def get(self, base: str, path: str, *, ok: bool = False, headers: Mapping[str, str] | None = None) -> None:
        """Fetch a path below a URL; any status is an answer, or only 200 where `ok` says so."""
        ...


def nothing(_secret: Mapping[str, str]) -> Iterable[str]:
    """Derive nothing."""
    return ()


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
    credentials: frozenset[str]
    """Keys of its Secret whose values are masked wherever they are shown; all others are for people to read."""
    derived: Derived = nothing
    """What is made of them, and is as secret."""
    rules: tuple[Extra, ...] = ()
    """What the apiserver requires of a whole spec of this type (`api/meta.py`)."""

    def credentials_in(self, secret: Mapping[str, str]) -> Iterator[str]:
        """Yield the values that are secret, of a Secret's decoded ones."""
        yield from (value for key, value in secret.items() if key in self.credentials)
        yield from self.derived(secret)

    def of(self, spec: ConnectionSpec) -> M | None:
        """Return where such a Connection leads; None for one of another type. Raises pydantic.ValidationError."""
        member = spec.members.get(self.key) if spec.type == self.key else None
        return None if member is None else self.model.model_validate(member)


ConnectionTypes = tuple[ConnectionType[Any], ...]
