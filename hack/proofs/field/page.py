"""docs/field.md: one row for each test of tests/proofs/field, told by the first sentence of its docstring."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pytest

_OUTCOMES = {"passed": "as promised", "failed": "**failed**", "skipped": "skipped"}
_SENTENCE = re.compile(r"(.+?[.!?])(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One test that ran."""

    group: str
    """First sentence of its module, without the full stop."""
    promise: str
    """First sentence of its docstring, and the case where it has several."""
    outcome: str
    """As pytest names it: passed, failed, skipped."""
    seconds: float
    """With its fixtures."""


class Rows:
    """A plugin of pytest that gathers the rows while the tests run."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str]] = {}
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read what the tests say of themselves."""
        for item in items:
            self._told[item.nodeid] = (_group(item), promise(item))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep how each part of a test went."""
        self._reports.setdefault(report.nodeid, []).append(report)

    @property
    def all(self) -> list[Row]:
        """A row for each test that ran, in the order in which they did."""
        return [Row(*self._told[name], outcome(made), duration(made)) for name, made in self._reports.items()]


def promise(item: pytest.Item) -> str:
    """Return what a test promises: its docstring's first sentence, or its name; with the case where it has several."""
    told = first_sentence(getattr(item, "obj", None).__doc__ or "") or item.name.partition("[")[0].replace("_", " ")
    case = item.callspec.id if hasattr(item, "callspec") else ""
    return f"{told.rstrip('.')}: {case}" if case else told


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, on one line."""
    found = _SENTENCE.match(text.strip())
    return " ".join((found[1] if found else text).split())


def outcome(reports: Sequence[pytest.TestReport]) -> str:
    """Return the worst of a test's parts."""
    found = {report.outcome for report in reports}
    return next(each for each in ("failed", "skipped", "passed") if each in found)


def duration(reports: Sequence[pytest.TestReport]) -> float:
    """Return how many seconds it took, with its fixtures."""
    return sum(report.duration for report in reports)


def _group(item: pytest.Item) -> str:
    module = getattr(item, "module", None)
    return first_sentence(module.__doc__ or "").rstrip(".") if module else item.nodeid


def tables(rows: Sequence[Row]) -> str:
    """A heading and a table for each module, in Markdown that is readable on a terminal too."""
    parts = []
    for group, found in groupby(rows, key=lambda row: row.group):
        lines = [f"| {row.promise} | {_OUTCOMES[row.outcome]} | {row.seconds:.0f} |" for row in found]
        parts.append("\n".join([f"## {group}", "", "| | outcome | seconds |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def kubernetes(version: str) -> str:
    """Return the apiserver's version from what `kubectl version -o json` printed."""
    try:
        return f"Kubernetes {json.loads(version)['serverVersion']['gitVersion'].removeprefix('v')}"
    except (ValueError, KeyError):
        return "unknown Kubernetes"


def page(rows: Sequence[Row], date: str, commit: str, versions: str) -> str:
    """Return docs/field.md."""
    return _PAGE.format(date=date, commit=commit, versions=versions, tables=tables(rows))


_PAGE = """# In the field: what was made to happen for real

Written by `make field` on {date}, {commit} ({versions}).
Each row is a test on a real cluster that makes what it names happen, by the controllers, the kubelet and the admission that do it
elsewhere, and looks at what the operator says. They are too slow for `make test`. Seconds are with setting up and taking away.

{tables}
"""
