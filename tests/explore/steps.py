"""What the operator does in a state, and everything that may come of it; the way of `engine/reconciler.py`, a step at a time."""

import itertools
from collections.abc import Iterator

from core import invariants
from core.simulator import World
from explore import outcomes, rules
from explore.nodes import Node
from incident_operator.core.effects import Effect
from incident_operator.core.machine import decisions, lookups, machine, status
from incident_operator.core.machine.decisions import Run
from incident_operator.core.outcomes import Outcome
from incident_operator.core.runbooks.compiled import CompiledStep
from incident_operator.core.status import present

_NO_POLICY = "approvals cannot be trusted: policy incident-approval is missing."
_MOST_TOGETHER = 2
"""Of more reads than these, one at a time goes wrong."""


def follow(node: Node) -> tuple[decisions.Decision | None, Iterator[Node]]:
    """Return what is decided, and the states that it leads to: the nominal one first, crashes last."""
    if node.acting is not None:
        return None, _act(node, node.acting)
    seen = node.view
    decision = machine.decide(seen)
    invariants.check_decision(seen, decision)
    return decision, _carried_out(node, decision)


def _carried_out(node: Node, decision: decisions.Decision) -> Iterator[Node]:
    match decision:
        case decisions.Transition(current):
            yield _known(node, "", node.world, current)
        case decisions.Read(runs):
            yield from _read(node, runs)
        case decisions.Ask(runs):
            yield from _ask(node, runs)
        case decisions.Begin():
            yield from _begin(node, decision)
        case decisions.Resume(run):
            yield from _resume(node, run)
        case decisions.Probe(run):
            yield from _probe(node, run)
        case _:
            world = node.world.copy()
            store(node, world, node.working)
            yield node.then("", world, world.stored.status)


def store(node: Node, world: World, current: status.IncidentStatus) -> None:
    """Store a status as it is told to people."""
    shown = present.present(world.view(current))
    invariants.check_shown(shown, shown)
    rules.check_told(node, shown)
    world.stored = world.stored.model_copy(update={"status": shown})
    world.moments += 1


def _known(node: Node, name: str, world: World, current: status.IncidentStatus) -> Node:
    invariants.check_facts(current)
    invariants.check_change(node.working, current)
    rules.check_approval(node, current)
    return node.then(name, world, current)


def _read(node: Node, runs: tuple[Run, ...]) -> Iterator[Node]:
    for ends in _together([tuple(outcomes.of_read(node.world.compiled.steps[run.step])) for run in runs]):
        current = node.world.read(node.view, runs, [end.outcome for end in ends])
        name = ", ".join(f"{run.record} {end.name}" for run, end in zip(runs, ends, strict=True))
        yield _known(node, name, node.world, current)


def _together(each: list[tuple[outcomes.End, ...]]) -> Iterator[tuple[outcomes.End, ...]]:
    if len(each) <= _MOST_TOGETHER:
        yield from itertools.product(*each)
        return
    yield tuple(ends[0] for ends in each)
    for place, ends in enumerate(each):
        for end in ends[1:]:
            yield tuple(end if at == place else others[0] for at, others in enumerate(each))


def _ask(node: Node, runs: tuple[Run, ...]) -> Iterator[Node]:
    for name, problem in (("asked", {}), *_PROBLEMS):
        world = node.world.copy()
        yield _known(node, name, node.world, _with(world, problem).ask(node.view, runs))


_PROBLEMS = (
    ("the policy is gone", {"policy_problem": _NO_POLICY}),
    ("the preview fails", {"preview_problem": "connection refused"}),
)


def _with(world: World, changes: dict[str, str]) -> World:
    for name, value in changes.items():
        setattr(world, name, value)
    return world


def _begin(node: Node, begin: decisions.Begin) -> Iterator[Node]:
    rules.check_begin(node, begin)
    world = node.world.copy()
    intended = world.intended(node.view, begin.run)
    store(node, world, intended.status)
    world.begun.add(begin.run.key)
    yield node.then(f"{begin.run.record} begins", world, world.stored.status, begin.run)
    if begin.approved is not None:
        drifted = ("the plan has drifted", {"preview_problem": "do this → do that"})
        for name, problem in (*_PROBLEMS, drifted):
            refused = _with(node.world.copy(), problem).refused(node.view, begin)
            assert refused is not None
            yield _known(node, name, node.world, refused)
    yield node.then("killed after the intent", world, world.stored.status)


def _act(node: Node, run: Run) -> Iterator[Node]:
    for end in outcomes.of_act(_effect(node, run)):
        yield from _ended(node, run, end, end.outcome)


def _resume(node: Node, run: Run) -> Iterator[Node]:
    known = node.world.markers.get(run.key)
    for end in outcomes.of_lookup(known, _effect(node, run)):
        yield from _ended(node, run, end, lookups.of_resumed(end.outcome))


def _ended(node: Node, run: Run, end: outcomes.End, outcome: Outcome) -> Iterator[Node]:
    world = node.world.copy()
    name = f"{run.record} {end.name}"
    if end.happened and run.key not in world.markers:
        rules.check_effect(node, run)
        # what is found later is what happened, although the answer was lost
        world.markers[run.key] = outcomes.found(end.outcome)
    yield _known(node, name, world, world.settled(node.view, run, outcome))
    if end.happened:
        yield node.then(f"{name}, killed", world, world.stored.status)


def _probe(node: Node, run: Run) -> Iterator[Node]:
    world = node.world.copy()
    world.probed = run.key in world.markers
    yield _known(node, "the probe tells", node.world, world.probe(node.view, run))
    cannot = world.take_in(node.view, run, outcomes.probe_fails(node.view, node.world.compiled.steps[run.step]))
    yield _known(node, "the probe cannot tell", node.world, cannot)


def _effect(node: Node, run: Run) -> Effect:
    step: CompiledStep = node.world.compiled.steps[run.step]
    return step.undo.effect if run.undo and step.undo is not None else step.effect
