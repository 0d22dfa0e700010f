"""What waits for its turn: the severest first, and within a severity the turn goes round the namespaces. Pure.

As in Kubernetes' API Priority and Fairness, what waits belongs to a flow: here a namespace, at a priority level.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

URGENT = 1
"""The mildest level that is urgent: P1."""
_T = TypeVar("_T")


class Flow(NamedTuple):
    """Whose turn it is."""

    namespace: str
    level: int
    """0 for P0, 1 for P1, and so on; the lowest goes first."""

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before the others, and may use what is kept back from them."""
        return self.level <= URGENT


class FairQueue(Generic[_T]):
    """Items in the order in which they have their turn."""

    def __init__(self) -> None:
        self._levels: dict[int, dict[str, deque[_T]]] = {}
        """Level → namespace → what waits. The namespace that had its turn longest ago comes first."""
        self._length = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._length

    def levels(self) -> dict[int, int]:
        """Return how many wait at each level at which any do."""
        return {level: sum(map(len, lines.values())) for level, lines in self._levels.items()}

    def push(self, flow: Flow, item: _T, before: Callable[[_T], bool] | None = None) -> None:
        """Add an item after those of its flow, or before the first of them for which `before` is true."""
        line = self._levels.setdefault(flow.level, {}).setdefault(flow.namespace, deque())
        at = None if before is None else next((at for at, other in enumerate(line) if before(other)), None)
        line.insert(len(line) if at is None else at, item)
        self._length += 1

    def pop(self, may: Callable[[Flow, _T], bool] = lambda *_: True, *, only_urgent: bool = False) -> _T | None:
        """Remove and return whose turn it is, of those that may have it; None where nobody may."""
        for level in sorted(self._levels):
            if only_urgent and level > URGENT:
                return None
            for namespace, line in self._levels[level].items():
                if may(Flow(namespace, level), line[0]):
                    return self._taken(level, namespace)
        return None

    def remove(self, flow: Flow, item: _T) -> bool:
        """Remove an item; False where it does not wait any more."""
        line = self._levels.get(flow.level, {}).get(flow.namespace, deque())
        if item not in line:
            return False
        line.remove(item)
        self._length -= 1
        self._tidy(flow.level, flow.namespace)
        return True

    def keep(self, wanted: Callable[[_T], bool]) -> None:
        """Remove every item that is not wanted."""
        for level, lines in list(self._levels.items()):
            for namespace, line in list(lines.items()):
                lines[namespace] = deque(item for item in line if wanted(item))
                self._length -= len(line) - len(lines[namespace])
                self._tidy(level, namespace)

    def _taken(self, level: int, namespace: str) -> _T:
        lines = self._levels[level]
        line = lines.pop(namespace)
        item = line.popleft()
        lines[namespace] = line  # now the last whose turn it is
        self._length -= 1
        self._tidy(level, namespace)
        return item

    def _tidy(self, level: int, namespace: str) -> None:
        lines = self._levels[level]
        if not lines[namespace]:
            del lines[namespace]
        if not lines:
            del self._levels[level]


def in_turn(items: Iterable[_T], flow_of: Callable[[_T], Flow]) -> list[_T]:
    """Return the items in the order in which they have their turn."""
    queue = FairQueue[_T]()
    ordered: list[_T] = []
    for item in items:
        queue.push(flow_of(item), item)
    while (item := queue.pop()) is not None:  # type: ignore[assignment] # None ends it, and is not an item
        ordered.append(item)
    return ordered
