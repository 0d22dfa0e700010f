"""`python -m proofs.faults`: play the whole matrix, print the table, write the page."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

import proofs.places  # noqa: F401 # isort: skip
from proofs.faults import catalogue, rig, table
from proofs.faults.play import Matrix
from proofs.faults.runs import Result
from proofs.faults.store import Store


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(sorted(catalogue.ALL)), help="Examples to play; all unless given."
)
@click.option("--sample", is_flag=True, help="One run for each fault instead of one for each fault at each call.")
@click.option(
    "--all", "everything", is_flag=True, envvar="ALL", help="Each fault at each call, not at the first of a kind."
)
@click.option("--workers", default=4, show_default=True, help="Namespaces in which runs are played side by side.")
@click.option("--match", default="", help="Play only runs whose name holds this text.")
def main(only: Sequence[str], sample: bool, everything: bool, workers: int, match: str) -> None:
    """Kill, cut and garble at every write of every example; exit 1 where a promise is broken."""
    names = list(only or catalogue.ALL)
    results = asyncio.run(_play(names, workers, sample=sample, everything=everything, match=match))
    sprung = [each for each in results if each.sprung]
    click.echo(table.plain(sprung))
    click.echo(f"\n{table.proofs_of(sprung)}")
    findings = [each for each in results if each.findings]
    for each in findings:
        click.echo(f"\n{each.run}\n{each.told}")
    missed = [each for each in results if not each.sprung]
    for each in missed:
        click.echo(f"not reached: {each.run}")
    if not only and not sample and not match and not findings:
        table.write_page(sprung, datetime.now(UTC), everything=everything)
    sys.exit(1 if findings else 0)


async def _play(names: Sequence[str], workers: int, *, sample: bool, everything: bool, match: str) -> list[Result]:
    store, results = Store(), list[Result]()
    async with rig.opened() as opened:
        for name in names:
            chosen = catalogue.ALL[name]
            most = min(workers, chosen.most_workers)
            matrix = Matrix(opened, chosen, store, most, sample=sample, everything=everything, match=match)
            results += await matrix.play()
    return results


if __name__ == "__main__":
    main()
