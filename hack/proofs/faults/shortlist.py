"""What `make test` plays of the matrix: a sample of the faults, and the runs that catch operators broken on purpose.

Runs mostly wait, for Leases, timeouts and Jobs, so all of it is played side by side.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proofs.faults import between
from proofs.faults.between import Between
from proofs.faults.every_effect import EveryEffect
from proofs.faults.quickstart import Quickstart
from proofs.faults.rig import Make, Rig
from proofs.faults.runs import Result, Run
from proofs.faults.troubles import AT_WRITES, Call, Fault, Trouble
from proofs.faults.worker import Worker

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
    Trouble(Fault.KILL_AFTER, Call("PATCH jobs", 1)),
    Trouble(Fault.REPLY_LOST, Call("PATCH jobs", 1)),
    Trouble(Fault.KILL_BEFORE, Call("POST /unkeyed", 1)),
]
BETWEEN = [
    Trouble(Fault.THEN_ABORTED, between.ACTS["scale"]),
    Trouble(Fault.THEN_EXPIRED, between.ACTS["job"]),
    Trouble(Fault.THEN_RESOLVED, between.ACTS["keyed"]),
    Trouble(Fault.THEN_DELETED, between.ACTS["unkeyed"]),
    Trouble(Fault.THEN_CHANGED, between.ACTS["sql"]),
    Trouble(Fault.THEN_DISTRUSTED, between.ACTS["job"]),
    Trouble(Fault.DELAYED_ABORTED, between.ACTS["scale"]),
    Trouble(Fault.DELAYED, between.ACTS["job"]),
    Trouble(Fault.DELAYED_INTO, between.LATE_SQL),
]


class _Hurried(Quickstart):
    """A run whose end is not waited for long: an engine that believes what it read never gets there."""

    bound = 20.0


@dataclass(frozen=True, slots=True)
class Catch:
    """How a broken operator is caught."""

    make: Make
    trouble: Trouble | None
    rule: str
    """The rule that has to find it."""


CAUGHT = {
    "no intent": Catch(_Hurried, None, "intent before effect"),
    "cached read": Catch(_Hurried, Trouble(Fault.REPLY_LOST, Call("PATCH deployments", 1)), "ends with a reason"),
    "blind retry": Catch(EveryEffect, Trouble(Fault.REPLY_LOST, Call("POST /unkeyed", 1)), "one effect per step key"),
    "no look": Catch(Between, Trouble(Fault.THEN_ABORTED, between.ACTS["scale"]), "nothing without its guards"),
    "no marker": Catch(EveryEffect, Trouble(Fault.KILL_AFTER, Call("SQL COMMIT", 1)), "never again while it holds"),
    "approval not rendered again": Catch(
        EveryEffect, Trouble(Fault.MEDDLED, Call("PERSON approves", 2)), "done as approved"
    ),
}


@dataclass(frozen=True, slots=True)
class Playing:
    """What is being played."""

    samples: Mapping[str, asyncio.Task[list[Result]]]
    """By the name of the example."""
    broken: Mapping[Make, asyncio.Task[Mapping[str, tuple[Result, Result]]]]
    """By the kind of run that catches them: for each broken operator the result of a whole one, and its own."""


@asynccontextmanager
async def playing(rig: Rig) -> AsyncIterator[Playing]:
    """Begin all of it; what nobody waited for is given up at the end."""
    kinds = {catch.make for catch in CAUGHT.values()}
    begun = Playing(
        {
            "quickstart": asyncio.create_task(_sample(rig, Quickstart, QUICKSTART)),
            "between": asyncio.create_task(_sample(rig, Between, BETWEEN)),
            "every-effect": asyncio.create_task(_sample(rig, EveryEffect, EVERY_EFFECT)),
        },
        {make: asyncio.create_task(_compared(rig, make)) for make in kinds},
    )
    try:
        yield begun
    finally:
        tasks = [*begun.samples.values(), *begun.broken.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sample(rig: Rig, make: Make, troubles: Iterable[Trouble]) -> list[Result]:
    """Play each trouble in a worker of its own kind of run."""
    name = make("any").name
    async with rig.worker(f"faults-sample-{name}", make) as worker:
        return [await _reached(worker, Run(name, trouble)) for trouble in troubles]


async def _compared(rig: Rig, make: Make) -> Mapping[str, tuple[Result, Result]]:
    """Play, for each broken operator that such a run catches, the run with a whole one and with the broken one."""
    name = make("any").name
    async with rig.worker(f"faults-broken-{name}", make) as worker:
        return {
            broken: (await _played(worker, "", catch), await _played(worker, broken, catch))
            for broken, catch in CAUGHT.items()
            if catch.make is make
        }


async def _played(worker: Worker, broken: str, catch: Catch) -> Result:
    await worker.become(broken)
    return await worker.play(Run(worker.example.name, catch.trouble))


async def _reached(worker: Worker, run: Run) -> Result:
    """Play a run until it reaches its fault: a watch that an earlier run broke may learn of the Incident by a list."""
    for _ in range(2):
        result = await worker.play(run)
        if result.sprung or result.findings:
            return result
    return await worker.play(run)
