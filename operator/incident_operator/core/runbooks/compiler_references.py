"""Checks of names in expressions: steps, outputs, parameters, fields of `incident` and `result`."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from incident_operator.core.action import Action
from incident_operator.core.expressions import expr, problems
from incident_operator.core.expressions.expr_references import Reference
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import compiled
from incident_operator.core.runbooks.compiled import CompiledStep, Placed
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep

_INCIDENT = frozenset({"name", "severity", "resolved", "alerts"})
_STEP = frozenset({"state", "outputs"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an expression may name where it stands."""

    params: frozenset[str]
    steps: Mapping[str, PlacedStep]
    """All steps."""
    places: Mapping[str, int]
    """Which of the steps each is, in the order in which they run."""
    answered: int
    """How many of them have answers by then."""
    action: Action[Any]
    """The action whose `result` it sees."""
    unread: frozenset[str] = frozenset()
    """Steps of which nothing is known but their names."""

    def has_answer(self, name: str) -> bool:
        """Tell whether the answers of a step are there."""
        return self.places.get(name, self.answered) < self.answered


def names_exist(draft: Draft) -> Iterator[Problem]:
    """Require that every name in an expression is there when it is evaluated; a wrong one would only show at night."""
    params = frozenset(parameter.name for parameter in draft.spec.parameters)
    every = {placed.step.name: placed for placed in reversed(draft.steps)}
    places = {placed.step.name: at for at, placed in reversed(list(enumerate(draft.steps)))}
    running = {placed.path: at for at, placed in enumerate(draft.steps)}
    for step in draft.compiled:
        # reads that run together wait for those that they name
        before = running[step.path]
        for placed in compiled.step_expressions(step):
            yield from _wrong_names(
                placed, _Seen(params, every, places, before, _result_of(step, placed), draft.unread)
            )
        for placed in compiled.undo_expressions(step):
            yield from _wrong_names(placed, _Seen(params, every, places, before + 1, step.act.action, draft.unread))


def _result_of(step: CompiledStep, placed: Placed) -> Action[Any]:
    if step.probe is not None and placed.path.startswith(f"{step.path}.probe."):
        return step.probe.act.action
    return step.act.action


def _wrong_names(placed: Placed, seen: _Seen) -> Iterator[Problem]:
    for reference in placed.program.references:
        message = _wrong_name(placed.program.source, reference, seen)
        if message:
            error = expr.error_at(placed.program.source, reference.offset, message)
            yield problems.of_expression(placed.path, error)


def _wrong_name(source: str, reference: Reference, seen: _Seen) -> str:
    match reference.root:
        case "steps":
            return _wrong_step(source, reference, seen)
        case "params":
            return _wrong_member(reference, seen.params, "a parameter", "params.date")
        case "incident":
            return _wrong_member(reference, _INCIDENT, "a field of incident", "incident.severity")
        case "result":
            return _wrong_result(reference, seen.action)
        case _:
            return ""


def _wrong_result(reference: Reference, action: Action[Any]) -> str:
    if not reference.path:
        return ""
    return _unknown(reference.path[0], action.result_names, f"the result of {action.key}")


def _wrong_member(reference: Reference, known: frozenset[str], what: str, example: str) -> str:
    if not reference.path:
        return f"{reference.root} needs the name of {what} after it, such as {example}"
    return _unknown(reference.path[0], known, reference.root)


def _unknown(name: str, known: Collection[str], where: str) -> str:
    if name in known:
        return ""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    told = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
    return f"{where} has no {name}; {told}"


def _wrong_step(source: str, reference: Reference, seen: _Seen) -> str:
    if not reference.path:
        return 'steps needs a fixed name, such as steps.packs or steps["pause-alerts"]'
    name = reference.path[0]
    if name in seen.unread:
        return ""
    if seen.has_answer(name):
        return _wrong_field(reference, seen.steps[name])
    if name in seen.steps:
        return f"{name} does not come before this step, so it has no answers yet"
    hyphenated = _hyphenated(source, reference, seen)
    if hyphenated:
        return f'a name with a hyphen is written steps["{hyphenated}"]'
    return _unknown(name, list(filter(seen.has_answer, seen.steps)), "steps")


def _hyphenated(source: str, reference: Reference, seen: _Seen) -> str | None:
    written = source[reference.offset :].partition(".")[2]
    return next((name for name in seen.steps if "-" in name and written.startswith(name)), None)


def _wrong_field(reference: Reference, placed: PlacedStep) -> str:
    name, *fields = reference.path
    if not fields:
        return ""
    if fields[0] not in _STEP:
        return _unknown(fields[0], _STEP, f"step {name}")
    if fields[0] == "outputs" and len(fields) > 1:
        return _unknown(fields[1], placed.step.outputs, f"outputs of {name}")
    return ""
