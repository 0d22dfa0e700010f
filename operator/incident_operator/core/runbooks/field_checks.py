"""Checks that several actions make of their fields; an action names them in its declaration (`checks`)."""

from collections.abc import Iterator, Mapping

from incident_operator.core import patterns
from incident_operator.core.expressions.problems import Problem


def one_of(path: str, alternatives: Mapping[str, object]) -> Iterator[Problem]:
    """Require exactly one of some fields, name → value; None is one that is not written."""
    written = [name for name, value in alternatives.items() if value is not None]
    if len(written) != 1:
        several = len(alternatives) > 2
        expected = f"one of {', '.join(alternatives)}" if several else f"either {' or '.join(alternatives)}"
        found = " and ".join(written) or ("none" if several else "neither")
        yield Problem(path, f"needs {expected} (found {found})")


def selects(path: str, selector: Mapping[str, str] | None) -> Iterator[Problem]:
    """Require that a selector names a label; an empty one means everything."""
    if selector == {}:
        yield Problem(f"{path}.selector", "is empty, which would mean every object; name at least one label")


def is_pattern(path: str, pattern: str | None) -> Iterator[Problem]:
    """Require that a pattern, where there is one, is an RE2."""
    if pattern is None:
        return
    try:
        patterns.compiled(pattern)
    except patterns.PatternError as error:
        yield Problem(f"{path}.pattern", str(error))
