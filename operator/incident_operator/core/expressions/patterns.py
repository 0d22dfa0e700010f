"""RE2: the one way to compile an author's pattern, without the library's own log lines on stderr."""

from typing import Any

import re2


def compiled(pattern: str) -> Any:
    """Compile an RE2; raises `re2.error`, or UnicodeEncodeError for a lone surrogate."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options=options)


def complaint(error: Exception) -> str:
    """Return what is wrong with a pattern that did not compile."""
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
