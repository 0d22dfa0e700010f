"""A cache of bounded size and weight. In the core because it does no I/O; who keeps what in it says why so many."""

import math
from collections import OrderedDict
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class LRUCache(Generic[_Key, _Value]):
    """At most `size` values by key: what was neither stored nor got for the longest time makes room.

    Where values differ in what they take, their weights together are at most `heaviest`; the last one is kept whatever it weighs.
    """

    def __init__(self, size: int, heaviest: float = math.inf) -> None:
        self._size = size
        self._heaviest = heaviest
        self._kept: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: _Key) -> _Value | None:
        """Return the value, which counts as used now; None where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        return None

    def put(self, key: _Key, value: _Value, weight: int = 0) -> None:
        """Keep a value, in place of another one under that key."""
        self.drop(key)
        self._kept[key] = (value, weight)
        self._weight += weight
        while len(self._kept) > self._size or (self._weight > self._heaviest and len(self._kept) > 1):
            self.drop(next(iter(self._kept)))

    def drop(self, key: _Key) -> None:
        """Forget a value, if it is kept."""
        _, weight = self._kept.pop(key, (None, 0))
        self._weight -= weight
