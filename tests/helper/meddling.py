"""Helpers as tests start them: kept, to be meddled with, and looked at from outside."""

import re
from collections.abc import Callable
from pathlib import Path

from incident_operator.clients import helper_process
from incident_operator.clients.helper_process import Cause, Counts, Helper


class Starting:
    """Starts helpers and keeps them, for a test to meddle with each before it is asked anything."""

    def __init__(self) -> None:
        self.started: list[Helper] = []
        self.meddle: Callable[[Helper], None] = lambda _: None

    def __call__(self, part: str) -> Helper:
        helper = helper_process.start(part)
        self.started.append(helper)
        self.meddle(helper)
        return helper


class Counted(Counts):
    """Remembers how helpers fared."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.deaths: list[tuple[str, str]] = []

    def started(self, part: str) -> None:
        self.starts.append(part)

    def died(self, part: str, cause: Cause) -> None:
        self.deaths.append((part, cause.value))


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


class Peak:
    """How much more memory this process held at most than it holds when this is made."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # begins to count anew
        self._before = _status("VmRSS")

    @property
    def grown(self) -> int:
        """Bytes."""
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
