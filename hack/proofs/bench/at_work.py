"""What an Incident costs while it is worked on: time, writes and CPU."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack

from proofs.bench import programs
from proofs.bench.audit import Audit
from proofs.bench.bare import in_turns
from proofs.bench.harness import Bench, burst_of, interleaved, ratio, settled
from proofs.bench.incidents import (
    Poster,
    by_the_book,
    guarded,
    incident,
    incidents,
    is_done,
    is_done_by_the_book,
    seeing,
    textbooks,
)
from proofs.bench.lease import leases, somebody_elses_lease
from proofs.bench.rig import STEPS
from proofs.bench.rows import ROWS, Result, percentile

_AT_A_TIME = 32
_PAUSE = 0.1
_REFERENCE_PATIENCE, _MOST_RESTARTS = 60.0, 3
_MINIMUM = 1 + STEPS + 1
"""One create, an intent for each step, and the last outcome (docs/how-it-works.md, "What is written")."""


async def latency(bench: Bench) -> list[Result]:
    """One alert after another, each when the one before has been driven to its end; and one create after another.

    Both after a pause: a machine that had nothing to do for a moment answers later than one that is at it.
    """
    async with AsyncExitStack() as stack:
        alerts, empty = await bench.namespace(stack, "alerts"), await bench.namespace(stack, "bare")
        poster = Poster(bench.session, await stack.enter_async_context(programs.operator(bench.on, alerts)), alerts)
        seen = await stack.enter_async_context(seeing(bench.bare, incidents(alerts), is_done))
        count = bench.size.posts // 2
        posted = [0]

        async def ours() -> list[float]:
            took = []
            for _ in range(count):
                took.append(await _milliseconds(poster.post()))
                posted[0] += 1
                await seen.until(posted[0])
                await asyncio.sleep(_PAUSE)  # the watch's echoes
            return took

        async def theirs() -> list[float]:
            took = []
            for _ in range(count):
                took.append(await _milliseconds(bench.bare.create(incidents(empty), incident(empty))))
                await asyncio.sleep(_PAUSE)
            return took

        halves = []
        for _ in range(bench.size.repetitions):
            first, second, third, fourth = await ours(), await theirs(), await theirs(), await ours()
            halves.append(([*first, *fourth], [*second, *third]))
    return [
        ratio(key, [(percentile(mine, share), percentile(bare, share)) for mine, bare in halves], "ms")
        for key, share in (("p50", 0.5), ("p99", 0.99))
    ]


async def _milliseconds(act: Awaitable[object]) -> float:
    began = time.perf_counter()
    await act
    return 1000 * (time.perf_counter() - began)


async def storm(bench: Bench) -> list[Result]:
    """As many new groups as it takes in while it drives them, and while another replica would."""
    return [*await _storm(bench, "storm"), *await _storm(bench, "intake")]


async def _storm(bench: Bench, row: str) -> list[Result]:
    async with AsyncExitStack() as stack:
        stormy, empty = await bench.namespace(stack, row), await bench.namespace(stack, f"bare-{row}")
        if row == "intake":
            await bench.bare.create(leases(stormy), somebody_elses_lease(stormy))
        program = await stack.enter_async_context(programs.operator(bench.on, stormy))
        poster = Poster(bench.session, program, stormy)
        count = bench.size.storm // 2

        async def rate(acts: list[Awaitable[object]]) -> float:
            began = time.perf_counter()
            await in_turns(acts, _AT_A_TIME)
            return count / (time.perf_counter() - began)

        async def ours() -> float:
            await settled(program)
            return await rate([poster.post() for _ in range(count)])

        async def theirs() -> float:
            await settled(program)
            return await rate([bench.bare.create(incidents(empty), incident(empty)) for _ in range(count)])

        return [ratio(row, await interleaved(bench.size.repetitions, ours, theirs), "/s")]


async def steps(bench: Bench) -> list[Result]:
    """One Incident after another through five steps, and the same writes by hand."""
    async with AsyncExitStack() as stack:
        ours_in, empty = await bench.namespace(stack, "steps"), await bench.namespace(stack, "bare-steps")
        program = await stack.enter_async_context(programs.operator(bench.on, ours_in))
        poster = Poster(bench.session, program, ours_in)
        seen = await stack.enter_async_context(seeing(bench.bare, incidents(ours_in), is_done))
        count = max(4, bench.size.posts // 10)

        async def ours() -> float:
            took = 0.0
            for _ in range(count):
                before, began = set(seen.done_at), time.perf_counter()
                await poster.post()
                await seen.until(len(before) + 1)
                took += next(at for name, at in seen.done_at.items() if name not in before) - began
            return 1000 * took / count

        async def theirs() -> float:
            statuses = list(seen.statuses[next(iter(seen.done_at))])
            began = time.perf_counter()
            for _ in range(count):
                made = await bench.bare.create(incidents(empty), incident(empty))
                for status in statuses:
                    made = await bench.bare.patch(
                        f"{incidents(empty)}/{made['metadata']['name']}/status", guarded(made, status)
                    )
            return 1000 * (time.perf_counter() - began) / count

        await ours()
        return [ratio("steps", await interleaved(bench.size.repetitions, ours, theirs), "ms")]


async def cpu(bench: Bench) -> list[Result]:
    """The same number of Incidents through five durable steps, by us and by the textbook."""
    async with AsyncExitStack() as stack:
        ours_in, book_in = await bench.namespace(stack, "ours"), await bench.namespace(stack, "book")
        program = await stack.enter_async_context(programs.operator(bench.on, ours_in))
        reference = await stack.enter_async_context(programs.reference(bench.on, book_in))
        ours = await burst_of(bench, stack, program, ours_in)
        done = await stack.enter_async_context(seeing(bench.bare, textbooks(book_in), is_done_by_the_book))
        made = [0]

        async def theirs() -> float:
            program = reference.program
            await settled(program)
            before = program.cpu()
            creates = [bench.bare.create(textbooks(book_in), by_the_book(book_in)) for _ in range(bench.size.burst)]
            await in_turns(creates)
            made[0] += bench.size.burst
            if not await done.reaches(made[0], _REFERENCE_PATIENCE) and reference.restarts < _MOST_RESTARTS:
                await reference.restart()
                await done.until(made[0])
                return await theirs()  # the burst that it stopped in counts for nothing
            await done.until(made[0])
            await settled(program)
            return 1000 * (program.cpu() - before) / bench.size.burst

        await ours()
        audit = Audit(bench.on.audit)
        pairs = await interleaved(bench.size.repetitions, ours, theirs)
        written = audit.writes(ours_in)
        result = ratio("cpu", pairs, "ms")
        if reference.restarts:
            result.beside += f"; the textbook stopped watching and was restarted {reference.restarts} x"
    return [*_counted(written, 2 * bench.size.burst * bench.size.repetitions), result]


def _counted(written: list[tuple[str, int]], count: int) -> list[Result]:
    counted = ("create incidents", "patch incidents/status", "patch incidents")
    of_incidents = [(what, code) for what, code in written if what in counted]
    kept = [what for what, code in of_incidents if code < 300]
    if len(kept) < count * _MINIMUM:
        raise RuntimeError(f"the audit log shows {len(kept)} writes for {count} Incidents, which need {_MINIMUM} each")
    beside = {what: len([1 for each, _ in written if each == what]) / count for what, _ in written}
    told = ", ".join(f"{value:.2f} {what}" for what, value in sorted(beside.items(), key=lambda item: -item[1]))
    writes = Result(ROWS["writes"], [len(kept) / count / _MINIMUM], f"per Incident: {told}")
    return [writes, Result(ROWS["conflicts"], [float(len(of_incidents) - len(kept))])]
