"""A Runbook half-way through the compiler: what every check looks at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from incident_operator.api.runbook import RunbookSpec, Stage, Step, WithAction
from incident_operator.core.action import Actions
from incident_operator.core.effects import Effect
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import parsing
from incident_operator.core.runbooks.compiled import CompiledStep
from incident_operator.core.runbooks.parsing import PlacedAction


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step and where it stands, its actions read."""

    step: Step
    stage: Stage
    path: str
    """E.g. `spec.mitigate[0]`."""
    act: PlacedAction
    undo: PlacedAction | None
    probe: PlacedAction | None

    @property
    def effect(self) -> Effect:
        """The effect class of its action."""
        return self.act.effect

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.effect is Effect.READ

    @property
    def actions(self) -> tuple[PlacedAction, ...]:
        """Its action, that of its undo, and that of its probe."""
        return tuple(each for each in (self.act, self.undo, self.probe) if each is not None)


@dataclass(frozen=True)
class Draft:
    """The Runbook as written, and as much of it as could be compiled."""

    spec: RunbookSpec
    steps: tuple[PlacedStep, ...]
    """All steps whose actions could be read, in the order in which they run."""
    compiled: tuple[CompiledStep, ...]
    """The steps whose expressions compile; the others are already told of."""
    connections: Mapping[str, str | None] | None
    """The Connections of the namespace, name → type; None where they are not known."""

    @cached_property
    def unread(self) -> frozenset[str]:
        """The names of steps whose actions could not be read: nothing is known of them, and they are already told of."""
        named = (step.name for stage in Stage for step in self.spec.steps(stage))
        return frozenset(named) - {placed.step.name for placed in self.steps}

    @cached_property
    def actions(self) -> tuple[PlacedAction, ...]:
        """All actions: of steps, undos and probes."""
        return tuple(action for step in self.steps for action in step.actions)


def placed(spec: RunbookSpec, actions: Actions) -> Iterator[PlacedStep | tuple[Problem, ...]]:
    """Yield every step with its place, in the order in which they run, or what keeps its actions from being read."""
    for stage in Stage:
        for index, step in enumerate(spec.steps(stage)):
            yield _placed(step, stage, f"spec.{stage.value}[{index}]", actions)


def carriers(step: Step, path: str) -> Iterator[tuple[str, WithAction]]:
    """Yield what carries an action, with its place: the step, its undo, its probe."""
    yield path, step
    if step.undo is not None:
        yield f"{path}.undo", step.undo
    if step.probe is not None:
        yield f"{path}.probe", step.probe


def _placed(step: Step, stage: Stage, path: str, actions: Actions) -> PlacedStep | tuple[Problem, ...]:
    read = {at: parsing.parse(carrier, at, actions) for at, carrier in carriers(step, path)}
    found = tuple(each for each in read.values() if isinstance(each, Problem))
    if found:
        return found
    good = {at: each for at, each in read.items() if isinstance(each, PlacedAction)}
    return PlacedStep(step, stage, path, good[path], good.get(f"{path}.undo"), good.get(f"{path}.probe"))
