"""From a Runbook as the apiserver returns it to our model, or to what keeps it from being read. Raises nothing for any JSON.

Which actions there are is an argument: they are read out of what carries them, a step, an undo or a probe.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import pydantic

from incident_operator.api import runbook
from incident_operator.api.meta import Model, ObjectMeta
from incident_operator.api.runbook import Runbook, RunbookSpec, RunbookStatus, Stage, Step, WithAction
from incident_operator.core.action import Action, Actions
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.outcomes import Effect

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
            problem = cel.of_validation(error)
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
            return Problem(cel.field_of(path, way[:_TOLD]) + " …", f"is nested deeper than {DEPTH} levels")
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


@dataclass(frozen=True, slots=True)
class PlacedAction:
    """An action of a step, of its undo or of its probe, as written."""

    path: str
    """E.g. `spec.mitigate[0].undo.sqlExecute`."""
    action: Action[Any]
    spec: Model

    @property
    def key(self) -> str:
        """The action's key as written, e.g. `sqlExecute`."""
        return self.action.key

    @property
    def effect(self) -> Effect:
        """The effect class that these fields give it."""
        return self.action.effect_of(self.spec)


def written(carrier: WithAction, actions: Actions) -> list[Action[Any]]:
    """Return all actions that are written in one carrier; a valid one carries exactly one."""
    return [action for action in actions if carrier.others.get(action.key) is not None]


def parse(carrier: WithAction, path: str, actions: Actions) -> PlacedAction | Problem:
    """Return the one action of a carrier that stands at `path`, or what is wrong."""
    found = written(carrier, actions)
    if len(found) != 1:
        return Problem(path, f"exactly one action (found {', '.join(each.key for each in found) or 'none'})")
    action, place = found[0], f"{path}.{found[0].key}"
    raw = carrier.others[action.key]
    deep = too_deep(raw, place)
    if deep is not None:
        return deep
    try:
        return PlacedAction(place, action, action.model.model_validate(raw))
    except pydantic.ValidationError as error:
        return cel.of_validation(error, place)


@lru_cache(maxsize=8)
def whole_spec(actions: Actions) -> type[RunbookSpec]:
    """Return the model of a Runbook's spec with a field for each action, as the definition and the docs show it."""
    undo = _with_fields(runbook.Undo, actions)
    probe = _with_fields(runbook.Probe, actions)
    step = _with_fields(runbook.Step, actions, undo=(undo | None, None), probe=(probe | None, None))
    steps: Any = list[step]  # type: ignore[valid-type] # a model made just now
    stages: dict[str, Any] = {stage.value: (steps, copy(RunbookSpec.model_fields[stage.value])) for stage in Stage}
    return pydantic.create_model("RunbookSpec", __base__=RunbookSpec, __doc__=RunbookSpec.__doc__, **stages)


def _with_fields(carrier: type[WithAction], actions: Actions, **more: Any) -> type[WithAction]:
    fields: dict[str, Any] = {
        # the underscore keeps a key such as `copy` from hiding a method of the model
        f"{action.key}_": (action.model | None, pydantic.Field(default=None, alias=action.key))
        for action in actions
    }
    return pydantic.create_model(
        carrier.__name__,
        __base__=carrier,
        __doc__=carrier.__doc__,
        __cls_kwargs__={"extra": "ignore"},
        **fields,
        **more,
    )


def carriers(step: Step, path: str) -> Iterator[tuple[str, WithAction]]:
    """Yield what carries an action, with its place: the step, its undo, its probe."""
    yield path, step
    if step.undo is not None:
        yield f"{path}.undo", step.undo
    if step.probe is not None:
        yield f"{path}.probe", step.probe


def connections_of(spec: RunbookSpec, actions: Actions) -> frozenset[str]:
    """Return the names of the Connections in a Runbook's actions, undos and probes, as far as these can be read."""
    found = set()
    for step in (step for stage in Stage for step in spec.steps(stage)):
        for _, carrier in carriers(step, step.name):
            for action in written(carrier, actions):
                fields = carrier.others[action.key]
                named = (fields.get(each) for each in action.connections) if isinstance(fields, dict) else ()
                found |= {name for name in named if isinstance(name, str)}
    return frozenset(found)
