"""RE2: the one way to compile an author's pattern, in little memory, and without the library's own log lines on stderr.

A pattern gets the least of a few budgets that it fits into, which holds its program and what a match remembers; one that fits
into none is refused. So what many patterns take together can be summed before anything is matched.
"""

from collections.abc import Iterable
from typing import Any

import re2

_BUDGETS = (8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024)
"""Bytes. Most patterns fit into the first; `.{1,200}` needs the third, one `\\pL` too."""
RUNBOOK_BYTES = 512 * 1024
"""Of the patterns of one Runbook together: matchers and parameters as many as may be, of the usual size."""
NAMESPACE_BYTES = 4 * 1024 * 1024
"""Of the matchers of a namespace's Runbooks together: all of them are kept, for every alert is matched by them."""
_TOO_LARGE = "pattern too large"


class PatternError(ValueError):
    """A pattern does not compile; the message is one line for people, with RE2's own words."""


def compiled(pattern: str) -> Any:
    """Return the compiled RE2. Raises `PatternError`."""
    for budget in _BUDGETS:
        found = _within(pattern, budget)
        if found is not None:
            return found
    raise PatternError(
        f"takes more than {_BUDGETS[-1] // 1024} KiB as a program; use fewer repetitions (+ or * instead of {{30}}, "
        "for example) or smaller character classes"
    )


def taken(patterns: Iterable[Any]) -> int:
    """Return how many bytes compiled patterns take together, at most; None is one that is not there."""
    return sum(each.options.max_mem for each in patterns if each is not None)


def _within(pattern: str, budget: int) -> Any:
    """Return the compiled RE2, or None where it takes more bytes than that. Raises `PatternError`."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = budget
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = _reason(error)
        if reason.startswith(_TOO_LARGE):
            return None
        raise PatternError(f"not a regular expression (RE2): {reason}") from error
    except UnicodeEncodeError as error:
        raise PatternError("not a regular expression: holds a lone surrogate") from error


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "unknown"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
