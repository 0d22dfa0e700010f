"""From a Runbook as the apiserver returns it to our model, or to what keeps it from being read. Raises nothing for any JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pydantic

from incident_operator.api.meta import ObjectMeta
from incident_operator.api.runbook import Runbook, RunbookStatus
from incident_operator.core.expressions import problems
from incident_operator.core.expressions.problems import Problem

DEPTH = 64
"""Levels of `spec`. The steps take six, a Pod template about ten; more is a mistake, or meant to exhaust a stack."""
SPEC_BYTES = 256 * 1024
"""Of `spec` as JSON: five times what the largest Runbook that we know takes."""
_TOLD = 12
"""Parts of a path that are told."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A Runbook that cannot be read: somebody applied it while the definition was another one, or nested it without end."""

    metadata: ObjectMeta
    status: RunbookStatus
    problem: Problem


def runbook_of(raw: Mapping[str, Any]) -> Runbook | Malformed:
    """Return the Runbook, or why it cannot be read. What is nested too deep is told before anything recurses over it."""
    problem = too_deep(raw.get("spec"), "spec") or _too_large(raw.get("spec"))
    if problem is None:
        try:
            return Runbook.model_validate(raw)
        except pydantic.ValidationError as error:
            problem = problems.of_validation(error)
    return malformed(raw, problem)


def malformed(raw: Mapping[str, Any], problem: Problem) -> Malformed:
    """Return a Runbook that is not read, for what is wrong with it; `raw` has at least its metadata and status."""
    return Malformed(_metadata(raw), _status(raw), problem)


def over_budget(size: int) -> Problem:
    """Return the problem of a spec of so many bytes."""
    told = f"has {size} bytes; a Runbook may have {SPEC_BYTES} at most"
    return Problem(
        "spec",
        f"{told}; split it, or move long texts to a place where they are reviewed: an image, a database function",
    )


def too_deep(value: Any, path: str) -> Problem | None:
    """Return where a JSON value is nested deeper than 64 levels, or None. Does not recurse itself."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while waiting:
        node, way = waiting.pop()
        if not isinstance(node, dict | list):
            continue
        if len(way) >= DEPTH:
            return Problem(problems.field(path, way[:_TOLD]) + " …", f"is nested deeper than {DEPTH} levels")
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        waiting += [(item, (*way, key)) for key, item in entries]
    return None


def _too_large(spec: Any) -> Problem | None:
    size = len(orjson.dumps(spec, default=str, option=orjson.OPT_NON_STR_KEYS))
    return over_budget(size) if size > SPEC_BYTES else None


def _metadata(raw: Mapping[str, Any]) -> ObjectMeta:
    try:
        return ObjectMeta.model_validate(raw.get("metadata") or {})
    except pydantic.ValidationError:
        return ObjectMeta()


def _status(raw: Mapping[str, Any]) -> RunbookStatus:
    try:
        return RunbookStatus.model_validate(raw.get("status") or {})
    except pydantic.ValidationError:
        return RunbookStatus()
