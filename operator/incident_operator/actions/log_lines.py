"""Log text as bounded lines, and as typed values by a pattern. Pure: no log is fetched here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import re2

from incident_operator.core.errors import Unusable

_MAX_LINE = 4096
_MAX_LINES_BYTES = 160 * 1024
_MAX_MATCHES = 1000
_MAX_MATCHES_BYTES = 64 * 1024
_CUT = "…[cut]"


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
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise Unusable(f"pattern is not a regular expression (RE2): {words}") from error


def read(lines: Sequence[str], pattern: Any) -> Read:
    """Keep what fits, newest last; a match holds the named groups that took part in it."""
    kept = newest([_short(line) for line in lines], _MAX_LINES_BYTES)
    found = [match for line in lines if (match := _match(pattern, line)) is not None]
    matches = _newest_matches(found)
    whole = len(kept) == len(lines) and len(matches) == len(found) and all(len(line) <= _MAX_LINE for line in lines)
    return Read(kept, matches, truncated=not whole)


def newest(lines: Sequence[str], most_bytes: int) -> Sequence[str]:
    """Return as many of the last lines as fit into so many bytes."""
    left = most_bytes
    for position in range(len(lines) - 1, -1, -1):
        left -= len(lines[position].encode(errors="replace")) + 1
        if left < 0:
            return lines[position + 1 :]
    return lines


def _short(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - len(_CUT)] + _CUT


def _match(pattern: Any, line: str) -> dict[str, str] | None:
    found = pattern.search(line) if pattern is not None else None
    if found is None:
        return None
    return {name: _short(value) for name, value in found.groupdict().items() if value is not None}


def _newest_matches(found: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    left = _MAX_MATCHES_BYTES
    candidates = found[-_MAX_MATCHES:]
    for position in range(len(candidates) - 1, -1, -1):
        left -= (
            sum(len(key) + len(value.encode(errors="replace")) + 8 for key, value in candidates[position].items()) + 4
        )
        if left < 0:
            return candidates[position + 1 :]
    return candidates
