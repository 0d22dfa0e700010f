"""Breadth-first exploration of the state machine: every event, in every state that can be reached, up to a bound.

Two worlds are the same node when nothing that a decision depends on differs: times count only as past or to come,
numbers of attempts and tokens not at all.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from core.simulator import World, failed, unfinished
from incident_operator.api.incident import CLOSED_PHASES, Phase, StepState
from incident_operator.core import approval
from incident_operator.core.effects import Effect
from incident_operator.core.machine import status
from incident_operator.core.outcomes import Outcome, Unknown
from incident_operator.core.runbooks.compiled import Compiled

Event = tuple[str, Callable[[World], object]]
BAD: tuple[tuple[str, Outcome], ...] = (
    ("fails", failed()),
    ("fails, may be tried again", failed(retryable=True)),
    ("fails after its effect", failed(effected=True)),
    ("is not finished", unfinished()),
    ("may have happened", Unknown("connection lost")),
)
BAD_READS = (BAD[0], BAD[3])
"""A read has no effect that could matter."""
LONGEST_SLEEP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Node:
    """A world at rest, and how it came about."""

    world: World
    again: datetime | None
    path: tuple[str, ...]


@dataclass(slots=True)
class Explored:
    """What was found."""

    nodes: list[Node]
    visits: int
    complete: bool


def explore(compiled: Compiled, start: World | None = None, *, most: int) -> Explored:
    """Visit every node that can be reached, the nearest first, until there are `most` of them."""
    first = start or World(compiled)
    found = Explored([], 0, complete=True)
    seen: set[Any] = set()
    queue = deque(_outcomes(first, ("created",), found))
    while queue:
        node = queue.popleft()
        key = _key(node)
        if key in seen:
            continue
        if len(found.nodes) >= most:
            found.complete = False
            return found
        seen.add(key)
        found.nodes.append(node)
        for name, happens in _events(node):
            world = node.world.copy()
            happens(world)
            queue.extend(_outcomes(world, (*node.path, name), found))
    return found


def _outcomes(world: World, path: tuple[str, ...], found: Explored) -> Iterator[Node]:
    """Yield what one visit can lead to: all goes well, each thing that runs goes wrong, and a crash at each moment."""
    well = replace(world.copy(), ran=[], snapshots=[])
    found.visits += 1
    again = _visited(well, path)
    crashed = well.snapshots or []
    well.snapshots = None
    yield Node(well, again, path)
    for moment, left in enumerate(crashed):
        yield Node(left, left.now, (*path, f"killed at moment {moment}"))
    for record in dict.fromkeys(well.ran):
        for name, outcome in _bad(well, record):
            other = world.copy()
            other.script[record] = [outcome]
            found.visits += 1
            yield Node(other, _visited(other, path), (*path, f"{record} {name}"))


def _bad(world: World, record: str) -> tuple[tuple[str, Outcome], ...]:
    known = status.find(world.status, record)
    return BAD_READS if known is not None and known.effect == Effect.READ else BAD


def _visited(world: World, path: tuple[str, ...]) -> datetime | None:
    try:
        return world.visit()
    except AssertionError as error:
        raise AssertionError(f"{' > '.join(path)}: {error}") from error


def _events(node: Node) -> Iterator[Event]:
    world = node.world
    if world.status.phase in CLOSED_PHASES:
        return
    if node.again is not None:
        yield "its moment comes", lambda w: _sleep(w, node.again)
    yield "a day passes", lambda w: _sleep(w, w.now + LONGEST_SLEEP)
    if world.stored.spec.alerts:
        yield ("fires again", World.fire) if world.stored.spec.resolved else ("resolves", World.resolve)
    if world.status.pending_approval is not None:
        yield "approved", World.approve
        yield "rejected", World.reject
    question = world.status.pending_answer
    if question is not None and "retry" in question.verbs:
        yield "retried", World.retry
    if question is not None and "resolve" in question.verbs:
        yield "said done", lambda w: w.tell("done")
        yield "said not done", lambda w: w.tell("not-done")
    yield "aborted", World.abort


def _sleep(world: World, until: datetime | None) -> None:
    assert until is not None
    world.now = max(world.now, until)


def _key(node: Node) -> Any:
    world, current = node.world, node.world.status
    ahead = _ahead(world.now)
    pending, question = current.pending_approval, current.pending_answer
    used = approval.active(current)
    steps = tuple(
        (r.state, r.undo, r.reason, bool(r.outputs), ahead(r.not_before), _known(world, r.key, r.state))
        for r in current.steps
    )
    asked = approval.times_expired(current, pending.steps[0]) if pending else 0
    return (
        current.phase,
        current.reason,
        steps,
        tuple(pending.steps) if pending else None,
        ahead(pending.expires_at) if pending else None,
        asked,
        (tuple(used.steps), ahead(used.expires_at)) if used else None,
        (question.step, tuple(question.verbs)) if question else None,
        world.stored.spec.resolved,
        node.again is None or node.again > world.now,
        "incidents.dev/abort" in world.stored.metadata.annotations,
    )


def _known(world: World, key: str | None, state: StepState) -> bool:
    return state is StepState.RUNNING and key in world.markers


def _ahead(now: datetime) -> Callable[[datetime | None], bool | None]:
    return lambda moment: None if moment is None else moment > now


def assert_never_stuck(node: Node) -> None:
    """Check that a node is closed, waits for a person with a question, or comes to one of these within a day alone."""
    world = node.world.copy().go(LONGEST_SLEEP)
    phase = world.status.phase
    assert phase in CLOSED_PHASES or phase is Phase.NEEDS_HUMAN, f"{' > '.join(node.path)}: {world.status.message}"


def assert_can_be_brought_to_an_end(node: Node) -> None:
    """Check that an Incident closes once the alert is gone, all works, and a person answers what is asked."""
    world = node.world.copy()
    if world.stored.spec.alerts:
        world.resolve()
    for _ in range(30):
        world.go(timedelta(minutes=9))
        if world.status.phase in CLOSED_PHASES:
            return
        if world.status.pending_approval is not None:
            world.approve()
        elif world.status.pending_answer is not None:
            _answer(world)
    raise AssertionError(f"{' > '.join(node.path)}: {world.status.message}")


def _answer(world: World) -> None:
    question = world.status.pending_answer
    assert question is not None
    if "retry" in question.verbs:
        world.retry()
        return
    world.tell("done")
