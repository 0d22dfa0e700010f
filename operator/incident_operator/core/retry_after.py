"""`Retry-After`: how long a service asks to be left alone (RFC 9110 §10.2.3), and how much of that is obeyed."""

import math
from collections.abc import Mapping

from incident_operator.core import http_date

MOST_SECONDS = 300.0
"""Whoever asks for longer is asked again then: a step has its own time, and a header is anybody's."""
LATER = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that say "not now": the same question may be answered in a while."""


def seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks for, 0 to `MOST_SECONDS`: a number, or a date; 0 where it says nothing.

    A date counts from the answer's own `Date`: the service's clock and ours may be hours apart. Without one it says nothing.
    """
    named = {name.lower(): value for name, value in headers.items()}
    text = named.get("retry-after", "").strip()
    if text.isdecimal() and text.isascii():
        return bounded(float(text))
    until, sent = http_date.moment(text), http_date.moment(named.get("date", ""))
    return bounded((until - sent).total_seconds()) if until and sent else 0.0


def bounded(asked: float) -> float:
    """Return seconds that somebody asks for, as far as they are obeyed."""
    return 0.0 if math.isnan(asked) else min(max(asked, 0.0), MOST_SECONDS)
