"""Checks of what may flow into an act: nothing that a sender of alerts wrote, nothing that changes by itself; and of SQL and PromQL."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from incident_operator.api.runbook import ParameterType
from incident_operator.core.expressions import cel, templates, weight
from incident_operator.core.expressions.cel import Problem, Program
from incident_operator.core.expressions.templates import Slot
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import compiled, statements
from incident_operator.core.runbooks.compiled import CompiledStep, Placed
from incident_operator.core.runbooks.draft import Draft

_TRUSTED = frozenset({"name", "severity", "resolved"})
"""Fields of `incident` that the operator itself wrote."""


def labels_enter_by_parameters_only(draft: Draft) -> Iterator[Problem]:
    """Require that an alert's texts reach an action, or an output, as declared and validated parameters only."""
    for step in draft.compiled:
        for placed in _values_of(step):
            named = [each.path for each in placed.program.references if each.root == "incident"]
            if any(not path or path[0] not in _TRUSTED for path in named):
                message = (
                    "incident.alerts holds text that any sender may have written; pass the value by a typed parameter"
                )
                yield Problem(placed.path, message)


def acts_render_the_same_again(draft: Draft) -> Iterator[Problem]:
    """Require that an act does not change with time: after a restart it has to be the one that was begun, and approved."""
    for step in draft.compiled:
        acts = list(compiled.undo_expressions(step))
        if step.act.effect is not Effect.READ:
            own = f"{step.path}.{step.act.key}"
            acts = [placed for placed in compiled.step_expressions(step) if placed.path.startswith(own)] + acts
        for placed in acts:
            if _changes_by_itself(placed.program):
                message = "changes over time, so after a restart the act would differ from the one that was started"
                yield Problem(placed.path, message)


def texts_reach_a_command_by_a_pattern(draft: Draft) -> Iterator[Problem]:
    """Require that a parameter of type string says what it may be before it, or an output made of it, is an argument."""
    texts = (each for each in draft.spec.parameters if each.type is ParameterType.STRING)
    unbounded = frozenset(each.name for each in texts if each.pattern is None and each.enum is None)
    behind: dict[str, Mapping[str, frozenset[str]]] = {}
    for step in draft.compiled:
        behind[step.step.name] = {name: _parameters([program], behind) for name, program in step.outputs.items()}
        for slot in _arguments_of(step):
            for name in sorted(unbounded & _parameters(slot.programs, behind)):
                told = f"parameter {name} may be any text, and here it is an argument of a command"
                yield Problem(slot.field, f"{told}; give it a pattern or an enum")


def _arguments_of(step: CompiledStep) -> Iterator[Slot]:
    undo = [step.undo.act] if step.undo is not None else []
    probe = [step.probe.act] if step.probe is not None else []
    for act in (step.act, *undo, *probe):
        yield from (slot for slot in act.template.slots if slot.take in templates.ARGVS)


def _parameters(programs: Iterable[Program], behind: Mapping[str, Mapping[str, frozenset[str]]]) -> frozenset[str]:
    """Return the parameters that expressions name, themselves or by outputs of steps.

    `behind` tells the same of each output of the steps before: each expression is looked through once.
    """
    named = {(reference.root, reference.path) for program in programs for reference in program.references}
    names = {path[0] for root, path in named if root == "params" and path}
    for root, path in named:
        if root == "steps":
            names.update(*_outputs(path, behind))
    return frozenset(names)


def _outputs(path: tuple[str, ...], behind: Mapping[str, Mapping[str, frozenset[str]]]) -> Collection[frozenset[str]]:
    """Return what is behind each of the outputs that `steps.NAME.outputs.X` or `steps.NAME.outputs` means."""
    match path:
        case (name, "outputs", output, *_) if output in behind.get(name, {}):
            return [behind[name][output]]
        case (name,) | (name, "outputs") if name in behind:
            return behind[name].values()
        case _:
            return []


def _values_of(step: CompiledStep) -> Iterator[Placed]:
    for placed in compiled.step_expressions(step):
        if placed.path.startswith((f"{step.path}.outputs.", f"{step.path}.{step.act.key}", f"{step.path}.probe.")):
            yield placed
    yield from compiled.undo_expressions(step)


def _changes_by_itself(program: Program) -> bool:
    listed = list(weight.tokens(program.source))
    calls_now = any(token.text == "now" and following.text == "(" for token, following in itertools.pairwise(listed))
    asks = any(ref.root == "incident" and ref.path[:1] == ("resolved",) for ref in program.references)
    return calls_now or asks


_MARKER = "marker"
"""Bound by an action that leaves one, to the step key."""


@dataclass(frozen=True, slots=True)
class Sql:
    """An SQL text of an action."""

    path: str
    """E.g. `spec.mitigate[0].sqlExecute.statement`."""
    text: str
    allowed: frozenset[str]
    """First keywords: `statements.READING` or `statements.CHANGING`."""
    params: Mapping[str, Any]
    marked: bool = True
    """Whether the action binds the marker."""


def sql(text: Sql) -> Iterator[Problem]:
    """Require one statement of an allowed kind, a value for every placeholder, and that the marker's name is free."""
    if wrong := statements.complaint("", text.text, text.allowed):
        yield Problem(text.path, wrong.removeprefix(": "))
    second = statements.second_statement(text.text)
    if second is not None:
        yield _at(text, second, "a second statement begins here; list several under statements of sqlExecute")
    in_quotes = statements.in_quotes(text.text)
    for placeholder in statements.placeholders(text.text):
        message = _complaint(text, placeholder, quoted=in_quotes(placeholder.offset))
        if message:
            yield _at(text, placeholder.offset, message)
    if text.marked and _MARKER in text.params:
        where = f"{text.path.removesuffix('statement')}params.{_MARKER}"
        yield Problem(where, f"is taken: %({_MARKER})s is bound to the step key; choose another name")


def promql(path: str, query: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    """Require a value for every placeholder of a query."""
    for placeholder in statements.placeholders(query):
        if placeholder.name is not None and placeholder.name not in params:
            error = cel.error_at(query, placeholder.offset, f"params has no {placeholder.name}")
            yield cel.of_expression(path, error)


def _complaint(text: Sql, placeholder: statements.Placeholder, *, quoted: bool) -> str:
    name = placeholder.name
    if name is None:
        return "a percent sign in SQL is written %%; a value is written %(name)s"
    if name not in text.params and not (text.marked and name == _MARKER):
        return f"params has no {name}"
    if quoted:
        return f"%({name})s is inside quotes; a bound value needs none"
    return ""


def _at(text: Sql, offset: int, message: str) -> Problem:
    return cel.of_expression(text.path, cel.error_at(text.text, offset, message))
