"""What a person sees: progress lines, and the one error that ends a command. No command is run here."""

from __future__ import annotations

import sys
from collections.abc import Iterable


class ClusterError(Exception):
    """A command cannot go on. The message is shown as it is: what is wrong, where, and what would put it right."""


def say(line: str) -> None:
    """Print one progress line at once, also where output is piped."""
    print(line, flush=True)


def complain(error: ClusterError) -> None:
    """Print the error that ends the program."""
    print(f"error: {error}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a length of time as people read it: `8.2s`, `1m05s`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def indented(lines: Iterable[str]) -> str:
    """Lines to hang below a message."""
    return "".join(f"\n    {line}" for line in lines)
