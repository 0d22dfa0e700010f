"""The measurements, each interleaved with its reference: ours, reference, reference, ours."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from bench import ground, programs
from bench.audit import Audit
from bench.bare import Bare, Json, in_turns
from bench.ground import STEPS, Ground
from bench.incidents import (
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
from bench.programs import Program
from bench.rows import ROWS, Result, percentile

_AT_A_TIME = 32
_MINIMUM = 1 + STEPS + 1
"""One create, an intent for each step, and the last outcome (design §3)."""
Timed = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    repetitions: int = 5
    posts: int = 100
    burst: int = 60
    storm: int = 400
    existing: int = 10_000
    few: int = 100
    idle_seconds: float = 60.0


QUICK = Size(repetitions=2, posts=20, burst=20, storm=60, existing=300, few=20, idle_seconds=10.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs."""

    on: Ground
    bare: Bare
    session: aiohttp.ClientSession
    size: Size
    mark: str
    """Ends the names of this run's namespaces."""

    async def namespace(self, stack: AsyncExitStack, what: str) -> str:
        """A namespace for the time of the stack."""
        return stack.enter_context(ground.namespace(self.on, f"bench-{what}-{self.mark}"))


async def interleaved(repetitions: int, ours: Timed, theirs: Timed) -> list[tuple[float, float]]:
    """Return a pair of figures for each repetition, ABBA within each, so that a drift of the machine meets both alike."""
    pairs = []
    for _ in range(repetitions):
        first, second, third, fourth = await ours(), await theirs(), await theirs(), await ours()
        pairs.append(((first + fourth) / 2, (second + third) / 2))
    return pairs


def ratio(key: str, pairs: list[tuple[float, float]], unit: str) -> Result:
    """Return ours ÷ theirs for each repetition."""
    mine, other = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    beside = f"{mine:.2f} {unit} beside {other:.2f} {unit}"
    return Result(ROWS[key], [ours / theirs for ours, theirs in pairs], beside)


async def settled(program: Program) -> None:
    """Wait until a program has nothing to do any more."""
    used = program.cpu()
    for _ in range(100):
        await asyncio.sleep(0.5)
        if program.cpu() - used < 0.03:
            return
        used = program.cpu()


async def latency(bench: Bench) -> list[Result]:
    """One alert after another, each when the one before has been driven to its end; and one create after another."""
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
            return took

        async def theirs() -> list[float]:
            creates = (bench.bare.create(incidents(empty), incident(empty)) for _ in range(count))
            return [await _milliseconds(create) for create in creates]

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
    """As many new groups as it takes in."""
    async with AsyncExitStack() as stack:
        stormy, empty = await bench.namespace(stack, "storm"), await bench.namespace(stack, "bare-storm")
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

        return [ratio("storm", await interleaved(bench.size.repetitions, ours, theirs), "/s")]


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
        ours = await _burst(bench, stack, program, ours_in)
        done = await stack.enter_async_context(seeing(bench.bare, textbooks(book_in), is_done_by_the_book))
        made = [0]

        async def theirs() -> float:
            await settled(reference)
            before = reference.cpu()
            creates = [bench.bare.create(textbooks(book_in), by_the_book(book_in)) for _ in range(bench.size.burst)]
            await in_turns(creates)
            made[0] += bench.size.burst
            await done.until(made[0])
            await settled(reference)
            return 1000 * (reference.cpu() - before) / bench.size.burst

        await ours()
        audit = Audit(bench.on.audit)
        pairs = await interleaved(bench.size.repetitions, ours, theirs)
        written = audit.writes(ours_in)
    return [*_counted(written, 2 * bench.size.burst * bench.size.repetitions), ratio("cpu", pairs, "ms")]


def _counted(written: list[tuple[str, int]], count: int) -> list[Result]:
    counted = ("create incidents", "patch incidents/status", "patch incidents")
    of_incidents = [(what, code) for what, code in written if what in counted]
    kept = [what for what, code in of_incidents if code < 300]
    beside = {what: len([1 for each, _ in written if each == what]) / count for what, _ in written}
    told = ", ".join(f"{value:.2f} {what}" for what, value in sorted(beside.items(), key=lambda item: -item[1]))
    writes = Result(ROWS["writes"], [len(kept) / count / _MINIMUM], f"per Incident: {told}")
    return [writes, Result(ROWS["conflicts"], [float(len(of_incidents) - len(kept))])]


async def _burst(bench: Bench, stack: AsyncExitStack, program: Program, namespace: str) -> Timed:
    """Return what drives a burst and tells the milliseconds of CPU that each Incident took."""
    poster = Poster(bench.session, program, namespace)
    seen = await stack.enter_async_context(seeing(bench.bare, incidents(namespace), is_done))
    posted = [0]

    async def burst() -> float:
        await settled(program)
        before = program.cpu()
        await in_turns([poster.post() for _ in range(bench.size.burst)])
        posted[0] += bench.size.burst
        await seen.until(posted[0])
        await settled(program)
        return 1000 * (program.cpu() - before) / bench.size.burst

    return burst


async def existing(bench: Bench) -> list[Result]:
    """What closed Incidents cost: at start, in memory, and at work."""
    async with AsyncExitStack() as stack:
        many, few, none = [await bench.namespace(stack, what) for what in ("many", "few", "none")]
        status = await _closed_status(bench)
        await closed(bench, many, status, bench.size.existing)
        await closed(bench, few, status, bench.size.few)
        started = await _starts(bench, many, none)
        async with programs.operator(bench.on, many) as large, programs.operator(bench.on, few) as small:
            async with AsyncExitStack() as watches:
                ours = await _burst(bench, watches, large, many)
                theirs = await _burst(bench, watches, small, few)
                await ours(), await theirs()
                pairs = await interleaved(bench.size.repetitions, ours, theirs)
            memory = large.rss()
    return [ratio("existing", pairs, "ms"), started, Result(ROWS["closed"], [memory])]


async def _closed_status(bench: Bench) -> Json:
    """The last status of a driven Incident, as it is when it has closed."""
    async with AsyncExitStack() as stack:
        namespace = await bench.namespace(stack, "model")
        program = await stack.enter_async_context(programs.operator(bench.on, namespace))
        seen = await stack.enter_async_context(seeing(bench.bare, incidents(namespace), is_done))
        await Poster(bench.session, program, namespace).post()
        await seen.until(1)
        status = seen.statuses[next(iter(seen.done_at))][-1]
    resolved = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {**status, "phase": "Resolved", "times": {**status["times"], "resolved": resolved}}


async def closed(bench: Bench, namespace: str, status: Json, count: int) -> None:
    """Store closed Incidents."""
    path = incidents(namespace)

    async def one() -> None:
        made = await bench.bare.create(path, incident(namespace))
        await bench.bare.patch(f"{path}/{made['metadata']['name']}/status", guarded(made, status))

    await in_turns([one() for _ in range(count)], _AT_A_TIME)


async def _starts(bench: Bench, many: str, none: str) -> Result:
    """Start with an Incident that waits, and look until its first intent is stored."""

    async def start(namespace: str) -> float:
        made = await bench.bare.create(incidents(namespace), incident(namespace))
        path, began = f"{incidents(namespace)}/{made['metadata']['name']}", time.perf_counter()
        program = await programs.start_operator(bench.on, namespace)
        try:
            async with asyncio.timeout(120):
                while not (await bench.bare.get(path)).get("status"):
                    await asyncio.sleep(0.02)
            took = time.perf_counter() - began
            await programs.until_answers(program, "/readyz")
        finally:
            await program.stop()
        return took

    pairs = await interleaved(bench.size.repetitions, lambda: start(many), lambda: start(none))
    return ratio("start", pairs, "s")


async def at_rest(bench: Bench) -> list[Result]:
    """Open Incidents that all wait for a person, for they name no Runbook."""
    async with AsyncExitStack() as stack:
        namespace = await bench.namespace(stack, "open")
        program = await stack.enter_async_context(programs.operator(bench.on, namespace))
        seen = await stack.enter_async_context(
            seeing(
                bench.bare, incidents(namespace), lambda made: (made.get("status") or {}).get("phase") == "NeedsHuman"
            )
        )
        await in_turns(
            [bench.bare.create(incidents(namespace), _for_nobody(namespace)) for _ in range(bench.size.existing)],
            _AT_A_TIME,
        )
        await seen.until(bench.size.existing)
        await settled(program)
        await asyncio.sleep(12)  # what is counted for Runbooks settles within ten seconds
        audit = Audit(bench.on.audit)
        await asyncio.sleep(bench.size.idle_seconds)
        idle = len(audit.writes(namespace)) * 60 / bench.size.idle_seconds
        return [Result(ROWS["open"], [program.rss()]), Result(ROWS["idle"], [idle])]


def _for_nobody(namespace: str) -> Json:
    made = incident(namespace)
    return {**made, "spec": {key: value for key, value in made["spec"].items() if key != "runbookRef"}}


MEASURES: dict[tuple[str, ...], Callable[[Bench], Awaitable[list[Result]]]] = {
    ("p50", "p99"): latency,
    ("storm",): storm,
    ("steps",): steps,
    ("writes", "conflicts", "cpu"): cpu,
    ("existing", "start", "closed"): existing,
    ("open", "idle"): at_rest,
}
