"""Waits for things to happen, never for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

from demonstration import shell

Found = TypeVar("Found")
POLL_SECONDS = 0.5


def until(what: str, look: Callable[[], Found | None], seconds: float) -> Found:
    """Look again and again until there is something, and return it. Raises shell.Failure after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(POLL_SECONDS)
    raise shell.Failure(f"{what} did not happen within {seconds:.0f}s")
