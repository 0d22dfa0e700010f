"""A Runbook ready to run: every expression compiled, every action prepared. Plain data; it is made in `compiler.py`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from incident_operator.api.meta import Model
from incident_operator.api.runbook import Runbook, RunbookSpec, Stage, Step
from incident_operator.core.action import Action
from incident_operator.core.alerts.matching import Matcher
from incident_operator.core.expressions.cel import Problem, Program
from incident_operator.core.expressions.templates import Template
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.parameters import CompiledParameter


@dataclass(frozen=True, slots=True)
class CompiledAction:
    """One action of a step."""

    action: Action[Any]
    spec: Model
    """As written, not rendered."""
    effect: Effect
    template: Template

    @property
    def key(self) -> str:
        """The action's key as written, e.g. `sqlExecute`."""
        return self.action.key


@dataclass(frozen=True, slots=True)
class CompiledUndo:
    """What takes a step's effect back."""

    act: CompiledAction
    natural: bool
    """True where the step's own action puts back what it captured; `act` is then the step's."""


@dataclass(frozen=True, slots=True)
class CompiledProbe:
    """The read that tells whether an interrupted effect happened."""

    act: CompiledAction
    expect: Program


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step, everything in it compiled."""

    step: Step
    stage: Stage
    path: str
    """Where it stands, e.g. `spec.mitigate[0]`."""
    act: CompiledAction
    when: Program | None
    expect: Program | None
    outputs: Mapping[str, Program]
    undo: CompiledUndo | None
    probe: CompiledProbe | None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Runbook without a defect, as far as its text can tell."""

    spec: RunbookSpec
    parameters: tuple[CompiledParameter, ...]
    matchers: tuple[Matcher, ...]
    steps: Mapping[str, CompiledStep]
    """By name, in the order in which stages and steps run."""
    heavy: bool = False
    """Whether one of its expressions may be heavy, so that its evaluation has to be waited for."""
    parts: int = 0
    """Of how many parts its expressions are together, at most."""

    def stage(self, stage: Stage) -> tuple[CompiledStep, ...]:
        """Return the steps of one stage, in order."""
        return tuple(step for step in self.steps.values() if step.stage is stage)


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression and where it stands."""

    path: str
    program: Program


def expressions(compiled: Compiled) -> Iterator[Placed]:
    """Yield every expression of a Runbook."""
    for at, parameter in enumerate(compiled.parameters):
        if parameter.program is not None:
            yield Placed(f"spec.parameters[{at}].from", parameter.program)
    for step in compiled.steps.values():
        yield from step_expressions(step)
        yield from undo_expressions(step)


def step_expressions(step: CompiledStep) -> Iterator[Placed]:
    """Yield the expressions that see what earlier steps found out."""
    if step.when is not None:
        yield Placed(f"{step.path}.when", step.when)
    if step.expect is not None:
        yield Placed(f"{step.path}.expect", step.expect)
    for name, program in step.outputs.items():
        yield Placed(f"{step.path}.outputs.{name}", program)
    yield from _of_template(step.act.template)
    if step.probe is not None:
        yield Placed(f"{step.path}.probe.expect", step.probe.expect)
        yield from _of_template(step.probe.act.template)


def undo_expressions(step: CompiledStep) -> Iterator[Placed]:
    """Yield the expressions of a declared undo, which also see what the step itself found out."""
    if step.undo is not None and not step.undo.natural:
        yield from _of_template(step.undo.act.template)


def _of_template(template: Template) -> Iterator[Placed]:
    for slot in template.slots:
        yield from (Placed(slot.field, program) for program in slot.programs)


class Compile(Protocol):
    """Compiles a Runbook with the actions that there are: `compiler.compile_runbook`."""

    def __call__(
        self, runbook: Runbook, connections: Mapping[str, str | None] | None
    ) -> Compiled | tuple[Problem, ...]:
        """Return the Runbook ready to run, or its defects; `connections` are its namespace's, name to type, None for unknown."""
        ...


def dependencies_of(step: CompiledStep) -> frozenset[str]:
    """Return the names of the other steps whose state or outputs the step needs to know."""
    return frozenset(_named(step)) - {step.step.name}


def _named(step: CompiledStep) -> Iterator[str]:
    for placed in step_expressions(step):
        for reference in placed.program.references:
            if reference.root == "steps" and reference.path:
                yield reference.path[0]
