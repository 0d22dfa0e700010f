"""Actions with `${…}` in their fields: prepared once, rendered from facts. Data enters as values and is never read again.

`$${` stands for `${`. A field that is exactly one `${…}` keeps the value's type where its field takes any value.
Which field takes what is in `render_fields`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pydantic

from incident_operator.api.meta import Model
from incident_operator.core import argv
from incident_operator.core.expressions import evaluation, expr, expr_references, problems, render_fields
from incident_operator.core.expressions.expr import CompileError, Facts, NoAnswer, Program, Scope
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.expressions.render_fields import Path, Rule, Take

_OPEN = "${"


@dataclass(frozen=True, slots=True)
class Slot:
    """A field with interpolations."""

    field: str
    """Its path, e.g. `spec.mitigate[0].sqlExecute.params.id`."""
    take: Take
    parts: tuple[str | Program, ...]
    may_begin_with_dash: bool = True
    """False for an argument that a command would take for an option."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """The expressions in it."""
        return tuple(part for part in self.parts if isinstance(part, Program))


@dataclass(frozen=True, slots=True)
class Template:
    """An action as written, its expressions compiled."""

    at: str
    """Its path, e.g. `spec.mitigate[0].sqlExecute`."""
    model: type[Model]
    tree: Any
    """The action as JSON, with a `Slot` or a `Problem` in place of every text that holds `${`."""
    constant: Model | None = None
    """What it is rendered to whatever the facts are, where it holds no `${…}`."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The fields with interpolations, in order."""
        return tuple(leaf for leaf in _leaves(self.tree) if isinstance(leaf, Slot))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it; a template with problems is not to be rendered."""
        return tuple(leaf for leaf in _leaves(self.tree) if isinstance(leaf, Problem))


@dataclass(frozen=True, slots=True)
class RenderError:
    """An action cannot be rendered from these facts."""

    field: str
    message: str


class _CannotRender(Exception):
    """Carries the error out of the walk."""

    def __init__(self, error: RenderError) -> None:
        super().__init__(error.message)
        self.error = error


def prepare(spec: Model, rules: tuple[Rule, ...], at: str) -> Template:
    """Compile every `${…}` of an action.

    `rules` say where one may stand; `at` is the action's path, e.g. `spec.mitigate[0].sqlExecute`, for problems.
    """
    tree = _prepared(rules, spec.model_dump(by_alias=True), (), at)
    return Template(at, type(spec), tree, _constant(type(spec), tree))


def render(template: Template, facts: Facts, now: datetime) -> Model | RenderError:
    """Return the action with every value in its place, validated again. Never raises for what the facts hold."""
    try:
        return template.model.model_validate(_filled(template.tree, facts, now))
    except _CannotRender as stopped:
        return stopped.error
    except pydantic.ValidationError as error:
        problem = problems.of_validation(error, template.at)
        return RenderError(problem.path, problem.message)


def _constant(model: type[Model], tree: Any) -> Model | None:
    if any(isinstance(leaf, Slot | Problem) for leaf in _leaves(tree)):
        return None
    try:
        return model.model_validate(tree)
    except pydantic.ValidationError:
        return None  # told when it is rendered


def _prepared(rules: tuple[Rule, ...], node: Any, path: Path, prefix: str) -> Any:
    match node:
        case str() if _OPEN in node:
            return _leaf(node, render_fields.take_of(rules, path), problems.field(prefix, path))
        case dict():
            return {
                key: _key_problem(key, problems.field(prefix, path)) or _entry(rules, node, (*path, key), prefix)
                for key in node
            }
        case list():
            return [_prepared(rules, item, (*path, index), prefix) for index, item in enumerate(node)]
        case _:
            return node


def _entry(rules: tuple[Rule, ...], node: dict[Any, Any], path: Path, prefix: str) -> Any:
    prepared = _prepared(rules, node[path[-1]], path, prefix)
    rule = render_fields.rule_of(rules, (*path, 0))
    if rule.take not in render_fields.ARGVS or not isinstance(prepared, list):
        return prepared
    before = _prepared(rules, node.get(rule.after), (*path[:-1], rule.after), prefix)
    return _arguments(before if isinstance(before, list) else [], prepared)


def _arguments(before: list[Any], prepared: list[Any]) -> list[Any]:
    """Return the elements of an argv that begins with `before`, with a problem in place of data that may not stand there."""
    elements = [_element(leaf) for leaf in (*before, *prepared)]
    wrong, dash = dict(argv.wrong(elements)), argv.may_begin_with_dash(elements)
    return [_argument(leaf, wrong.get(at, ""), dash=dash[at]) for at, leaf in enumerate(prepared, len(before))]


def _argument(leaf: Any, wrong: str, *, dash: bool) -> Any:
    if not isinstance(leaf, Slot):
        return leaf
    return Problem(leaf.field, wrong) if wrong else replace(leaf, may_begin_with_dash=dash)


def _element(leaf: Any) -> argv.Element:
    match leaf:
        case Slot():
            return tuple(part if isinstance(part, str) else None for part in leaf.parts)
        case Problem():
            return (None,)
        case _:
            return (str(leaf),)


def _key_problem(key: object, field: str) -> Problem | None:
    if isinstance(key, str) and _OPEN in key:
        return Problem(field, f"the key {key!r} holds ${{…}}; only values may")
    return None


def _leaf(text: str, take: Take, field: str) -> Slot | Problem | str:
    if take is Take.LITERAL:
        return Problem(field, "is taken as it is written, so it cannot hold ${…}; pass the value by a parameter")
    found: list[str | Program] = []
    for part in _parts(text):
        if isinstance(part, CompileError):
            return problems.of_expression(field, part)
        found.append(part)
    if not any(isinstance(part, Program) for part in found):
        return "".join(str(part) for part in found)
    if take is Take.COUNT and len(found) > 1:
        return Problem(field, "has to be one ${…} without text around it")
    return Slot(field, take, tuple(found))


def _parts(text: str) -> Iterator[str | Program | CompileError]:
    """Split a text into literal pieces and compiled expressions, in order."""
    position = 0
    while (opened := text.find(_OPEN, position)) >= 0:
        if text[position:opened].endswith("$"):
            yield text[position : opened - 1] + _OPEN
            position = opened + len(_OPEN)
            continue
        if opened > position:
            yield text[position:opened]
        closed = expr_references.closing_brace(text, opened + len(_OPEN))
        if closed is None:
            yield expr.error_at(text, opened, "${ is never closed by }; write $${ for the text ${")
            return
        yield expr.compile_value(text[opened + len(_OPEN) : closed].strip(), Scope.STEP)
        position = closed + 1
    if position < len(text):
        yield text[position:]


def _filled(node: Any, facts: Facts, now: datetime) -> Any:
    match node:
        case Slot():
            return _slot_value(node, facts, now)
        case dict():
            return {key: _filled(item, facts, now) for key, item in node.items()}
        case list():
            return [_filled(item, facts, now) for item in node]
        case _:
            return node


def _slot_value(slot: Slot, facts: Facts, now: datetime) -> Any:
    values = [_part_value(slot, part, facts, now) for part in slot.parts]
    try:
        if len(values) == 1 and slot.take in {Take.NATIVE, Take.COUNT}:
            return render_fields.checked(slot.take, values[0])
        text = _text(slot, values)
        refusal = "" if slot.may_begin_with_dash else argv.refusal(text)
        value = render_fields.checked(slot.take, text)
    except render_fields.RefusedError as error:
        raise _CannotRender(RenderError(slot.field, str(error))) from error
    if refusal:
        raise _CannotRender(RenderError(slot.field, refusal))
    return value


def _text(slot: Slot, values: list[Any]) -> str:
    return "".join(
        part if isinstance(part, str) else render_fields.piece(slot.take, found)
        for part, found in zip(slot.parts, values, strict=True)
    )


def _part_value(slot: Slot, part: str | Program, facts: Facts, now: datetime) -> Any:
    if isinstance(part, str):
        return part
    found = evaluation.value(part, facts, now)
    if isinstance(found, NoAnswer):
        raise _CannotRender(RenderError(slot.field, found.why))
    return found


def _leaves(node: Any) -> Iterator[Any]:
    match node:
        case dict():
            for item in node.values():
                yield from _leaves(item)
        case list():
            for item in node:
                yield from _leaves(item)
        case _:
            yield node
