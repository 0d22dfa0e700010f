"""Which field of an action takes interpolated values, and what a value may be there.

Every field is literal unless it is marked: SQL and PromQL text, patterns, connections, kinds, hosts and methods never
hold data. An action marks its fields, `Annotated[Params, Take.NATIVE]`; a mark holds for everything in the field.
Nothing is parsed or evaluated here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, get_args, get_origin
from urllib.parse import quote

from incident_operator.api.meta import Model, is_object_name
from incident_operator.core import texts

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
