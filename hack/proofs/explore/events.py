"""What happens outside while the operator waits, is away, or is about to act."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from incident_operator.api.incident import CLOSED_PHASES, Verb
from incident_operator.core import reasons
from incident_operator.core.machine.view import Blocked
from proofs.explore.nodes import Node, moments
from tests.core.machine.simulation import Simulation

Event = tuple[str, Callable[[Simulation], object]]
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
    now = node.simulation.now
    ahead = sorted({moment for moment in moments(node) if moment is not None and moment > now})
    for place, moment in enumerate(ahead):
        yield f"deadline {place + 1} comes", lambda simulation, until=moment: _clock(simulation, until - simulation.now)
    yield "a day passes", lambda simulation: _clock(simulation, DAY)
    yield "the clock is put back", lambda simulation: _clock(simulation, -BACK)


def _clock(simulation: Simulation, by: timedelta) -> None:
    simulation.now += by


def _alerts(node: Node) -> Iterator[Event]:
    spec = node.simulation.stored.spec
    if not spec.alerts:
        return
    if spec.resolved:
        yield "the alert returns", Simulation.fire
    else:
        yield "the alert resolves", Simulation.resolve
    if node.view.incident.is_over and len(spec.alerts) < MOST_ALERTS:
        yield "another alert comes", Simulation.another


def _people(node: Node) -> Iterator[Event]:
    pending, question = node.working.pending_approval, node.working.pending_answer
    if pending is not None:
        yield "approved", lambda simulation: simulation.annotate(Verb.APPROVE, pending.plan_hash[:12])
        yield "rejected", lambda simulation: simulation.annotate(Verb.REJECT, pending.plan_hash[:12])
    if question is not None and "retry" in question.verbs:
        yield "retried", lambda simulation: simulation.annotate(Verb.RETRY, question.token)
    if question is not None and "resolve" in question.verbs:
        for said in ("done", "not-done"):
            yield (
                f"said {said}",
                lambda simulation, said=said: simulation.annotate(Verb.RESOLVE, f"{question.token}={said}"),
            )
    yield "aborted", Simulation.abort
    if node.simulation.talks:
        yield "aborted with undo", Simulation.undo
        yield "acknowledged", Simulation.acknowledge
    if node.simulation.talks and not node.view.incident.is_over:
        yield "said to be over", Simulation.over


def _runbook(node: Node) -> Iterator[Event]:
    if node.simulation.gone is not None:
        yield "the Runbook is there again", lambda simulation: setattr(simulation, "gone", None)
        return
    yield "the Runbook is deleted", lambda simulation: setattr(simulation, "gone", DELETED)
    if not node.working.runbook_revision:
        yield "the Runbook is suspended", lambda simulation: setattr(simulation, "gone", SUSPENDED)
