"""How work grows with what is given: in CPU time of this thread, as a ratio of two sizes, never as a time."""

import time
from collections.abc import Callable
from typing import TypeVar

_Input = TypeVar("_Input")
MORE = 8
"""How much larger the larger input is."""
MOST = 3 * MORE
"""Growth that is still linear: a quadratic algorithm takes 64 times as long for eight times as much."""
_TRIES = 4
_LEAST_SECONDS = 0.02
"""What the small input has to take, repeated, to be measured."""


def growth(make: Callable[[int], _Input], run: Callable[[_Input], object], size: int) -> float:
    """Return how many times as long the work takes for eight times as much; the least of several tries, up to what is linear."""
    small, large = make(size), make(MORE * size)
    least = float("inf")
    for _ in range(_TRIES):
        rounds = max(1, round(_LEAST_SECONDS / max(_seconds(run, small, 1), 1e-7)))
        least = min(least, _seconds(run, large, 1) * rounds / _seconds(run, small, rounds))
        if least <= MOST:
            break
    return least


def _seconds(run: Callable[[_Input], object], given: _Input, rounds: int) -> float:
    began = time.thread_time()
    for _ in range(rounds):
        run(given)
    return max(time.thread_time() - began, 1e-7)
