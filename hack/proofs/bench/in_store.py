"""What Incidents cost that are only there: closed ones, and open ones at rest."""

import asyncio
import time
from contextlib import AsyncExitStack

from proofs.bench import programs
from proofs.bench.audit import Audit
from proofs.bench.bare import Json, in_turns
from proofs.bench.harness import Bench, burst_of, interleaved, ratio, settled
from proofs.bench.incidents import Poster, guarded, incident, incidents, is_done, seeing
from proofs.bench.rows import ROWS, Result

_AT_A_TIME = 32


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
                ours = await burst_of(bench, watches, large, many)
                theirs = await burst_of(bench, watches, small, few)
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
                while not ((await bench.bare.get(path)).get("status") or {}).get("steps"):
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
