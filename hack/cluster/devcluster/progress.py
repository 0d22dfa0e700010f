"""Saying how far a long job has come, while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from devcluster.console import duration, say

EVERY_SECONDS = 15.0


@contextlib.contextmanager
def reported(describe: Callable[[], str]) -> Iterator[None]:
    """Say every quarter of a minute how long the block has run, and what describe() says of it."""
    ended = threading.Event()
    reporter = threading.Thread(target=_report, args=(describe, ended), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def _report(describe: Callable[[], str], ended: threading.Event) -> None:
    began = time.monotonic()
    while not ended.wait(EVERY_SECONDS):
        say(f"  {duration(time.monotonic() - began)}: {describe()}")
