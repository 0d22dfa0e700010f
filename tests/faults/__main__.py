"""`python -m faults`: play the whole matrix, print the table, write the page."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

_REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_REPOSITORY / "hack" / "demo"), str(_REPOSITORY / "hack" / "cluster")]

from faults import arena, catalogue, table  # noqa: E402
from faults.play import Matrix  # noqa: E402
from faults.runs import Result  # noqa: E402
from faults.store import Store  # noqa: E402


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(sorted(catalogue.ALL)), help="Examples to play; all unless given."
)
@click.option("--sample", is_flag=True, help="One run for each fault instead of one for each fault at each call.")
@click.option(
    "--all", "everything", is_flag=True, envvar="ALL", help="Each fault at each call, not at the first of a kind."
)
@click.option("--lanes", default=4, show_default=True, help="Namespaces in which runs are played side by side.")
@click.option("--match", default="", help="Play only runs whose name holds this text.")
def main(only: Sequence[str], sample: bool, everything: bool, lanes: int, match: str) -> None:
    """Kill, cut and garble at every write of every example; exit 1 where a promise is broken."""
    names = list(only or catalogue.ALL)
    results = asyncio.run(_play(names, lanes, sample=sample, everything=everything, match=match))
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


async def _play(names: Sequence[str], lanes: int, *, sample: bool, everything: bool, match: str) -> list[Result]:
    store, results = Store(), list[Result]()
    async with arena.opened() as opened:
        for name in names:
            chosen = catalogue.ALL[name]
            most = min(lanes, chosen.most_lanes)
            matrix = Matrix(opened, chosen, store, most, sample=sample, everything=everything, match=match)
            results += await matrix.play()
    return results


if __name__ == "__main__":
    main()
