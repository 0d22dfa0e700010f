"""What the operator does in a state, and everything that may come of it: every answer to every request of the core.

`core/machine/carry_out.py` is driven here as the engine drives it, one request at a time, so that the operator may be killed and the
world may change between any two of them. A generator cannot be copied: it is run again with the answers that it had.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from incident_operator.api.incident import Incident, IncidentStatus
from incident_operator.core import reasons
from incident_operator.core.action import Preview
from incident_operator.core.machine import answers, carry_out, machine, status
from incident_operator.core.machine.carry_out import Do, How, Now, Ran, Request, Show, Store, Together, Trust
from incident_operator.core.machine.view import Begin, Decision, Probe, Stop, Transition, Wait
from incident_operator.core.outcomes import Effect, Failure, NotDone
from incident_operator.core.status import present
from proofs.explore import outcomes, rules
from proofs.explore.nodes import Node, Turn
from tests.core.machine import invariants
from tests.core.machine.simulation import Simulation

_NO_POLICY = "approvals cannot be trusted: policy incident-approval is missing."
BEGINS = "begins"
"""Of an act whose intent is stored."""
_MOST_TOGETHER = 2
"""Of more reads than these, one at a time goes wrong."""
_PREVIEWS: tuple[tuple[str, Preview | Failure], ...] = (
    ("cannot be previewed", Failure(reasons.NOT_FOUND, "there is no such Deployment")),
    ("cannot be previewed just now", Failure(reasons.CONNECTION_FAILED, "connection refused", retryable=True)),
)


def follow(node: Node) -> tuple[Decision | None, Iterator[Node]]:
    """Return what is decided, and the states that it leads to: the nominal one first, crashes last."""
    if node.turn is not None:
        return None, _next(node, node.turn)
    seen = node.view
    decision = machine.decide(seen)
    invariants.check_decision(seen, decision)
    if isinstance(decision, Wait | Stop):
        return decision, _rest(node)
    if isinstance(decision, Begin):
        rules.check_begin(node, decision)
    return decision, _next(node, Turn(seen, decision))


def _rest(node: Node) -> Iterator[Node]:
    simulation = node.simulation.copy()
    store(node, simulation, node.working)
    yield node.then("", simulation, simulation.stored.status)


def store(node: Node, simulation: Simulation, current: IncidentStatus) -> None:
    """Store a status as it is told to people."""
    shown, _ = present.present(simulation.view(current))
    invariants.check_shown(shown, shown)
    rules.check_told(node, shown)
    simulation.stored = simulation.stored.model_copy(update={"status": shown})
    simulation.moments += 1


def _next(node: Node, turn: Turn) -> Iterator[Node]:
    request = _asked(turn)
    match request:
        case IncidentStatus():
            yield _known(node, turn, request)
        case Trust():
            yield from _answered(node, turn, (("", ""), ("the policy is gone", _NO_POLICY)))
        case Now():
            yield from _answered(node, turn, (("", node.simulation.now),))
        case Show(call):
            yield from _answered(node, turn, _previews(node, turn, call.step))
        case Together(reads):
            yield from _together(node, turn, reads)
        case Store(current):
            yield from _stored(node, turn, current)
        case Do(how=How.RESERVE):
            refused = Ran(NotDone(2.0, "connection refused"), node.simulation.now)
            made = Ran(outcomes.WELL.outcome, node.simulation.now, reserved={"job": "made", "uid": "u-1"})
            yield from _answered(node, turn, (("", made), ("cannot be made just now", refused)))
        case Do():
            yield from _ran(node, turn, request)


def _asked(turn: Turn) -> Request | IncidentStatus:
    """Return what is asked for next, or what is known when nothing is."""
    steps = carry_out.carry_out(turn.view, turn.decision, nonce=str(len(turn.view.status.approvals)))
    answer: Any = None
    try:
        for given in (None, *turn.answers):
            answer = steps.send(given)
    except StopIteration as ended:
        return ended.value
    return answer


def _answered(node: Node, turn: Turn, given: Iterator[tuple[str, Any]] | tuple[tuple[str, Any], ...]) -> Iterator[Node]:
    for name, answer in given:
        yield node.goes_on(name, turn.having(name, answer))


def _known(node: Node, turn: Turn, current: IncidentStatus) -> Node:
    invariants.check_facts(current)
    invariants.check_change(node.working, current)
    rules.check_told_of_act(node, turn, current)
    rules.check_approval(node, current)
    return node.then("", node.simulation, current)


def _previews(node: Node, turn: Turn, step: str) -> Iterator[tuple[str, Any]]:
    yield "", node.simulation.preview(step)
    yield from _PREVIEWS
    if isinstance(turn.decision, Begin) and turn.decision.approved is not None:
        yield "the plan has drifted", Preview("do that", bound="that")


def _together(node: Node, turn: Turn, reads: tuple[Do, ...]) -> Iterator[Node]:
    if isinstance(turn.decision, Probe):
        key = turn.decision.run.key
        told = outcomes.probed(happened=key in node.simulation.markers)
        ends = [(told,), (outcomes.FAILS,)]
    else:
        ends = list(_combined([outcomes.of_read(node.simulation.compiled.steps[each.call.step]) for each in reads]))
    for each in ends:
        name = ", ".join(f"{read.call.step} {end.name}" for read, end in zip(reads, each, strict=True))
        yield node.goes_on(name, turn.having(name, [Ran(end.outcome, node.simulation.now) for end in each]))


def _combined(each: list[tuple[outcomes.End, ...]]) -> Iterator[tuple[outcomes.End, ...]]:
    if len(each) <= _MOST_TOGETHER:
        yield from itertools.product(*each)
        return
    yield tuple(ends[0] for ends in each)
    for place, ends in enumerate(each):
        for end in ends[1:]:
            yield tuple(end if at == place else others[0] for at, others in enumerate(each))


def _stored(node: Node, turn: Turn, current: IncidentStatus) -> Iterator[Node]:
    """The intent is stored: here the operator may be killed, and the world may change before the act."""
    before, now = turn.view.incident, node.simulation.stored
    if (before.spec, before.metadata) != (now.spec, now.metadata):
        yield node.then("superseded", node.simulation, node.working)
        return
    simulation = node.simulation.copy()
    simulation.gone = None  # the Runbook of a turn is the one that it began with
    store(node, simulation, current)
    simulation.gone = node.simulation.gone
    run = turn.decision.run  # type: ignore[union-attr]
    assert _is_again(turn) or run.key not in simulation.begun, "a key is begun once"
    simulation.begun.add(run.key)
    after = Node(simulation, simulation.stored.status, (node.path, f"{run.record} begins"))
    yield replace(after, turn=turn.having(BEGINS, simulation.stored))
    yield node.then("killed after the intent", simulation, simulation.stored.status)


def _ran(node: Node, turn: Turn, request: Do) -> Iterator[Node]:
    """An act, or a look at one."""
    call, simulation = request.call, node.simulation
    if request.how is How.LOOK:
        ends = outcomes.of_lookup(simulation.markers.get(call.key), under_way=call.key in simulation.under_way)
    elif _is_again(turn):
        rules.check_act(node, call, request.preview)
        ends = outcomes.of_another_try(simulation.markers.get(call.key), under_way=call.key in simulation.under_way)
    else:
        rules.check_act(node, call, request.preview)
        ends = outcomes.of_act(request.effect)
    for end in ends:
        yield from _ended(node, turn, request, end)


def _ended(node: Node, turn: Turn, request: Do, end: outcomes.End) -> Iterator[Node]:
    call, simulation = request.call, node.simulation.copy()
    name = f"{call.step} {end.name}"
    if end.happened and call.key not in simulation.markers:
        rules.check_effect(node, call.step, call.key)
        # what is found later is what happened, although the answer was lost
        simulation.markers[call.key] = outcomes.found(end.outcome)
        simulation.under_way.discard(call.key)
    if end.goes_on:
        simulation.under_way.add(call.key)
    if isinstance(end.outcome, NotDone) and not end.goes_on and request.how is How.LOOK:
        simulation.under_way.discard(call.key)
    after = Node(simulation, node.working, (node.path, name))
    yield replace(after, turn=turn.having(name, Ran(end.outcome, simulation.now)))
    if request.how is How.ACT and (noted := _noted(node, turn, simulation)) is not None:
        told = simulation.copy()
        told.stored = noted
        during = Node(told, noted.status, (node.path, f"{name}, the abort was heard"))
        yield replace(during, turn=turn.having("heard", Ran(end.outcome, simulation.now, incident=noted)))
    if end.happened or end.goes_on:
        yield node.then(f"{name}, killed", simulation, simulation.stored.status)


def _is_again(turn: Turn) -> bool:
    return isinstance(turn.decision, Begin) and turn.decision.again


def _noted(node: Node, turn: Turn, simulation: Simulation) -> Incident | None:
    """Return the Incident with an abort recorded that came while the act goes on; None where none did."""
    seen = replace(turn.view.with_incident(simulation.stored), now=simulation.now)
    noted = answers.aborted(seen)
    if not isinstance(noted, Transition) or status.aborted_by(simulation.stored.status) is not None:
        return None
    shown, _ = present.present(seen.with_status(noted.status))
    rules.check_told(node, shown)
    return simulation.stored.model_copy(update={"status": shown})


def effect_of(node: Node, record: str) -> Effect:
    """Return the effect class of a record."""
    return Effect(status.known(node.working, record).effect)
