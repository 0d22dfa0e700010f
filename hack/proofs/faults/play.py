"""Plays an example's matrix with workers side by side."""

import asyncio
import sys
from collections import deque
from collections.abc import Iterable, Mapping

from proofs.faults.catalogue import Entry
from proofs.faults.rig import Rig
from proofs.faults.runs import Result, Run
from proofs.faults.store import Store
from proofs.faults.worker import Worker

_TRIES = 3
"""A call may come at another place where times differ; a fault that was not reached is tried again."""


class Matrix:
    """One example's runs."""

    def __init__(
        self, rig: Rig, entry: Entry, store: Store, workers: int, *, sample: bool, everything: bool, match: str
    ) -> None:
        self._arena, self._entry, self._store, self._match = rig, entry, store, match
        self._workers, self._sample, self._everything = workers, sample, everything
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
                for number in range(self._workers):
                    tasks.create_task(self._work(number))
            sys.stderr.write("\n")
        return [self._known[run] for run in self._all if run in self._known]

    async def _work(self, number: int) -> None:
        namespace = f"faults-{self._entry.name.lower()}-{number}"
        async with self._arena.worker(namespace, self._entry.make) as worker:
            if number == 0 and not self._planned.is_set():
                await self._find_golden(worker)
            await self._planned.wait()
            while self._left:
                self._note(await _reached(worker, self._left.popleft()))

    async def _find_golden(self, worker: Worker) -> None:
        """Play without a fault, twice after a first time: only calls that come every time are numbered."""
        counted = []
        for _ in range(3):
            result = await worker.play(Run(self._entry.name))
            if result.findings:
                raise RuntimeError(f"a run without any fault:\n{result.told}")
            counted.append(worker.seen_calls)
        seen = {kind: min(each.get(kind, 0) for each in counted[1:]) for kind in counted[-1]}
        self._store.keep_golden(self._entry.name, seen)
        self._note(result)
        self._plan(seen, worker)

    def _plan(self, seen: Mapping[str, int], worker: Worker | None = None) -> None:
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


async def _reached(worker: Worker, run: Run) -> Result:
    for _ in range(_TRIES):
        result = await worker.play(run)
        if result.sprung or result.findings:
            break
    return result


def _one_of_each(runs: Iterable[Run]) -> Iterable[Run]:
    """The middle run of each fault."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.fault, []).append(run)
    return (group[len(group) // 2] for group in groups.values())
