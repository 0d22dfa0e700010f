"""What happens outside while the operator waits, is away, or is about to act."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from core.simulator import World
from explore.nodes import Node, moments
from incident_operator.api.incident import CLOSED_PHASES, Verb
from incident_operator.core import reasons
from incident_operator.core.machine.view import Blocked

Event = tuple[str, Callable[[World], object]]
MOST_ALERTS = 3
DAY = timedelta(hours=24)
BACK = timedelta(hours=1)
DELETED = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook that this Incident follows was deleted.")
SUSPENDED = Blocked(reasons.RUNBOOK_SUSPENDED, "Runbook rb is suspended (spec.suspend); nothing was done.")


def events(node: Node) -> Iterator[Event]:
    """Yield everything that can happen in a state."""
    if node.working.phase in CLOSED_PHASES:
        return
    yield from _time(node)
    yield from _alerts(node)
    yield from _people(node)
    yield from _runbook(node)


def _time(node: Node) -> Iterator[Event]:
    now = node.world.now
    ahead = sorted({moment for moment in moments(node) if moment is not None and moment > now})
    for place, moment in enumerate(ahead):
        yield f"deadline {place + 1} comes", lambda world, until=moment: _clock(world, until - world.now)
    yield "a day passes", lambda world: _clock(world, DAY)
    yield "the clock is put back", lambda world: _clock(world, -BACK)


def _clock(world: World, by: timedelta) -> None:
    world.now += by


def _alerts(node: Node) -> Iterator[Event]:
    spec = node.world.stored.spec
    if not spec.alerts:
        return
    if spec.resolved:
        yield "the alert returns", World.fire
    else:
        yield "the alert resolves", World.resolve
    if node.view.incident.is_over and len(spec.alerts) < MOST_ALERTS:
        yield "another alert comes", World.another


def _people(node: Node) -> Iterator[Event]:
    pending, question = node.working.pending_approval, node.working.pending_answer
    if pending is not None:
        yield "approved", lambda world: world.annotate(Verb.APPROVE, pending.plan_hash[:12])
        yield "rejected", lambda world: world.annotate(Verb.REJECT, pending.plan_hash[:12])
    if question is not None and "retry" in question.verbs:
        yield "retried", lambda world: world.annotate(Verb.RETRY, question.token)
    if question is not None and "resolve" in question.verbs:
        for said in ("done", "not-done"):
            yield f"said {said}", lambda world, said=said: world.annotate(Verb.RESOLVE, f"{question.token}={said}")
    yield "aborted", World.abort
    if node.world.talks:
        yield "aborted with undo", World.undo
        yield "acknowledged", World.acknowledge
    if node.world.talks and not node.view.incident.is_over:
        yield "said to be over", World.over


def _runbook(node: Node) -> Iterator[Event]:
    if node.world.gone is not None:
        yield "the Runbook is there again", lambda world: setattr(world, "gone", None)
        return
    yield "the Runbook is deleted", lambda world: setattr(world, "gone", DELETED)
    if not node.working.runbook_revision:
        yield "the Runbook is suspended", lambda world: setattr(world, "gone", SUSPENDED)
