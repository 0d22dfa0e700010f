"""The statements of one effect: run in order in the transaction of a session, and measured. Commits nothing."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from incident_operator.actions.fields import Params, Statement
from incident_operator.actions.sql import meter
from incident_operator.actions.sql.marker import Applied
from incident_operator.actions.sql.meter import Change
from incident_operator.api.meta import Model
from incident_operator.clients.sql import Row, Rows, Session
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import results
from incident_operator.core.expressions.render_fields import Take

MARKER = "marker"
IMAGE_ROWS = 10_000
"""Rows of a before-image, or of all RETURNING together; they are stored whole in the marker."""
IMAGE_BYTES = 8 * 1024 * 1024


class SqlStatement(Model):
    """One statement with its bound parameters."""

    statement: Statement
    """A single statement; values come in through `params`, as `%(name)s`."""
    params: Annotated[Params, Take.NATIVE] = Field(default_factory=dict)
    """Values for `%(name)s` in the statement."""


@dataclass(frozen=True, slots=True)
class Work:
    """The statements of one effect, in order, and their limits."""

    statements: tuple[SqlStatement, ...]
    before: SqlStatement | None
    max_rows: int
    marker: str
    """Bound as `%(marker)s`: the own step key, or in an undo that of the effect which is taken back."""
    catalog: bool = False
    """Whether it may change system catalogs and lock tables exclusively."""
    is_tried: bool = True
    binds_count: bool = True
    """Whether an approval binds the number of rows that a trial counted; else it binds `max_rows` only."""

    @property
    def parts(self) -> Iterator[tuple[str, SqlStatement]]:
        """Every statement with the field it is written in, in the order they run."""
        if self.before is not None:
            yield "before", self.before
        for number, item in enumerate(self.statements):
            yield "statement" if len(self.statements) == 1 else f"statements[{number}]", item

    def params(self, item: SqlStatement) -> Mapping[str, Any]:
        """Return what is bound in a statement: its own parameters, and the marker."""
        return {**item.params, MARKER: self.marker}


@dataclass(frozen=True, slots=True)
class Done:
    """What the statements did, while it can still be rolled back."""

    applied: Applied
    change: Change


Check = Callable[[str, SqlStatement], Awaitable[None]]
"""Looks at a statement, and the field it is written in, right before it runs, and raises what keeps it from running."""


async def _unchecked(where: str, item: SqlStatement) -> None: ...


async def carry_out(session: Session, work: Work, check: Check = _unchecked) -> Done:
    """Run the statements in the session's transaction and measure what they changed. Raises `SqlError`."""
    start = await meter.counts(session)
    before: list[Row] = []
    done: list[Rows] = []
    for where, item in work.parts:
        await check(where, item)
        if item is work.before:
            before = await _image(session, work, item)
        else:
            done.append(await session.run(item.statement, work.params(item), IMAGE_ROWS))
    change = await meter.settled(session, start)
    if not work.catalog:
        meter.refuse_uncounted(change)
    # a foreign table has no statistics here, so what the server says it changed counts too
    told = sum(rows.affected for rows in done)
    return Done(Applied(max(change.rows, told), before, _returned(done)), change)


async def _image(session: Session, work: Work, before: SqlStatement) -> list[Row]:
    found = await session.read(before.statement, work.params(before), IMAGE_ROWS)
    return _whole("before", found.rows, truncated=found.truncated)


def _returned(done: list[Rows]) -> list[Row]:
    rows = [row for part in done for row in part.rows]
    truncated = len(rows) > IMAGE_ROWS or any(part.truncated for part in done)
    return _whole("RETURNING", rows, truncated=truncated)


def _whole(what: str, rows: list[Row], *, truncated: bool) -> list[Row]:
    # an image that is cut is not one: an undo would miss what is not in it
    if truncated or results.size(rows) > IMAGE_BYTES:
        most = f"{IMAGE_ROWS} rows or {IMAGE_BYTES // 1024 // 1024} MiB"
        raise SqlError(Fault.STATEMENT, f"{what} gives more than {most}, too much to store; select less")
    return rows
