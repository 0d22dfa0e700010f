"""What of a sequence fits a budget. What is measured and what becomes of the rest is the caller's."""

from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


def fitting(items: Iterable[_Item], size: Callable[[_Item], int], budget: int) -> tuple[list[_Item], int]:
    """Return the first items that fit the budget together, and what is left of it: 0 where one did not fit any more."""
    kept: list[_Item] = []
    for item in items:
        budget -= size(item)
        if budget < 0:
            return kept, 0
        kept.append(item)
    return kept, budget
