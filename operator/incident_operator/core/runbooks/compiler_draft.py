"""A Runbook half-way through the compiler: what every check looks at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from incident_operator.api.actions import ACTION_KEYS, ActionHolder
from incident_operator.api.connection import ConnectionType
from incident_operator.api.meta import Model
from incident_operator.api.runbook import RunbookSpec, Stage, Step
from incident_operator.core import effects
from incident_operator.core.effects import Effect
from incident_operator.core.runbooks.compiled import CompiledStep


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step and where it stands."""

    step: Step
    stage: Stage
    path: str
    """E.g. `spec.mitigate[0]`."""

    @property
    def effect(self) -> Effect:
        """The effect class of its action."""
        return effects.of(*self.step.action)

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.effect is Effect.READ


@dataclass(frozen=True, slots=True)
class PlacedAction:
    """An action of a step, of its undo or of its probe."""

    path: str
    """E.g. `spec.mitigate[0].undo.sqlExecute`."""
    key: str
    spec: Model


@dataclass(frozen=True)
class Draft:
    """The Runbook as written, and as much of it as could be compiled."""

    spec: RunbookSpec
    compiled: tuple[CompiledStep, ...]
    """The steps whose expressions compile; the others are already told of."""
    connections: Mapping[str, ConnectionType] | None
    """The Connections of the namespace; None where they are not known."""

    @cached_property
    def steps(self) -> tuple[PlacedStep, ...]:
        """All steps as written, in the order in which they run."""
        return tuple(placed(self.spec))

    @cached_property
    def actions(self) -> tuple[PlacedAction, ...]:
        """All actions: of steps, undos and probes."""
        return tuple(action for step in self.steps for action in _actions(step))


def placed(spec: RunbookSpec) -> Iterator[PlacedStep]:
    """Yield every step with its place, in the order in which they run."""
    for stage in Stage:
        for index, step in enumerate(spec.steps(stage)):
            yield PlacedStep(step, stage, f"spec.{stage.value}[{index}]")


def holders(step: PlacedStep) -> Iterator[tuple[str, ActionHolder]]:
    """Yield what carries an action, with its place: the step, its undo, its probe."""
    yield step.path, step.step
    if step.step.undo is not None:
        yield f"{step.path}.undo", step.step.undo
    if step.step.probe is not None:
        yield f"{step.path}.probe", step.step.probe


def action_keys(holder: ActionHolder) -> list[str]:
    """Return the keys of all actions that a holder carries; a valid one carries exactly one."""
    return [key for key, field in ACTION_KEYS.items() if getattr(holder, field) is not None]


def _actions(step: PlacedStep) -> Iterator[PlacedAction]:
    for path, holder in holders(step):
        key, spec = holder.action
        yield PlacedAction(f"{path}.{key}", key, spec)
