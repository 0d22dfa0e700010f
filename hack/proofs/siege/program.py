"""`make siege`: one namespace does all that once stopped the operator for everybody; exit code 1 where anybody else notices."""

import argparse
import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
from demonstration import chart
from demonstration import cluster as clusters
from demonstration.shell import Failure

from incident_operator.kubernetes import access
from incident_operator.kubernetes.apiserver import Kube
from proofs import provenance
from proofs.places import REPOSITORY
from proofs.siege import hostile, judge, report, rig
from proofs.siege.hostile import Attack
from proofs.siege.judge import Limits, Row
from proofs.siege.play import Play
from proofs.siege.posting import Sender, Urgent, without_the_first
from proofs.siege.report import Report
from proofs.siege.rig import Rig
from proofs.siege.witnesses import Witnesses
from proofs.storm.program import machine
from proofs.storm.telling import complain, say

PAGE = REPOSITORY / "docs" / "siege.md"

_KUBE_SECONDS = 60.0
"""The apiserver has objects of more than a MB to store."""
_ALONE, _ALONE_EVERY = 10, 1.0
"""P0 alerts before the first attack; the first of them is not counted."""
_ALERTS = 7
_PATIENCE = 180.0


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    chosen = _arguments(words)
    cluster = clusters.up(say)
    try:
        made = rig.prepared(cluster, chosen.replicas)
        found = asyncio.run(_run(made, chosen))
    finally:
        if not chosen.keep:
            chart.uninstall(cluster)
            rig.removed(cluster)
    say(f"\n{report.table(found)}\n\nA P0 alert alone: {report.alone(found.limits)}")
    if not chosen.attacks:
        PAGE.write_text(report.page(found, datetime.now(UTC).date().isoformat(), provenance.commit(), machine()))
    for problem in found.problems:
        complain(f"FAILED {problem}")
    say("Nobody but evil noticed." if not found.problems else f"{len(found.problems)} findings")
    return 1 if found.problems else 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    names = [attack.name for attack in hostile.attacks()]
    parser = argparse.ArgumentParser(prog="python -m proofs.siege", description=__doc__)
    parser.add_argument("--attacks", nargs="+", choices=names, default=[], help="only these; no page is written (all)")
    parser.add_argument(
        "--replicas", type=int, default=2, help="Pods of the operator, as the chart has it (%(default)s)"
    )
    parser.add_argument(
        "--alerts", type=int, default=_ALERTS, help="P0 alerts during each attack, at least (%(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=_PATIENCE, help="seconds to wait for what is told (%(default)g)"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything there at the end")
    return parser.parse_args(words)


async def _run(made: Rig, chosen: argparse.Namespace) -> Report:
    admin = await access.load(str(made.cluster.kubeconfig))
    async with Kube(admin, timeout=_KUBE_SECONDS) as kube, aiohttp.ClientSession() as session:
        sender = Sender(session, made.url, made.token)
        urgent = Urgent(made.cluster, sender)
        await urgent.waits("warm", 1, 0.0)  # there is a leader, and the Runbook is ready
        witnesses = Witnesses(made.cluster, kube)
        async with witnesses.looking():
            alone = without_the_first(await urgent.waits("alone", _ALONE, _ALONE_EVERY))
        if not all(map(math.isfinite, alone)):
            raise Failure("a P0 alert alone never came to its first act; the operator does not work at all")
        found = Report(Limits(made.memory, alone, without_the_first(witnesses.seen.writes)), chosen.replicas)
        say(f"a P0 alert alone: {report.alone(found.limits)}")
        play = Play(kube, sender, urgent, witnesses, chosen.patience, chosen.alerts)
        for attack in _chosen(chosen.attacks):
            found = _with(found, await play.attack(attack))
        return _with(found, await play.restart())


def _chosen(names: Sequence[str]) -> list[Attack]:
    return [attack for attack in hostile.attacks() if not names or attack.name in names]


def _with(found: Report, row: Row) -> Report:
    say(" | ".join(report.cells(row, found.limits)))
    for problem in judge.findings(row, found.limits):
        say(f"    {problem}")
    return replace(found, rows=(*found.rows, row))
