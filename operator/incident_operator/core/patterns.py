"""RE2: the one way to compile an author's pattern, without the library's own log lines on stderr."""

from typing import Any

import re2


class PatternError(ValueError):
    """A pattern does not compile; the message is one line for people, with RE2's own words."""


def compiled(pattern: str) -> Any:
    """Return the compiled RE2. Raises `PatternError`."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise PatternError(f"not a regular expression (RE2): {_reason(error)}") from error
    except UnicodeEncodeError as error:
        raise PatternError("not a regular expression: holds a lone surrogate") from error


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "unknown"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
