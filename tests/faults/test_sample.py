"""A sample of `make faults`: every fault once on the quickstart, and those of SQL and of services on every effect."""

from collections.abc import Iterable

import pytest

from faults.arena import Arena, Make
from faults.every_effect import EveryEffect
from faults.lane import Lane
from faults.quickstart import Quickstart
from faults.runs import Result, Run
from faults.troubles import AT_WRITES, Call, Fault, Trouble

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

_STATUS, _SCALE = Call("PATCH incidents/status", 2), Call("PATCH deployments", 1)
QUICKSTART = [
    *(Trouble(fault, _STATUS if number % 2 else _SCALE) for number, fault in enumerate(AT_WRITES)),
    Trouble(Fault.KILL_AFTER, Call("POST incidents", 1)),
    Trouble(Fault.WATCH_GONE_STATUS, Call("WATCH added", 1)),
    Trouble(Fault.WATCH_GONE_EVENT, Call("WATCH added", 1)),
    Trouble(Fault.WATCH_REPLAYS, Call("WATCH resolved", 1)),
    Trouble(Fault.WATCH_STALLS, Call("WATCH added", 1)),
    Trouble(Fault.MEDDLED, _SCALE),
    Trouble(Fault.ABORTED, _STATUS),
]
EVERY_EFFECT = [
    Trouble(Fault.SQL_CUT_AFTER, Call("SQL COMMIT", 1)),
    Trouble(Fault.SQL_SERIALIZATION, Call("SQL UPDATE counter", 1)),
    Trouble(Fault.KILL_AFTER, Call("POST jobs", 1)),
    Trouble(Fault.KILL_BEFORE, Call("POST /unkeyed", 1)),
]


@pytest.mark.parametrize(
    ("make", "troubles"), [(Quickstart, QUICKSTART), (EveryEffect, EVERY_EFFECT)], ids=["quickstart", "every-effect"]
)
async def test_no_fault_doubles_or_loses_anything(opened: Arena, make: Make, troubles: Iterable[Trouble]) -> None:
    name = make("any").name
    async with opened.lane(f"faults-sample-{name}", make) as lane:
        results = [await reached(lane, Run(name, trouble)) for trouble in troubles]
    assert [str(each.run) for each in results if not each.sprung] == []
    assert "\n".join(told(each) for each in results if each.findings) == ""


async def reached(lane: Lane, run: Run) -> Result:
    """Play a run until it reaches its fault: a watch that an earlier run broke may learn of the Incident by a list."""
    for _ in range(2):
        result = await lane.play(run)
        if result.sprung or result.findings:
            return result
    return await lane.play(run)


def told(result: Result) -> str:
    """A result that somebody can mend something by."""
    return f"{result.run}\n{result.told}"
