"""Reads the action out of what carries one: a step, an undo, a probe. Which actions there are is an argument."""

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pydantic

from incident_operator.api import runbook
from incident_operator.api.meta import Model
from incident_operator.api.runbook import RunbookSpec, Stage, WithAction
from incident_operator.core.action import Action, Actions
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import problems
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import reading


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
    deep = reading.too_deep(raw, place)
    if deep is not None:
        return deep
    try:
        return PlacedAction(place, action, action.model.model_validate(raw))
    except pydantic.ValidationError as error:
        return problems.of_validation(error, place)


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
