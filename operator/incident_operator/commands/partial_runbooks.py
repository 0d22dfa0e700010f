"""The parts of a Runbook that can be read, where others are wrong: so that all layers of problems are told in one go.

An unknown field is left out. A step or parameter with anything else wrong in it is left as no more than its name, so that others
may still refer to it.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from incident_operator.api.meta import is_dns_label
from incident_operator.api.runbook import Stage
from incident_operator.commands.kinds import Way, Wrong
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Problem

_STAGES = frozenset(stage.value for stage in Stage)
_PLACEHOLDERS: Mapping[str, Any] = {"title": "unread", "serviceAccountName": "unread", "match": ["unread=unread"]}
"""For fields that a Runbook has to have."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is left of a Runbook."""

    raw: Mapping[str, Any]
    unread: frozenset[str] = frozenset()
    """Paths that were replaced; what is said of them now says nothing."""
    doubtful: Mapping[str, str] = field(default_factory=dict)
    """Path of a step → its name, where a field was left out that may be what the step lacks now."""

    def tells(self, problem: Problem) -> bool:
        """Tell whether a problem of this part is one of the whole Runbook, and not of what was left out."""
        if any(_within(problem.path, each) for each in self.unread):
            return False
        if any(f"spec.{name}" in self.unread for name in _STAGES) and problem.message.startswith("steps has no"):
            return False
        if "spec.parameters" in self.unread and problem.message.startswith("params has no"):
            return False
        if any(problem.message.startswith(f"outputs of {name} has no") for name in self.doubtful.values()):
            return False
        return bool(problem.excerpt) or not any(_within(problem.path, each) for each in self.doubtful)


def readable(value: Mapping[str, Any], wrong: Sequence[Wrong]) -> Part:
    """Return the Runbook with everything replaced or left out that stands in `wrong`."""
    metadata = value.get("metadata")
    named = {k: v for k, v in (metadata if isinstance(metadata, dict) else {}).items() if isinstance(v, str)}
    written = value.get("spec")
    spec: dict[str, Any] = copy.deepcopy(written) if isinstance(written, dict) else {}
    unknown = [each.way for each in wrong if each.message.startswith("unknown field")]
    unread = {_replaced(spec, each.way) for each in wrong if each.way not in unknown}
    doubtful = [_left_out(spec, way) for way in unknown]
    for name, placeholder in _PLACEHOLDERS.items():
        if name not in spec:
            spec[name] = placeholder
            unread.add(f"spec.{name}")
    raw = {**value, "metadata": {k: v for k, v in named.items() if k in {"name", "namespace"}}, "spec": spec}
    return Part(raw, frozenset(unread), dict(each for each in doubtful if each is not None))


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _left_out(spec: dict[str, Any], way: Way) -> tuple[str, str] | None:
    """Leave out a field; return the step that it stood in: path, name."""
    node: Any = spec
    for part in way[:-1]:
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and int(part) < len(node)
        node = node[part] if inside else {}
    if isinstance(node, dict):
        node.pop(way[-1], None)
    match way:
        case (str(stage), int(at), *_) if stage in _STAGES and _has(spec, stage, at):
            return cel.field_of("spec", (stage, at)), str(spec[stage][at].get("name"))
        case _:
            return None


def _replaced(spec: dict[str, Any], way: Way) -> str:
    """Replace the smallest part that can be read by itself; return its path."""
    match way:
        case (str(name), int(at), *_) if name in _STAGES | {"parameters"} and _has(spec, name, at):
            spec[name][at] = _named(spec[name][at], name, at)
            return cel.field_of("spec", (name, at))
        case (str(name), *_):
            spec.pop(name, None)
            return f"spec.{name}"
        case _:
            return "spec"


def _has(spec: Mapping[str, Any], name: str, at: int) -> bool:
    return isinstance(spec.get(name), list) and at < len(spec[name])


def _named(written: Any, name: str, at: int) -> dict[str, Any]:
    """Return no more than the name of a step or parameter."""
    found = written.get("name") if isinstance(written, dict) else None
    if name == "parameters":
        is_name = isinstance(found, str) and re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", found) is not None
        return {"name": found if is_name else f"unread_{at}", "type": "string", "default": "unread"}
    return {"name": found if isinstance(found, str) and is_dns_label(found) else f"unread-{at}"}
