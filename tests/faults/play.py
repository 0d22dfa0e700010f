"""Plays an example's matrix in lanes side by side."""

import asyncio
import sys
from collections import deque
from collections.abc import Iterable, Mapping

from faults.arena import Arena
from faults.catalogue import Entry
from faults.lane import Lane
from faults.runs import Result, Run
from faults.store import Store

_TRIES = 3
"""A call may come at another place where times differ; a fault that was not reached is tried again."""


class Matrix:
    """One example's runs."""

    def __init__(
        self, arena: Arena, entry: Entry, store: Store, lanes: int, *, sample: bool, everything: bool, match: str
    ) -> None:
        self._arena, self._entry, self._store, self._match = arena, entry, store, match
        self._lanes, self._sample, self._everything = lanes, sample, everything
        self._known = store.results()
        self._left: deque[Run] = deque()
        self._all: list[Run] = []
        self._planned = asyncio.Event()

    async def play(self) -> list[Result]:
        """Play what is not known yet; return the results of all."""
        seen = {} if self._entry.planned is not None else self._store.golden(self._entry.name)
        if seen is not None:
            self._plan(seen)
        if seen is None or self._left:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._lanes):
                    tasks.create_task(self._work(number))
            sys.stderr.write("\n")
        return [self._known[run] for run in self._all if run in self._known]

    async def _work(self, number: int) -> None:
        namespace = f"faults-{self._entry.name.lower()}-{number}"
        async with self._arena.lane(namespace, self._entry.make) as lane:
            if number == 0 and not self._planned.is_set():
                await self._find_golden(lane)
            await self._planned.wait()
            while self._left:
                self._note(await _reached(lane, self._left.popleft()))

    async def _find_golden(self, lane: Lane) -> None:
        """Play without a fault, twice after a first time: only calls that come every time are numbered."""
        counted = []
        for _ in range(3):
            result = await lane.play(Run(self._entry.name))
            if result.findings:
                raise RuntimeError(f"a run without any fault:\n{result.told}")
            counted.append(lane.seen_calls)
        seen = {kind: min(each.get(kind, 0) for each in counted[1:]) for kind in counted[-1]}
        self._store.keep_golden(self._entry.name, seen)
        self._note(result)
        self._plan(seen, lane)

    def _plan(self, seen: Mapping[str, int], lane: Lane | None = None) -> None:
        watched = self._entry.make("any").watched
        planned = self._entry.matrix(seen, watched, everything=self._everything)
        self._all = [run for run in planned if self._match in str(run)]
        if self._sample:
            self._all = list(_one_of_each(self._all))
        self._left = deque(run for run in self._all if run not in self._known)
        self._planned.set()

    def _note(self, result: Result) -> None:
        self._known[result.run] = result
        self._store.add(result)
        done = sum(run in self._known for run in self._all)
        found = sum(bool(each.findings) for each in self._known.values())
        sys.stderr.write(
            f"\r{self._entry.name}: {done} of {len(self._all)} runs, {found} findings; {result.run}"[:150].ljust(150)
        )
        sys.stderr.flush()


async def _reached(lane: Lane, run: Run) -> Result:
    for _ in range(_TRIES):
        result = await lane.play(run)
        if result.sprung or result.findings:
            break
    return result


def _one_of_each(runs: Iterable[Run]) -> Iterable[Run]:
    """The middle run of each fault."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.fault, []).append(run)
    return (group[len(group) // 2] for group in groups.values())
