"""States of an Incident as they differ for the machine: times count by their order from now on, nonces not at all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from incident_operator.api.incident import CLOSED_PHASES, IncidentStatus, Phase, StepRecord, StepState, Verb
from incident_operator.api.meta import delta
from incident_operator.core import approval
from incident_operator.core.machine import start_and_end, status, view
from incident_operator.core.machine.view import View
from incident_operator.core.runbooks import limits
from tests.core.machine.simulation import Simulation

Path = tuple["Path", str] | None
"""How a state came about, the newest event first."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A decision that is being carried out: what it began with, and the answers that it has had."""

    view: View
    decision: view.Turn
    answers: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    """Of the answers, for telling two turns apart."""

    def having(self, name: str, answer: Any) -> "Turn":
        """Return the same with one more answer."""
        return replace(self, answers=(*self.answers, answer), names=(*self.names, name))


@dataclass(frozen=True, slots=True)
class Node:
    """A moment between two steps of the operator. Nothing in it is ever changed: a step works on a copy."""

    simulation: Simulation
    working: IncidentStatus
    """What the operator knows; beyond what is stored where it is in the middle of a reconciliation."""
    path: Path
    turn: Turn | None = None
    """What this very process is in the middle of; a crash forgets it."""

    @property
    def stored(self) -> bool:
        """Whether a crash would lose nothing."""
        return self.working is self.simulation.stored.status

    @property
    def view(self) -> View:
        """What the machine sees."""
        return self.simulation.view(self.working)

    def then(self, name: str, simulation: Simulation, working: IncidentStatus) -> "Node":
        """Return what follows when this happens; nothing is in the middle then."""
        return Node(simulation, working, (self.path, name))

    def goes_on(self, name: str, turn: Turn) -> "Node":
        """Return the same state with one more answer to the turn."""
        return Node(self.simulation, self.working, (self.path, name), turn)


def told(path: Path) -> str:
    """Return the way to a state in the order in which it was gone."""
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(name)
    return " > ".join(reversed(names))


def moments(node: Node) -> list[datetime | None]:
    """Return every moment that a decision may be compared with, always in the same order."""
    current = node.working
    pending, used = current.pending_approval, approval.active(current)
    found = [moment for record in current.steps for moment in _moments_of(node.simulation, record)]
    found += [pending.expires_at if pending else None, used.expires_at if used else None]
    waits = current.runbook_revision and not any(r.state not in status.FINISHED for r in current.steps)
    return [*found, start_and_end.resolve_deadline(node.view) if waits and node.simulation.gone is None else None]


def key(node: Node) -> int:
    """Return the same number for two states that no decision tells apart."""
    simulation, current, now = node.simulation, node.working, node.simulation.now
    at = moments(node)
    order = {moment: place for place, moment in enumerate(sorted({each for each in at if each and each > now}), 1)}
    question, used = current.pending_answer, approval.active(current)
    stopped = current.phase in CLOSED_PHASES or current.phase is Phase.NEEDS_HUMAN
    return hash(
        (
            node.stored,
            (type(node.turn.decision).__name__, node.turn.names) if node.turn else None,
            getattr(status.abort(current), "token", None),
            simulation.gone is not None,
            (simulation.stored.spec.resolved, node.view.incident.is_over),
            (current.phase, current.reason) if stopped else None,
            bool(current.runbook_revision),
            tuple(_told_apart(node, record) for record in current.steps),
            tuple(order.get(moment, 0) if moment else -1 for moment in at),
            tuple(current.pending_approval.steps) if current.pending_approval else None,
            (tuple(used.steps), tuple(entry.step for entry in used.plan)) if used else None,
            (question.step, tuple(question.verbs)) if question else None,
            _unanswered(current),
            tuple(_said(node)),
        )
    )


def _moments_of(simulation: Simulation, record: StepRecord) -> Iterator[datetime | None]:
    yield record.not_before
    step = simulation.compiled.steps[record.name.removeprefix("undo-")]
    if record.state is StepState.PENDING and record.since is not None:
        yield record.since + limits.timeout(step, record.action) + limits.GRACE
        return
    if record.state is not StepState.RUNNING or record.started_at is None:
        yield None
        return
    until = step.step.until
    yield record.started_at + (delta(until.for_) if until else limits.timeout(step, record.action) + limits.GRACE)


def _told_apart(node: Node, record: StepRecord) -> Any:
    step = node.simulation.compiled.steps[record.name.removeprefix("undo-")]
    outcome = node.simulation.markers.get(record.key or "") if record.state is StepState.RUNNING else None
    return (
        record.name,
        record.state,
        record.undo,
        record.reason if record.state is StepState.SKIPPED else "",
        tuple(sorted((record.outputs or {}).items())),
        min(record.failures, limits.attempts(step)),
        record.since is not None,
        record.key in node.simulation.under_way if record.state is StepState.RUNNING else None,
        outcome and type(outcome).__name__,
    )


def _unanswered(current: IncidentStatus) -> Any:
    first = current.approvals[-1].steps[:1] if current.approvals else []
    return (first[0], min(approval.times_expired(current, first[0]), approval.MAX_ASKS)) if first else None


def _said(node: Node) -> Iterator[str]:
    """Yield what people have written that still says something."""
    annotations = node.simulation.stored.metadata.annotations
    pending, question = node.working.pending_approval, node.working.pending_answer
    for verb in (Verb.APPROVE, Verb.REJECT):
        found = approval.answer(annotations, verb)
        if pending is not None and found is not None and approval.answers_plan(found, pending):
            yield verb.value
    for verb in (Verb.RETRY, Verb.RESOLVE):
        found = approval.answer(annotations, verb)
        if question is not None and found is not None and found.token.partition("=")[0] == question.token:
            yield f"{verb.value} {found.token.partition('=')[2]}"
    recorded, over = status.abort(node.working), approval.answer(annotations, Verb.OVER)
    found = approval.answer(annotations, Verb.ABORT)
    if found is not None and (recorded is None or recorded.token != found.token):
        yield f"abort {found.token}"
    known = node.working.over
    if over is not None and recorded is None and (known is None or int(over.token) > known.alerts):
        yield f"over {len(node.simulation.stored.spec.alerts) - int(over.token)}"
