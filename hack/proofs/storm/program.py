"""`make storm`: every scenario, the siege and the fuzzer, one after another; tables at the end, exit code 1 on any loss."""

import argparse
import asyncio
import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from demonstration import cluster as clusters
from demonstration.cluster import Cluster

from proofs import provenance
from proofs.places import REPOSITORY
from proofs.storm import report, storm_namespace
from proofs.storm.abuse import fuzzing
from proofs.storm.abuse.siege import siege
from proofs.storm.ledger import Balance
from proofs.storm.report import Report
from proofs.storm.rig import Line, Rig
from proofs.storm.scenarios import apiserver, flapping, flood, real, urgent
from proofs.storm.telling import complain, say
from proofs.storm.victim import Forks

PAGE = REPOSITORY / "docs" / "storm.md"

_FULL = 10_000
_FULL_KILLS = 20
_PARTS = ("storm", "abuse", "fuzz")
_FUZZ_RUNS = 200_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large everything is, from the number of alerts and kills in the first scenario."""

    alerts: int
    kills: int

    @property
    def full(self) -> bool:
        """Whether the result goes into the documentation."""
        return (self.alerts, self.kills) >= (_FULL, _FULL_KILLS)

    def share(self, full: int) -> int:
        """What a number of the full size is at this size."""
        return max(1, full * self.alerts // _FULL)

    def seconds(self, full: float) -> float:
        """What a time of the full size is; never less than a quarter."""
        return full * min(1.0, max(0.25, self.alerts / _FULL))


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    chosen = _arguments(words)
    size = Size(chosen.alerts, chosen.kills)
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        found = asyncio.run(_run(size, chosen.parts, Path(folder), chosen.seed))
    say(f"\n{report.tables(found)}\n")
    if size.full and set(chosen.parts) == set(_PARTS):
        PAGE.write_text(report.page(found, datetime.now(UTC).date().isoformat(), provenance.commit(), machine()))
    for problem in found.problems:
        complain(f"FAILED {problem}")
    say("Nothing lost, nothing doubled." if not found.problems else f"{len(found.problems)} problems")
    return 1 if found.problems else 0


def machine() -> str:
    """Cores, memory, kernel and versions, without a name or a path."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    kernel = ".".join(platform.release().split(".")[:2])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("aiohttp", "uvloop", "kopf"))
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GiB, Linux {kernel}, Python {platform.python_version()}, {versions}"


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.storm", description=__doc__)
    parser.add_argument(
        "--alerts", type=int, default=_FULL, help="of the largest scenario (%(default)s); others in proportion"
    )
    parser.add_argument(
        "--kills", type=int, default=_FULL_KILLS, help="of the operator in the largest scenario (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS, help="what to run (all)")
    return parser.parse_args(words)


async def _run(size: Size, parts: Sequence[str], folder: Path, seed: int) -> Report:
    found = Report()
    if "fuzz" in parts:
        fuzzed = await fuzzing.fuzz(folder / "fuzz", int(size.seconds(60)), _FUZZ_RUNS)
        say(f"fuzzed: {fuzzed}")
        found = replace(found, fuzzed=fuzzed)
    if "storm" not in parts and "abuse" not in parts:
        return found
    cluster = await asyncio.to_thread(clusters.up)
    token = await asyncio.to_thread(storm_namespace.prepare, cluster)
    await asyncio.to_thread(storm_namespace.clear, cluster)
    try:
        async with Forks() as forks:
            rig = Rig(cluster, token, forks, folder, Random(seed))
            if "abuse" in parts:
                found = await _abuse(rig, size, found)
            if "storm" in parts:
                found = await _storm(rig, size, found)
    finally:
        await asyncio.to_thread(storm_namespace.clear, cluster)
    return found


async def _abuse(rig: Rig, size: Size, found: Report) -> Report:
    rows, kept = await siege(rig, size.seconds(8), lambda row: say(" | ".join(report.abuse_row(row))))
    await asyncio.to_thread(storm_namespace.clear, rig.cluster)
    return replace(found, abuse=rows, kept=kept)


async def _storm(rig: Rig, size: Size, found: Report) -> Report:
    lines = [await _timed(rig.cluster, scenario) for scenario in _scenarios(rig, size)]
    began = time.monotonic()
    line, waits = await urgent.urgent(rig, size.share(2000), 15)
    _tell(line, began)
    say(report.urgency(waits))
    return replace(found, lines=(*lines, line), waits=waits)


def _scenarios(rig: Rig, size: Size) -> tuple[Callable[[], Awaitable[Line]], ...]:
    return (
        lambda: flood.many_groups(rig, size.alerts, size.kills),
        lambda: flood.one_message(rig, size.share(2000), min(3, size.kills)),
        lambda: flood.one_incident(rig, 2000),
        lambda: apiserver.outage(rig, size.share(2000), size.seconds(30)),
        lambda: apiserver.throttled(rig, size.share(1000), 7, min(2, size.kills)),
        lambda: flapping.flapping(rig, size.share(200), 10, min(5, size.kills)),
        lambda: real.real(rig, size.share(200), min(2, size.kills)),
    )


async def _timed(cluster: Cluster, scenario: Callable[[], Awaitable[Line]]) -> Line:
    began = time.monotonic()
    try:
        line = await scenario()
    except Exception as error:  # noqa: BLE001 # the others still tell something
        line = Line("a scenario that broke", Balance(0, 0, 0, (), (), (), ()), 0, 0, "", failed=_reason(error))
        await asyncio.to_thread(storm_namespace.clear, cluster)
    _tell(line, began)
    return line


def _reason(error: BaseException) -> str:
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return f"{type(inner).__name__}: {inner}"


def _tell(line: Line, began: float) -> None:
    name, sent, acknowledged, stored, lost, doubled, wrong, kills, posts = report.storm_row(line)
    told = f"{sent} sent, {acknowledged} acknowledged, {stored} stored, {lost} lost, {doubled} doubled, {wrong} wrong"
    say(f"{name}: {told}, {kills} kills, {time.monotonic() - began:.0f} s ({posts}) {line.failed}")
