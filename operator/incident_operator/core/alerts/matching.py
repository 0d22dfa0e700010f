r"""Which alerts a Runbook takes: its matchers, whose alerts are whose, and what becomes of those that nobody takes.

Syntax of matchers: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>. A name or value may stand in double quotes,
where `\"`, `\\` and `\n` are escapes and any other backslash stays as it is (so `"web\.prod"` is a regular expression with
an escaped dot), as in Alertmanager's default mode.

A Runbook takes alerts of its own namespace, told by a label, and none is more severe than its namespace may be. The settings name the
label, the namespaces whose Runbooks take all alerts, and the ceilings of severity. An alert without the label goes to those namespaces
only, or to the one that is served where there is just one.

`Watchdog` always fires, so that its silence tells of a broken way: it is a heartbeat, whatever Runbook would match it. `InfoInhibitor`
always fires too, to keep others quiet. Rules of kube-prometheus bring both.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core import texts
from incident_operator.core.sanitize import PatternError, compiled_pattern


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
    end = value.end()
    if text[end:].startswith(","):
        return MatcherError("an item holds one matcher only; put the next one in its own item", end + 1)
    if end != len(text):
        return MatcherError(f"unexpected {text[end]!r} after the value; put the whole value in double quotes", end + 1)
    how, wanted = Operator(operator.group()), _content(value)
    if how in {Operator.EQUAL, Operator.NOT_EQUAL}:
        return Matcher(_content(name), how, wanted)
    try:
        return Matcher(_content(name), how, wanted, compiled_pattern(wanted))
    except PatternError as error:
        return MatcherError(str(error), operator.end() + 1)


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Return whether all matchers hold for these labels."""
    return all(matcher.holds(labels) for matcher in matchers)


def _content(word: re.Match[str]) -> str:
    if word["quoted"] is None:
        return word["bare"]
    return _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], word["quoted"])


def _no_value(text: str, end: int) -> MatcherError:
    rest = text[end:].lstrip()
    column = len(text) - len(rest) + 1
    if not rest:
        return MatcherError('expected a value; the empty one is written ""', column)
    if rest.startswith('"'):
        return MatcherError("the double quote is never closed", column)
    return MatcherError('expected a value; put it in double quotes, with \\" for a quote inside', column)


IGNORE = ('alertname="Watchdog"', 'alertname="InfoInhibitor"')
"""What is ignored unless the settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """What becomes of alerts that no Runbook takes."""

    namespace: str | None = None
    """Where they become Incidents; None only counts and logs them."""
    ignore: tuple[Matcher, ...] = ()
    """An alert for which any of these holds is only counted."""

    def ignores(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with these labels is nobody's trouble."""
        return any(matcher.holds(labels) for matcher in self.ignore)


def ignore_matchers(told: Iterable[str]) -> tuple[Matcher, ...]:
    """Return matchers as they are written in settings. Raises `ValueError`, whose message says what would be right."""
    matchers = []
    for text in told:
        found = parse(text)
        if isinstance(found, MatcherError):
            raise ValueError(f"{text!r}: {found.message} (column {found.column})")  # noqa: TRY004 # of what was written
        matchers.append(found)
    return tuple(matchers)


LABEL = "namespace"
_NAMED = 3
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class AlertScope:
    """What the settings say of it."""

    label: str = LABEL
    """The label of an alert that names its namespace."""
    global_namespaces: frozenset[str] = frozenset()
    """Namespaces whose Runbooks take alerts of every namespace, and of none."""
    only: str = ""
    """The one namespace that is served, where there is just one: an alert without the label is its."""
    ceilings: Mapping[str, Severity] = field(default_factory=dict)
    """Namespace → the worst that an Incident there may be; any where none is named."""

    def takes(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Tell whether Runbooks of a namespace may take an alert with these labels; an empty label says nothing."""
        return (labels.get(self.label) or self.only) == namespace or namespace in self.global_namespaces

    def severity(self, namespace: str, wanted: Severity) -> Severity:
        """Return a severity as it counts in a namespace: lowered where it is above the namespace's ceiling."""
        return max(wanted, self.ceilings.get(namespace, wanted))

    def lowered(self, namespace: str, wanted: Severity) -> str:
        """Return why a severity counts as a lower one, for people; empty where it does not."""
        counts = self.severity(namespace, wanted)
        if counts == wanted:
            return ""
        return f"{wanted} counts as {counts}, the highest severity that the operator's settings allow in {namespace} (severityCeiling)"

    def elsewhere(self, runbooks: Sequence[ObjectKey], labels: Mapping[str, str]) -> str:
        """Return why Runbooks that match an alert do not take it, and what helps; empty where there are none."""
        if not runbooks:
            return ""
        first, beyond = runbooks[0].namespace, len(runbooks) - _NAMED
        names = ", ".join(f"{key.namespace}/{key.name}" for key in runbooks[:_NAMED])
        names += f" and {beyond} more" if beyond > 0 else ""
        named = labels.get(self.label)
        has = f'has {self.label}="{texts.cut(texts.visible(named), _SHOWN)}"' if named else f"has no label {self.label}"
        match = f"Runbook {names} matches it" if len(runbooks) == 1 else f"Runbooks {names} match it"
        return (
            f"{match}, but a Runbook takes alerts of its own namespace only, and this one {has}. "
            f'Set {self.label}="{first}" on the alert (in its rule, or by external_labels), '
            f"or name {first} in globalNamespaces of the operator."
        )

    def restricts(self, namespace: str, matchers: Iterable[Matcher]) -> str:
        """Return which alerts a Runbook with these matchers does not get for its namespace alone; empty where it asks for no others."""
        if namespace in self.global_namespaces:
            return ""
        own = f'{self.label}="{namespace}"'
        on_label = [matcher for matcher in matchers if matcher.name == self.label]
        alone = self.only == namespace
        said: list[dict[str, str]] = [{self.label: namespace}, *([{}] if alone else [])]
        if not any(all(matcher.holds(labels) for matcher in on_label) for labels in said):
            return f"It takes no alert: alerts of its own namespace have {own}, which match excludes."
        # of regular expressions only the name itself is known to let no other namespace in
        pinning = {Operator.EQUAL, Operator.REGEX}
        if any(matcher.operator in pinning and matcher.value == namespace for matcher in on_label):
            return ""
        without = " or without that label" if alone else ""
        once = ", once all its alerts have it," if alone else ""
        return (
            f"It takes only alerts with {own}{without}, because namespace {namespace} is not in globalNamespaces; "
            f"add {own} to match{once} to end this message."
        )
