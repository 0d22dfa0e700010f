"""The command line: set up, tell the story, say how it went, and leave nothing running unless asked to."""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from demonstration import chart, cluster, ending, platform, preparation, shell, story
from demonstration.people import Actors
from demonstration.terminal import Story


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; returns 0 when every stage happened, 1 with the reason when one did not."""
    parser = argparse.ArgumentParser(prog="make demo", description=story.__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running, and print what to try next")
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        _run(console, keep=given.keep)
    except shell.Failure as failure:
        ending.tell_failure(console, failure)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was set up stays as it is.")
        return 130
    return 0


def _run(console: Console, *, keep: bool) -> None:
    console.print("[bold]incident-operator: one night with runbook RB-01, on a real cluster[/bold]\n")
    began, was_up = time.monotonic(), cluster.is_up()
    actors = preparation.prepare(console, datetime.now(UTC))  # noqa: TID251
    ready = time.monotonic()
    incident = story.tell(Story(console, ready), actors)
    ending.tell_times(console, incident, set_up=ready - began, night=time.monotonic() - ready)
    if keep:
        ending.tell_next(console, actors, incident.name)
        return
    _clean_up(console, actors, stop_cluster=not was_up)


def _clean_up(console: Console, actors: Actors, *, stop_cluster: bool) -> None:
    console.print("Cleaning up. `make demo KEEP=1` leaves it running, so that you can look around.", soft_wrap=True)
    platform.remove(actors.admin.cluster)
    chart.uninstall(actors.admin.cluster)
    if stop_cluster:
        cluster.down()
