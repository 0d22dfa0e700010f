"""Actions with `${…}` in their fields: prepared once, rendered from facts. Data enters as values and is never read again.

Every field is literal unless its action marks it, as in `Annotated[Params, Take.NATIVE]`, which holds for everything in the field: SQL and
PromQL text, patterns, connections, kinds, hosts and methods never hold data. `$${` stands for `${`. A field that is exactly one `${…}`
keeps the value's type where its field takes any value.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, get_args, get_origin
from urllib.parse import quote

import pydantic

from incident_operator.api.meta import Model, is_object_name
from incident_operator.core import argv, texts
from incident_operator.core.expressions import cel, evaluation, weight
from incident_operator.core.expressions.cel import CompileError, Facts, NoAnswer, Problem, Program, Scope

Path = tuple[str | int, ...]
"""The way to a field below its action, as written: ("params", "id") or ("command", 2)."""


class Take(Enum):
    """What a field does with interpolated values."""

    LITERAL = "nothing"
    NATIVE = "any value with its type"
    TEXT = "text"
    ARGUMENT = "text that Kubernetes expands"
    ARGV = "an argument"
    POD_ARGV = "an argument that Kubernetes expands"
    HEADER = "text on one line"
    URL_PATH = "percent-encoded path segments"
    LABEL = "a label value"
    NAME = "an object name"
    COUNT = "a whole number"


ANY = "*"
"""Stands for one part of a path: any key, any index."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A field of an action that takes values, and everything in it."""

    path: tuple[str, ...]
    """As written, below the action: ("headers",), or ("statements", ANY, "params")."""
    take: Take
    after: str = ""
    """For an argv: the list beside it that it goes on from, as a container's `args` go on from its `command`."""


class RefusedError(ValueError):
    """A value does not fit its field; the message says what would."""


ARGVS = frozenset({Take.ARGV, Take.POD_ARGV})
"""Fields whose elements become a command's arguments; what may stand where is in `core/argv.py`."""

_LITERAL = Rule((), Take.LITERAL)
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SHOWN = 60
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def take_of(rules: Iterable[Rule], path: Path) -> Take:
    """Return what a field of an action takes: the first rule for it, or for something around it."""
    return rule_of(rules, path).take


def rule_of(rules: Iterable[Rule], path: Path) -> Rule:
    """Return the first rule for a field, or for something around it; without one it is literal."""
    return next((rule for rule in rules if _covers(rule.path, path)), _LITERAL)


def _covers(pattern: tuple[str, ...], path: Path) -> bool:
    if len(pattern) > len(path):
        return False
    return all(wanted in (ANY, part) for wanted, part in zip(pattern, path, strict=False))


@lru_cache(maxsize=256)
def marked(model: type[Model]) -> tuple[Rule, ...]:
    """Return the rules that `Take` marks on the fields of a model, and of the models in it, stand for."""
    return tuple(_marked(model, ()))


def _marked(model: type[Model], above: tuple[str, ...]) -> Iterator[Rule]:
    for name, info in model.model_fields.items():
        path = (*above, info.alias or name)
        yield from (Rule(path, mark) for mark in info.metadata if isinstance(mark, Take))
        yield from _inside(info.annotation, path)


def _inside(annotation: Any, path: tuple[str, ...]) -> Iterator[Rule]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield from _marked(annotation, path)
    below = (*path, ANY) if get_origin(annotation) in {list, dict} else path
    for part in get_args(annotation):
        yield from _inside(part, below)


def piece(take: Take, value: Any) -> str:
    """Return an interpolated value as the piece of text that it becomes; raises `RefusedError`."""
    text = _text(value)
    match take:
        case Take.URL_PATH if not text:
            raise RefusedError("the value is empty, so the path would name something else")
        case Take.URL_PATH:
            return quote(text, safe="")
        case Take.ARGUMENT | Take.POD_ARGV:
            return text.replace("$", "$$")  # Kubernetes reads $(NAME) as a variable, and $$ as $
        case _:
            return text


def checked(take: Take, value: Any) -> Any:
    """Return the finished value of a field that held an interpolation; raises `RefusedError`."""
    check = _CHECKS.get(take)
    return value if check is None else check(value)


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case None:
            raise RefusedError("the value is null, and there is no text for it")
        case _:
            raise RefusedError(
                "a list or object is not a text; it fits only where the field is one ${…} and takes any value"
            )


def climbs(path: str) -> bool:
    """Tell whether a URL's path leaves the one that it is put below."""
    return not {".", ".."}.isdisjoint(re.split(r"[/?#]", path))


def _url_path(path: str) -> str:
    if climbs(path):
        raise RefusedError("the path would climb: a segment is . or ..")
    return path


def _header(text: str) -> str:
    if _CONTROL.search(text):
        raise RefusedError("a header is one line, without control characters")
    return text


def _label(text: str) -> str:
    if _LABEL_VALUE.fullmatch(text) is None:
        raise RefusedError(
            f"{texts.quoted(text, _SHOWN)} is not a valid label value (63 characters: letters, digits, - _ . inside)"
        )
    return text


def _name(text: str) -> str:
    if not is_object_name(text):
        raise RefusedError(
            f"{texts.quoted(text, _SHOWN)} is not a valid object name (lowercase letters, digits, - and .)"
        )
    return text


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RefusedError(
            f"{texts.quoted(json.dumps(value), _SHOWN)} is not a number of replicas (a whole number from 0 on)"
        )
    return value


_CHECKS: dict[Take, Callable[[Any], Any]] = {
    Take.URL_PATH: _url_path,
    Take.HEADER: _header,
    Take.LABEL: _label,
    Take.NAME: _name,
    Take.COUNT: _count,
}


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
        problem = cel.of_validation(error, template.at)
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
            return _leaf(node, take_of(rules, path), cel.field_of(prefix, path))
        case dict():
            return {
                key: _key_problem(key, cel.field_of(prefix, path)) or _entry(rules, node, (*path, key), prefix)
                for key in node
            }
        case list():
            return [_prepared(rules, item, (*path, index), prefix) for index, item in enumerate(node)]
        case _:
            return node


def _entry(rules: tuple[Rule, ...], node: dict[Any, Any], path: Path, prefix: str) -> Any:
    prepared = _prepared(rules, node[path[-1]], path, prefix)
    rule = rule_of(rules, (*path, 0))
    if rule.take not in ARGVS or not isinstance(prepared, list):
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
            return cel.of_expression(field, part)
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
        closed = weight.closing_brace(text, opened + len(_OPEN))
        if closed is None:
            yield cel.error_at(text, opened, "${ is never closed by }; write $${ for the text ${")
            return
        yield cel.compile_value(text[opened + len(_OPEN) : closed].strip(), Scope.STEP)
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
            return checked(slot.take, values[0])
        text = _rendered_text(slot, values)
        refusal = "" if slot.may_begin_with_dash else argv.refusal(text)
        value = checked(slot.take, text)
    except RefusedError as error:
        raise _CannotRender(RenderError(slot.field, str(error))) from error
    if refusal:
        raise _CannotRender(RenderError(slot.field, refusal))
    return value


def _rendered_text(slot: Slot, values: list[Any]) -> str:
    return "".join(
        part if isinstance(part, str) else piece(slot.take, found)
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
