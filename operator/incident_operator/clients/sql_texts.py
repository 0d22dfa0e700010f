"""What PostgreSQL writes, as JSON has it. Each takes whatever its type can hold, and raises nothing."""

import base64
import json as decoder
import math
import re
from decimal import Decimal
from typing import Self

from incident_operator.core import json_depth, sanitize
from incident_operator.core.outcomes import Json

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?")
_INTERVAL = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)W)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?[\d.]+)S)?)?"
)
"""As `IntervalStyle = iso_8601` writes one; `infinity` is not."""
_INT64 = 19
"""Characters of a whole number that fits into 64 bits."""
_DAY = Decimal(86400)
_SECONDS = (_DAY * 36525 / 100, _DAY * 30, _DAY * 7, _DAY, Decimal(3600), Decimal(60), Decimal(1))


class Number(float):
    """A double that keeps what the server wrote, where that says more than the double, or than JSON can."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Return the number that a text says."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def number(text: str) -> float:
    """Return a `numeric` or a float, always a double: beyond its range infinite, beyond its digits rounded."""
    found = float(text)
    is_all = math.isfinite(found) and Decimal(repr(found)) == Decimal(text)
    return found if is_all else Number(text)


def duration(text: str) -> str:
    """Return an `interval` in seconds, `93600s`: a month has 30 days and a year 365.25, as in `extract(epoch …)`."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return text
    seconds = sum((Decimal(part) * size for part, size in zip(found.groups("0"), _SECONDS, strict=True)), Decimal(0))
    written = f"{seconds:f}"
    return f"{written.rstrip('0').rstrip('.') if '.' in written else written}s"


def moment(text: str) -> str:
    """Return a time as RFC 3339 in UTC, in which sessions run; what that cannot say (infinity, BC, year 10000) as it is."""
    found = _MOMENT.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else text


def octets(text: str) -> str:
    """Return a `bytea`, which sessions get in hexadecimal, in base64."""
    return base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()


def json(text: str) -> Json:
    """Return decoded JSON, a number that is too large for a double infinite; what is nested too deep for us stays text."""
    try:
        return json_depth.loads(text)
    except json_depth.TooDeepError:
        return text
    except ValueError:
        return _as_postgres_has_it(text)


def _as_postgres_has_it(text: str) -> Json:
    """Decode what PostgreSQL takes for JSON and others do not: any number, and in a `json` half of a surrogate pair."""
    try:
        return sanitize.result(decoder.loads(text, parse_float=number, parse_int=_whole))
    except ValueError:
        return text


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _INT64 else number(text)
