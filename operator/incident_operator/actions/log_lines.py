"""Log text as bounded lines, and as typed values by a pattern. No log is fetched here."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from incident_operator.core import patterns, texts
from incident_operator.core.errors import Unusable
from incident_operator.core.fitting import fitting

_MAX_LINE = 4096
_LAST_LINE = 300
_MAX_LINES_BYTES = 160 * 1024
_MAX_MATCHES = 1000
_MAX_MATCHES_BYTES = 64 * 1024
_MATCH_SECONDS = 5.0
"""Of the processor, for all lines; usual patterns take milliseconds for a megabyte."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is kept of a log: the newest lines, and the newest matches."""

    lines: Sequence[str]
    matches: Sequence[dict[str, str]]
    truncated: bool


def compiled(pattern: str | None) -> Any:
    """Return the compiled RE2, or None where there is none. Raises `Unusable` with RE2's own words."""
    if pattern is None:
        return None
    try:
        return patterns.compiled(pattern)
    except patterns.PatternError as error:
        raise Unusable(f"pattern is {error}") from error


def split(text: str) -> list[str]:
    """Return a log's lines, which end at LF and nowhere else, as the runtime has them: U+2028 or a lone CR may stand in one.

    The CR of a line that ends with CR LF is left out.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read(lines: Sequence[str], pattern: Any) -> Read:
    """Keep what fits, newest last; a match holds the named groups that took part in it.

    Lines are matched from the newest on, for as long as a pattern may take.
    """
    kept = newest([texts.cut(line, _MAX_LINE) for line in lines], _MAX_LINES_BYTES)
    found, all_looked_at = _found(lines, pattern)
    matches = _newest_matches(found)
    whole = len(kept) == len(lines) and len(matches) == len(found) and all(len(line) <= _MAX_LINE for line in lines)
    return Read(kept, matches, truncated=not (whole and all_looked_at))


async def read_aside(lines: Sequence[str], pattern: Any) -> Read:
    """Do the same, in a thread where there is a pattern: some take a step for each of their parts at each byte."""
    return await asyncio.to_thread(read, lines, pattern) if pattern is not None else read(lines, pattern)


def newest(lines: Sequence[str], most_bytes: int) -> Sequence[str]:
    """Return as many of the last lines as fit into so many bytes."""
    kept, _ = fitting(reversed(lines), lambda line: _bytes(line) + 1, most_bytes)
    return kept[::-1]


def last_line(lines: Sequence[str]) -> str:
    """Return the last line that says something, as the end of a message; empty where none does."""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; last line: {texts.cut(said, _LAST_LINE)}" if said else ""


def _found(lines: Sequence[str], pattern: Any) -> tuple[list[dict[str, str]], bool]:
    """Return the matches, newest last, and whether there was time for all lines."""
    found: list[dict[str, str]] = []
    if pattern is None:
        return found, True
    ends_at = time.thread_time() + _MATCH_SECONDS
    for left, line in zip(range(len(lines) - 1, -1, -1), reversed(lines), strict=True):
        if (match := _match(pattern, line)) is not None:
            found.append(match)
        if time.thread_time() > ends_at:
            return found[::-1], left == 0
    return found[::-1], True


def _match(pattern: Any, line: str) -> dict[str, str] | None:
    found = pattern.search(line)
    if found is None:
        return None
    return {name: texts.cut(value, _MAX_LINE) for name, value in found.groupdict().items() if value is not None}


def _newest_matches(found: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    kept, _ = fitting(reversed(found[-_MAX_MATCHES:]), _size, _MAX_MATCHES_BYTES)
    return kept[::-1]


def _size(match: dict[str, str]) -> int:
    return sum(len(key) + _bytes(value) + 8 for key, value in match.items()) + 4


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
