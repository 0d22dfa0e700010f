"""Rows and series as they go into a step's result: bounded, and cut where people can see it."""

from collections.abc import Sequence
from typing import Any

import orjson

from incident_operator.core import sanitize, texts
from incident_operator.core.fitting import fitting

RESULT_BYTES = 200_000
"""Of JSON, for all rows of one result together; keeps a result below 256 KiB."""
TEXT_CHARACTERS = 16_384


def fit(rows: Sequence[dict[str, Any]], budget: int) -> tuple[list[dict[str, Any]], int]:
    """Return the first rows, long texts cut, that fit `budget` bytes of JSON; and what is left of the budget."""
    return fitting(map(shortened, rows), size, budget)


def shortened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its long texts cut, fit for expressions."""
    short: dict[str, Any] = sanitize.result({name: _short(value) for name, value in row.items()})
    return short


def size(value: Any) -> int:
    """Return the bytes of a value's JSON."""
    # integers beyond 64 bits are measured by their digits
    return len(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))


def _short(value: Any) -> Any:
    return texts.cut_counted(value, TEXT_CHARACTERS) if isinstance(value, str) else value


def counted(rows: int) -> str:
    """Return a number of rows in words, e.g. `1 row`."""
    return texts.counted(rows, "row")
