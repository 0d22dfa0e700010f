"""Saying how far a long job has come, while it runs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from devcluster.console import duration, say

ON_A_TERMINAL, ELSEWHERE = 15.0, 60.0
"""Seconds between two lines. A log that nobody watches has one a minute."""
EVERY = "CLUSTER_PROGRESS_SECONDS"
"""Environment variable of whoever reads the lines and shows them in a way of its own: seconds between two."""


@contextlib.contextmanager
def reported(describe: Callable[[], str]) -> Iterator[None]:
    """Say now and then how long the block has run, and what describe() says of it."""
    ended = threading.Event()
    reporter = threading.Thread(target=_report, args=(describe, ended), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def interval(environment: Mapping[str, str], *, terminal: bool) -> float:
    """Return the seconds between two lines."""
    wanted = environment.get(EVERY, "")
    if wanted.isdigit() and int(wanted) > 0:
        return float(wanted)
    return ON_A_TERMINAL if terminal else ELSEWHERE


def share(done: int, total: int) -> str:
    """Return how much of it is done, e.g. `1616 of 3232 (50 %)`; never more than all, whatever was counted or expected."""
    whole = max(total, 1)
    part = min(max(done, 0), whole)
    return f"{part} of {whole} ({100 * part // whole} %)"


def _report(describe: Callable[[], str], ended: threading.Event) -> None:
    began, every = time.monotonic(), interval(os.environ, terminal=sys.stdout.isatty())
    while not ended.wait(every):
        say(f"  {duration(time.monotonic() - began)}: {describe()}")
