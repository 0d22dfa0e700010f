"""Breadth-first walk through every state that an Incident can come to: whatever it decides, whatever happens."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from incident_operator.core.machine.view import Decision, Stop, Wait
from proofs.explore import patience, rules, steps
from proofs.explore.events import events
from proofs.explore.nodes import Node, key, told
from tests.core.machine.simulation import Simulation


@dataclass(slots=True)
class Walked:
    """What was found."""

    states: int = 0
    steps: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = True
    ends: dict[str, int] = field(default_factory=dict)
    """In which phases it comes to rest, and in how many states."""
    broken: dict[str, str] = field(default_factory=dict)
    """Rules that are broken, each with the nearest state that breaks it and how it came about."""

    def breaks(self, node: Node, error: AssertionError) -> None:
        """Note it, unless the same is known already."""
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        rule = str(error).partition(":")[0] or f"line {where.tb_lineno if where else 0}"
        self.broken.setdefault(rule, f"{error}\n  {told(node.path)}\n  {node.working.phase}: {node.working.message}")


def walk(
    start: Simulation,
    *,
    most: int | None = None,
    enough: int | None = None,
    resting: Callable[[Node], None] | None = None,
) -> Walked:
    """Visit every state, the nearest first; all of them, or `most`, or until so many rules are broken.

    `resting` is told every state in which the operator waits.
    """
    found, began = Walked(), time.perf_counter()
    first = Node(start, start.stored.status, None)
    seen = {key(first)}
    queue = deque([(first, 0)])
    known_to_end: set[int] = set()
    while queue:
        if (most is not None and found.states >= most) or (enough is not None and len(found.broken) >= enough):
            found.complete = False
            break
        node, depth = queue.popleft()
        found.states, found.depth = found.states + 1, depth
        for after in _following(node, found, known_to_end, resting or _nobody):
            found.steps += 1
            if (known := key(after)) not in seen:
                seen.add(known)
                queue.append((after, depth + 1))
    found.seconds = time.perf_counter() - began
    return found


def _nobody(_: Node) -> None:
    """Nobody listens."""


def _following(node: Node, found: Walked, known_to_end: set[int], resting: Callable[[Node], None]) -> list[Node]:
    try:
        decision, led = steps.follow(node)
        after = list(led)
    except AssertionError as error:
        found.breaks(node, error)
        return []
    if isinstance(decision, Wait | Stop):
        node, after = after[0], []
        resting(node)
        _check_rest(node, decision, found, known_to_end)
    # before the intent is stored, a turn is as good as not begun
    if node.stored and (node.turn is None or steps.BEGINS in node.turn.names):
        after += [_happened(node, name, event) for name, event in events(node)]
    return after


def _happened(node: Node, name: str, event: object) -> Node:
    simulation = node.simulation.copy()
    event(simulation)  # type: ignore[operator]
    return Node(simulation, simulation.stored.status if node.stored else node.working, (node.path, name), node.turn)


def _check_rest(node: Node, decision: Decision, found: Walked, known_to_end: set[int]) -> None:
    found.ends[node.working.phase.value] = found.ends.get(node.working.phase.value, 0) + 1
    try:
        rules.check_nothing_forged_counts(node, decision)
        if isinstance(decision, Wait):
            rules.check_resting(node, decision)
            patience.check(node, known_to_end)
    except AssertionError as error:
        found.breaks(node, error)
