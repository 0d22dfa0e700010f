"""Whether an Incident that is left alone comes to an end, or calls a person, within a day: whatever hangs."""

from collections.abc import Iterator
from datetime import timedelta

from incident_operator.api.incident import CLOSED_PHASES, Phase
from incident_operator.core.machine.view import Wait
from proofs.explore import steps
from proofs.explore.nodes import Node, key

LONGEST = timedelta(hours=24)
_TURNS = 600
_HURRY = timedelta(minutes=5)
"""What hangs is not looked at more often than this, to be done sooner."""


def check(node: Node, known_to_end: set[int]) -> None:
    """Check it with everything going well, and with every act hanging."""
    _alone(node, known_to_end, hanging=False)
    if any(record.state == "Running" for record in node.working.steps):
        _alone(node, known_to_end, hanging=True)


def _alone(node: Node, known_to_end: set[int], *, hanging: bool) -> None:
    gone: list[int] = []
    end = node.simulation.now + LONGEST
    for _ in range(_TURNS):
        if _is_over(node):
            break
        decision, led = steps.follow(node)
        if isinstance(decision, Wait):
            node = next(led)
            known = key(node)
            if not hanging and known in known_to_end:
                break
            gone.append(known)
            node = _later(node, decision, hanging=hanging)
            assert node.simulation.now <= end, f"waits for more than a day: {node.working.message}"
            continue
        node = _nominal(led, hanging=hanging)
    else:
        raise AssertionError(f"never comes to rest: {node.working.message}")
    if not hanging:
        known_to_end.update(gone)


def _is_over(node: Node) -> bool:
    return node.working.phase in CLOSED_PHASES or node.working.phase is Phase.NEEDS_HUMAN


def _later(node: Node, decision: Wait, *, hanging: bool) -> Node:
    assert decision.until is not None
    simulation = node.simulation.copy()
    simulation.now = max(decision.until, simulation.now + _HURRY) if hanging else decision.until
    return node.then("time passes", simulation, simulation.stored.status)


def _nominal(led: Iterator[Node], *, hanging: bool) -> Node:
    first = next(led)
    if not hanging:
        return first
    return next((node for node in led if node.path is not None and node.path[1].endswith("is not finished")), first)
