"""Whose alerts: a Runbook takes those of its own namespace, told by a label, and none is more severe than its namespace may be.

The operator's settings name the label, the namespaces whose Runbooks take all alerts, and the ceilings of severity. An alert
without the label goes to those namespaces only, or to the one that is served where there is just one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core import texts
from incident_operator.core.alerts.matching import Matcher, Operator

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
        names, first = _names(runbooks), runbooks[0].namespace
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
        if not any(all(matcher.holds(labels) for matcher in on_label) for labels in self._of(namespace)):
            return f"It takes no alert: alerts of its own namespace have {own}, which match excludes."
        if any(_pins(matcher, namespace) for matcher in on_label):
            return ""
        alone = self.only == namespace
        without = " or without that label" if alone else ""
        once = ", once all its alerts have it," if alone else ""
        return (
            f"It takes only alerts with {own}{without}, because namespace {namespace} is not in globalNamespaces; "
            f"add {own} to match{once} to end this message."
        )

    def _of(self, namespace: str) -> list[dict[str, str]]:
        """Return what an alert of a namespace may say by the label."""
        return [{self.label: namespace}, *([{}] if self.only == namespace else [])]


def _names(runbooks: Sequence[ObjectKey]) -> str:
    shown = ", ".join(f"{key.namespace}/{key.name}" for key in runbooks[:_NAMED])
    beyond = len(runbooks) - _NAMED
    return f"{shown} and {beyond} more" if beyond > 0 else shown


def _pins(matcher: Matcher, namespace: str) -> bool:
    """Tell whether a matcher lets no other namespace in; of regular expressions only the name itself is known to."""
    return matcher.operator in {Operator.EQUAL, Operator.REGEX} and matcher.value == namespace
