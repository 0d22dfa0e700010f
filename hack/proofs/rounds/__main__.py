"""`python -m proofs.rounds`: two operators, and whoever leads is killed, halted or cut off in every stage. Resumes where it was."""

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

import proofs.places  # noqa: F401 # isort: skip
from demonstration import cluster as clusters

from proofs import provenance
from proofs.places import REPOSITORY
from proofs.rounds import table
from proofs.rounds.judge import Result
from proofs.rounds.operators import LEASE_SECONDS
from proofs.rounds.plan import rounds
from proofs.rounds.play import play
from proofs.rounds.rig import rig

PAGE = REPOSITORY / "docs" / "reliability-rounds.md"


def main() -> None:
    """Play, print the table, and exit with 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m proofs.rounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease-seconds", type=int, default=LEASE_SECONDS)
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(REPOSITORY)}")
    chosen = parser.parse_args()
    cluster = clusters.up()
    state = Path(cluster.kubeconfig).parent / f"rounds-{chosen.seed}.jsonl"
    results = asyncio.run(_play(cluster, state, chosen))
    click.echo(table.text(results))
    found = [
        f"round {each.number} ({each.interruption}, {each.stage}): {told}" for each in results for told in each.findings
    ]
    click.echo("\n".join(found) or "nothing was found")
    if chosen.page:
        PAGE.write_text(_page(results, chosen))
    state.unlink()
    sys.exit(1 if found else 0)


async def _play(cluster: clusters.Cluster, state: Path, chosen: argparse.Namespace) -> list[Result]:
    done = [Result(**json.loads(line)) for line in state.read_text().splitlines()] if state.exists() else []
    todo = [each for each in rounds(chosen.rounds, chosen.seed) if each.number not in {one.number for one in done}]
    with tempfile.TemporaryDirectory(prefix="rounds-") as folder:
        async with rig(cluster, Path(folder), chosen.lease_seconds) as made:
            for each in todo:
                result = await play(made, each)
                done.append(result)
                with state.open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(result)) + "\n")
                told = "; ".join(result.findings) or "as promised"
                click.echo(
                    f"{each.number}/{chosen.rounds} {each.interruption}, {each.stage}: {result.seconds} s, {told}"
                )
    return done


def _page(results: list[Result], chosen: argparse.Namespace) -> str:
    machine = f"{os.cpu_count()} cores, {platform.system()} {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}"
    return f"""# Two operators: what was measured

Whoever leads is interrupted in every stage of an Incident: while it reads, in the middle of an act, while it waits for a person. The
other one has to take over. Heard are witnesses only: rows in PostgreSQL, a service that counts, the Deployment, the Incident as stored.
While all this happens somebody annotates the Incident all the time. `doubled`, `lost` and `overwritten` have to be 0; failover is the
time from the interruption until another leads, in Lease durations (at most 1.3; the Lease lasts {chosen.lease_seconds} s here); hand-over is the
time from SIGTERM, where no act was under way (at most 1 s). Smallest, median, largest.

{table.markdown(results)}

`make rounds` plays this: {chosen.rounds} rounds, seed {chosen.seed}; {datetime.now(UTC):%Y-%m-%d}, {provenance.commit()}, {machine}.
"""


if __name__ == "__main__":
    main()
