"""Reads manifests as the cluster would, and remembers where everything stands: each document as JSON, with line and column.

kubectl reads YAML 1.1 as go-yaml v2 does, and makes JSON of it: `y`, `n`, `yes`, `no`, `on` and `off` are booleans, `0755` is octal, `12:30`
and a date stay texts, and a key that is not a text is made one: `n` becomes `false`. What it would send without a word is told all the
same where nobody can have meant it: a key that is set twice, or becomes another.
"""

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from incident_operator.core import texts
from incident_operator.core.expressions import cel

_BOOLEANS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_FINITE = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "nan"),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), "inf"),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), "-inf"),
}
_KEYS_OF_NOT_FINITE = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}
_DATE = re.compile(r"[0-9]{4}-")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])_(?=[0-9])")
_LARGEST, _SMALLEST = 2**64 - 1, -(2**63)
_WHOLE = 2.0**63
"""A whole float below this is an integer to the cluster: JSON does not tell them apart."""
_SINGLE_DIGITS = 9
"""That tell any float of 32 bits from its neighbours."""


def value_of(word: str) -> Any:
    """Return what an unquoted word is: a boolean, None, an int, a float (maybe not finite), or the text itself. Never raises."""
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word in _NULLS:
        return None
    if word in _NOT_FINITE:
        return float(_NOT_FINITE[word])
    if word[0] == ".":
        return _float(_BETWEEN_DIGITS.sub("", word), word)
    if word[0] not in "+-0123456789" or _DATE.match(word):
        return word
    return _number(word)


def key_of(value: Any) -> str | None:
    """Return the text that a key becomes; None where the cluster takes no such key."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value < 2**63 else None
        case float():
            return _KEYS_OF_NOT_FINITE.get(repr(value)) or _single(value)
        case _:
            return None


def in_json(value: Any) -> Any:
    """Return a value as JSON has it once it was written and read: a whole float is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE else value


def is_boolean_word(word: str) -> bool:
    """Tell whether an unquoted word is read as a boolean and does not look like one: `y`, `no`, `on`."""
    return word in _BOOLEANS and word.lower() not in {"true", "false"}


def _number(word: str) -> Any:
    plain = word.replace("_", "")
    found = _INTEGER.fullmatch(plain)
    if found is None:
        return _float(plain, word)
    sign, *digits = found.groups()
    number = next(int(each, base) for each, base in zip(digits, (16, 8, 2, 10), strict=True) if each is not None)
    number = -number if sign == "-" else number
    if _SMALLEST <= number <= (_LARGEST if not sign else 2**63 - 1):
        return number
    return _float(plain, word)


def _float(plain: str, word: str) -> Any:
    number = float(plain) if _FLOAT.fullmatch(plain) else math.inf
    return number if math.isfinite(number) else word


def _single(value: float) -> str:
    """Write a float as Go does with 32 bits and as few digits as tell it."""
    single = _rounded(value)
    digits = next(n for n in range(1, _SINGLE_DIGITS + 1) if _rounded(float(f"{value:.{n - 1}e}")) == single)
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    return f"{value:.{max(digits - 1 - exponent, 0)}f}" if -4 <= exponent < 6 else scientific


def _rounded(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


MOST_NODES = 200_000
"""Of one document, aliases followed: one that grows beyond is meant to exhaust a memory."""
_SEPARATOR = re.compile(r"^---[^\S\n]*(?:#.*)?$", re.MULTILINE)
_TAGS = {"bool": bool, "int": int, "float": float, "null": type(None)}
_PREFIX = "tag:yaml.org,2002:"
_PLAIN = "plain"
"""The tag of an unquoted word here: what it is, `yaml_words` says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the text itself."""

    message: str
    place: Place
    excerpt: str = ""
    """The line with a caret under the place, where there is one."""
    harmless: bool = False
    """Whether the text may be meant as it is read."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file."""

    value: Any
    """As JSON; None where it cannot be read, or there is none."""
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict)
    """Path, e.g. `spec.mitigate[0].scale`, → where its key or item stands."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Path → the word as written, of what is unquoted and not read as a text."""
    remarks: tuple[Remark, ...] = ()

    def place_of(self, path: str) -> Place:
        """Return where a path stands, or the nearest above it that is written."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.place


def documents(text: str) -> Iterator[Document]:
    """Yield the documents of a text, YAML or JSON, as kubectl parts them; what cannot be read is one with a remark. Raises nothing."""
    found = _whole(text) if text.lstrip()[:1] in {"{", "["} else None
    if found is not None:
        yield found
        return
    lines = list(_SEPARATOR.finditer(text))
    starts, ends = [0, *(line.end() for line in lines)], [*(line.start() for line in lines), len(text)]
    for start, end in zip(starts, ends, strict=True):
        yield from _of_part(text[start:end], text.count("\n", 0, start))


def _whole(text: str) -> Document | None:
    """Return what is JSON; None for anything else."""
    try:
        value = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    # a tab stands between tokens only, and YAML takes none there
    read = next(iter(_of_part(text.replace("\t", " "), 0)), Document(value, Place(1, 1)))
    return Document(value, read.place, read.places, read.words, read.remarks)


def _integer(digits: str) -> int | float:
    """Return a number of JSON as the cluster holds it: one that takes more than 64 bits is a float."""
    number = value_of(digits)
    return number if isinstance(number, int) else float(digits)


def _of_part(text: str, lines: int) -> Iterator[Document]:
    for number, node in enumerate(_nodes(text)):
        reading = _Reading(lines)
        if isinstance(node, Remark):
            at = Place(node.place.line + lines, node.place.column)
            yield Document(None, at, remarks=(Remark(node.message, at, node.excerpt),))
            return
        if number:
            told = "kubectl does not read this; a document begins after a line that says --- and nothing else"
            reading.remarks.append(Remark(told, reading.place(node)))
        yield reading.document(node)


def _nodes(text: str) -> Iterator[yaml.Node | Remark]:
    try:
        try:
            yield from list(yaml.compose_all(text, _FastLoader))
        except yaml.YAMLError:
            yield from yaml.compose_all(text.rstrip(), _Loader)  # slower, but it shows the line
    except yaml.MarkedYAMLError as error:
        yield _marked(error)
    except (yaml.YAMLError, ValueError) as error:
        yield Remark(f"not YAML: {texts.visible(' '.join(str(error).split()))}", Place(1, 1))
    except RecursionError:
        yield Remark("is nested too deep", Place(1, 1))


def _marked(error: yaml.MarkedYAMLError) -> Remark:
    told = ", ".join(each for each in (error.context, error.problem) if each)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Remark(f"not YAML: {texts.visible(told)}", Place(1, 1))
    snippet = texts.visible_page(mark.get_snippet(indent=2) or "")
    return Remark(f"not YAML: {texts.visible(told)}", Place(mark.line + 1, mark.column + 1), snippet)


class _Resolving:
    """Leaves to `yaml_words` what an unquoted word is."""

    def resolve(self, kind: type[yaml.Node], _value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return f"{_PREFIX}map" if kind is yaml.MappingNode else f"{_PREFIX}seq"
        return _PLAIN if implicit[0] else f"{_PREFIX}str"


class _Loader(_Resolving, yaml.SafeLoader):
    pass


class _FastLoader(_Resolving, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


class _Refused(Exception):
    """A document that kubectl does not read either; the remark says why."""

    def __init__(self, remark: Remark) -> None:
        super().__init__(remark.message)
        self.remark = remark


class _Reading:
    """Makes JSON of the nodes of one document."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.places: dict[str, Place] = {}
        self.words: dict[str, str] = {}
        self.remarks: list[Remark] = []
        self._nodes = 0
        self._inside: list[yaml.Node] = []

    def document(self, node: yaml.Node) -> Document:
        """Return the document; without a value where kubectl would not read it."""
        try:
            value = self._value(node, "")
        except _Refused as refused:
            return Document(None, self.place(node), remarks=(*self.remarks, refused.remark))
        except RecursionError:
            deep = Remark("is nested too deep", self.place(node))
            return Document(None, self.place(node), remarks=(*self.remarks, deep))
        return Document(value, self.place(node), self.places, self.words, tuple(self.remarks))

    def place(self, node: yaml.Node) -> Place:
        """Return where a node begins."""
        return Place(node.start_mark.line + 1 + self.lines, node.start_mark.column + 1)

    def _value(self, node: yaml.Node, path: str) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._refused(node, "is too large when its aliases are expanded")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if any(each is node for each in self._inside):
            raise self._refused(node, "an anchor may not contain itself")
        self._inside.append(node)
        made = self._list(node, path) if isinstance(node, yaml.SequenceNode) else self._map(node, path)
        self._inside.pop()
        return made

    def _list(self, node: yaml.SequenceNode, path: str) -> list[Any]:
        made = []
        for at, item in enumerate(node.value):
            where = cel.field_of(path, (at,))
            self.places[where] = self.place(item)
            made.append(self._value(item, where))
        return made

    def _map(self, node: yaml.Node, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        firsts: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                made |= self._merged(value_node, path)
                continue
            key = self._key(key_node)
            if key in firsts:
                told = f"key {texts.line(key)} is already set in line {firsts[key]}"
                self.remarks.append(Remark(told, self.place(key_node)))
            firsts.setdefault(key, self.place(key_node).line)
            where = cel.field_of(path, (key,))
            self.places[where] = self.place(key_node)
            made[key] = self._value(value_node, where)
        return made

    def _merged(self, node: yaml.Node, path: str) -> dict[str, Any]:
        listed = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(each, yaml.MappingNode) for each in listed):
            raise self._refused(node, "<< takes a map, or a list of maps")
        made: dict[str, Any] = {}
        for each in reversed(listed):
            made |= self._value(each, path)
        return made

    def _key(self, node: yaml.Node) -> str:
        value = self._scalar(node, "") if isinstance(node, yaml.ScalarNode) else None
        key = key_of(value)
        if key is None:
            raise self._refused(node, "a key has to be a text; put it in quotes")
        if node.tag == _PLAIN and key != node.value:
            told = f"the key {texts.line(node.value)} is read as {_said(value)}, so it becomes {texts.line(key)}"
            self.remarks.append(Remark(f"{told}; put it in quotes", self.place(node)))
        return key

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        value = self._resolved(node)
        if not path:
            return value
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refused(node, f"{node.value} is not a number that JSON has")
        if node.tag == _PLAIN and value is not None and not isinstance(value, str):
            self.words[path] = node.value
            if is_boolean_word(node.value):
                told = f"{node.value} is read as {_said(value)}"
                written = f'write {str(value).lower()}, or "{node.value}" for the text'
                self.remarks.append(Remark(f"{told}; {written}", self.place(node), harmless=True))
        return in_json(value)

    def _resolved(self, node: yaml.ScalarNode) -> Any:
        if node.tag == _PLAIN:
            return value_of(node.value)
        kind = node.tag.removeprefix(_PREFIX)
        if kind == "binary":
            return self._decoded(node)
        if kind not in _TAGS:
            return node.value
        value = value_of(node.value)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, _TAGS[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise self._refused(node, f"{texts.line(node.value)} is not a {kind}")
        return value

    def _decoded(self, node: yaml.ScalarNode) -> str:
        try:
            return base64.b64decode("".join(node.value.split()), validate=True).decode(errors="replace")
        except binascii.Error:
            raise self._refused(node, "!!binary is not valid base64") from None

    def _refused(self, node: yaml.Node, told: str) -> _Refused:
        return _Refused(Remark(f"not YAML that kubectl reads: {told}", self.place(node)))


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return "null" if value is None else f"the number {in_json(value)}"
