"""Transactions that met in the way of each other: one is rolled back for certain, so it is simply run again.

PostgreSQL leaves that to its clients: a deadlock or a serialization failure is no reason to wake a person.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from incident_operator.clients.sql_errors import Fault, SqlError

_Result = TypeVar("_Result")
_PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds before each further try, so that whoever was in the way can finish."""


class RolledBack(SqlError):
    """A transaction that had the marker was rolled back: certainly nothing happened under its key."""


async def through(attempt: Callable[[float], Awaitable[_Result]], seconds: float) -> _Result:
    """Run an attempt, which is told how many seconds are left, again while it meets conflicts. Raises `SqlError`."""
    now = asyncio.get_running_loop().time
    ends_at = now() + seconds
    for pause in _PAUSES:
        try:
            return await attempt(ends_at - now())
        except SqlError as error:
            if error.fault is not Fault.CONFLICT or now() + pause >= ends_at:
                raise
        await asyncio.sleep(pause)
    return await attempt(ends_at - now())
