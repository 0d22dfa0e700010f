r"""Alertmanager matchers: their syntax, and whether they hold for an alert's labels.

Syntax: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>. A name or value may stand in double quotes,
where `\"`, `\\` and `\n` are escapes and any other backslash stays as it is (so `"web\.prod"` is a regular expression with
an escaped dot), as in Alertmanager's default mode. Grouping is not here but in `core/alerts/grouping.py`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from incident_operator.core import patterns


class Operator(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; an absent label has the empty value."""

    name: str
    operator: Operator
    value: str
    pattern: Any = None
    """The compiled RE2 of a regular expression, which has to match the whole value."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether the condition is true of these labels."""
        actual = labels.get(self.name, "")
        match self.operator:
            case Operator.EQUAL:
                return actual == self.value
            case Operator.NOT_EQUAL:
                return actual != self.value
            case Operator.REGEX:
                return self.pattern.fullmatch(actual) is not None
            case Operator.NOT_REGEX:
                return self.pattern.fullmatch(actual) is None


@dataclass(frozen=True, slots=True)
class MatcherError:
    """Why a text is not a valid matcher."""

    message: str
    """What was expected, and what would be right."""
    column: int
    """Where in the text, counted from 1."""


_WORD = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s{}!=~,\\"\'`]+))\s*', re.DOTALL)
_OPERATOR = re.compile("=~|!~|!=|=")
_ESCAPE = re.compile(r'\\([\\"n])')
_EXAMPLE = 'write for example severity=~"critical|page"'


def parse(text: str) -> Matcher | MatcherError:
    """Read one matcher such as `severity=~"critical|page"`; never raises."""
    name = _WORD.match(text)
    if name is None or not _content(name):
        return MatcherError(f"expected a label name; {_EXAMPLE}", 1)
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        return MatcherError(f"expected =, !=, =~ or !~ after the label name; {_EXAMPLE}", name.end() + 1)
    value = _WORD.match(text, operator.end())
    if value is None:
        return _no_value(text, operator.end())
    if value.end() != len(text):
        return _left_over(text, value.end())
    return _matcher(_content(name), Operator(operator.group()), _content(value), operator.end() + 1)


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Return whether all matchers hold for these labels."""
    return all(matcher.holds(labels) for matcher in matchers)


def _content(word: re.Match[str]) -> str:
    if word["quoted"] is None:
        return word["bare"]
    return _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], word["quoted"])


def _matcher(name: str, operator: Operator, value: str, column: int) -> Matcher | MatcherError:
    if operator in {Operator.EQUAL, Operator.NOT_EQUAL}:
        return Matcher(name, operator, value)
    try:
        return Matcher(name, operator, value, patterns.compiled(value))
    except patterns.PatternError as error:
        return MatcherError(str(error), column)


def _no_value(text: str, end: int) -> MatcherError:
    rest = text[end:].lstrip()
    column = len(text) - len(rest) + 1
    if not rest:
        return MatcherError('expected a value; the empty one is written ""', column)
    if rest.startswith('"'):
        return MatcherError("the double quote is never closed", column)
    return MatcherError('expected a value; put it in double quotes, with \\" for a quote inside', column)


def _left_over(text: str, end: int) -> MatcherError:
    if text[end] == ",":
        return MatcherError("an item holds one matcher only; put the next one in its own item", end + 1)
    return MatcherError(f"unexpected {text[end]!r} after the value; put the whole value in double quotes", end + 1)
