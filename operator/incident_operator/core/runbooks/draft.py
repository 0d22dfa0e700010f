"""A Runbook half-way through the compiler: its steps and parameters as they stand, and whether the names in its expressions exist."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from incident_operator.api.runbook import Parameter, ParameterType, RunbookSpec, Stage, Step
from incident_operator.core.action import Action, Actions
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import CompileError, NoAnswer, Problem, Program, Scope
from incident_operator.core.expressions.weight import Reference
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import compiled, parameters, reading
from incident_operator.core.runbooks.compiled import CompiledStep, Placed
from incident_operator.core.runbooks.parameters import CompiledParameter
from incident_operator.core.runbooks.reading import PlacedAction
from incident_operator.core.sanitize import PatternError, compiled_pattern


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
            path = f"spec.{stage.value}[{index}]"
            read = {at: reading.parse(carrier, at, actions) for at, carrier in reading.carriers(step, path)}
            if found := tuple(each for each in read.values() if isinstance(each, Problem)):
                yield found
                continue
            good = {at: each for at, each in read.items() if isinstance(each, PlacedAction)}
            yield PlacedStep(step, stage, path, good[path], good.get(f"{path}.undo"), good.get(f"{path}.probe"))


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
        compiled_pattern(pattern)
    except PatternError as error:
        yield Problem(f"{path}.pattern", str(error))


_INCIDENT = frozenset({"name", "severity", "resolved", "alerts"})
_STEP = frozenset({"state", "outputs"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an expression may name where it stands."""

    params: frozenset[str]
    steps: Mapping[str, PlacedStep]
    """All steps."""
    places: Mapping[str, int]
    """Which of the steps each is, in the order in which they run."""
    answered: int
    """How many of them have answers by then."""
    action: Action[Any]
    """The action whose `result` it sees."""
    unread: frozenset[str] = frozenset()
    """Steps of which nothing is known but their names."""

    def has_answer(self, name: str) -> bool:
        """Tell whether the answers of a step are there."""
        return self.places.get(name, self.answered) < self.answered


def names_exist(draft: Draft) -> Iterator[Problem]:
    """Require that every name in an expression is there when it is evaluated; a wrong one would only show at night."""
    params = frozenset(parameter.name for parameter in draft.spec.parameters)
    every = {placed.step.name: placed for placed in reversed(draft.steps)}
    places = {placed.step.name: at for at, placed in reversed(list(enumerate(draft.steps)))}
    running = {placed.path: at for at, placed in enumerate(draft.steps)}
    for step in draft.compiled:
        # reads that run together wait for those that they name
        before = running[step.path]
        for placed in compiled.step_expressions(step):
            of_probe = step.probe if placed.path.startswith(f"{step.path}.probe.") else None
            action = (of_probe or step).act.action
            yield from _wrong_names(placed, _Seen(params, every, places, before, action, draft.unread))
        for placed in compiled.undo_expressions(step):
            yield from _wrong_names(placed, _Seen(params, every, places, before + 1, step.act.action, draft.unread))


def _wrong_names(placed: Placed, seen: _Seen) -> Iterator[Problem]:
    for reference in placed.program.references:
        source, message = placed.program.source, ""
        match reference.root:
            case "steps":
                message = _wrong_step(source, reference, seen)
            case "params":
                message = _wrong_member(reference, seen.params, "a parameter", "params.date")
            case "incident":
                message = _wrong_member(reference, _INCIDENT, "a field of incident", "incident.severity")
            case "result" if reference.path:
                names, whose = seen.action.result_names, f"the result of {seen.action.key}"
                message = _unknown(reference.path[0], names, whose)
        if message:
            error = cel.error_at(placed.program.source, reference.offset, message)
            yield cel.of_expression(placed.path, error)


def _wrong_member(reference: Reference, known: frozenset[str], what: str, example: str) -> str:
    if not reference.path:
        return f"{reference.root} needs the name of {what} after it, such as {example}"
    return _unknown(reference.path[0], known, reference.root)


def _unknown(name: str, known: Collection[str], where: str) -> str:
    if name in known:
        return ""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    told = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
    return f"{where} has no {name}; {told}"


def _wrong_step(source: str, reference: Reference, seen: _Seen) -> str:
    if not reference.path:
        return 'steps needs a fixed name, such as steps.packs or steps["pause-alerts"]'
    name = reference.path[0]
    if name in seen.unread:
        return ""
    if seen.has_answer(name):
        return _wrong_field(reference, seen.steps[name])
    if name in seen.steps:
        return f"{name} does not come before this step, so it has no answers yet"
    written = source[reference.offset :].partition(".")[2]
    hyphenated = next((name for name in seen.steps if "-" in name and written.startswith(name)), None)
    if hyphenated:
        return f'a name with a hyphen is written steps["{hyphenated}"]'
    return _unknown(name, list(filter(seen.has_answer, seen.steps)), "steps")


def _wrong_field(reference: Reference, placed: PlacedStep) -> str:
    name, *fields = reference.path
    if not fields:
        return ""
    if fields[0] not in _STEP:
        return _unknown(fields[0], _STEP, f"step {name}")
    if fields[0] == "outputs" and len(fields) > 1:
        return _unknown(fields[1], placed.step.outputs, f"outputs of {name}")
    return ""


_ALERT_FIELDS = frozenset({"labels", "annotations", "startsAt", "status"})
_ONLY_FOR: dict[str, ParameterType] = {
    "pattern": ParameterType.STRING,
    "enum": ParameterType.STRING,
    "min": ParameterType.INT,
    "max": ParameterType.INT,
}


def compile_parameter(parameter: Parameter, path: str) -> CompiledParameter | tuple[Problem, ...]:
    """Return the parameter ready to be resolved, or everything that is wrong with it."""
    program, pattern = _program(parameter, path), _pattern(parameter, path)
    found = [part for part in (program, pattern) if isinstance(part, Problem)]
    found += _misfits(parameter, path)
    if isinstance(program, Problem) or isinstance(pattern, Problem) or found:
        return tuple(found)
    compiled = CompiledParameter(parameter, program, pattern)
    return (*_never_of_its_type(compiled, path), *_bad_default(compiled, path)) or compiled


def _program(parameter: Parameter, path: str) -> Program | Problem | None:
    if parameter.from_ is None:
        return None
    program = cel.compile_value(parameter.from_, Scope.PARAMETER)
    if isinstance(program, CompileError):
        return cel.of_expression(f"{path}.from", program)
    return _unknown_field(program, f"{path}.from") or program


def _unknown_field(program: Program, path: str) -> Problem | None:
    for reference in program.references:
        if reference.root == "alert" and reference.path and reference.path[0] not in _ALERT_FIELDS:
            message = f"an alert has no {reference.path[0]}; it has {', '.join(sorted(_ALERT_FIELDS))}"
            return cel.of_expression(path, cel.error_at(program.source, reference.offset, message))
    return None


def _pattern(parameter: Parameter, path: str) -> Any:
    """Return the compiled RE2, None where there is none, or the problem."""
    if parameter.pattern is None:
        return None
    try:
        return compiled_pattern(parameter.pattern)
    except PatternError as error:
        return Problem(f"{path}.pattern", str(error))


def _misfits(parameter: Parameter, path: str) -> Iterator[Problem]:
    if parameter.from_ is None and parameter.default is None:
        yield Problem(path, f"needs from, e.g. alert.labels.{parameter.name}, or a default")
    for field, wanted in _ONLY_FOR.items():
        if getattr(parameter, field) is not None and parameter.type is not wanted:
            yield Problem(f"{path}.{field}", f"is for type {wanted.value} only; this one is {parameter.type.value}")
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        yield Problem(f"{path}.min", f"{parameter.min} is above max {parameter.max}")


def _never_of_its_type(compiled: CompiledParameter, path: str) -> Iterator[Problem]:
    """Tell of an expression that gives no value of the parameter's type whatever the alert says: else it would show at night."""
    program, wanted = compiled.program, compiled.parameter.type
    if program is None:
        return
    if told := parameters.misfit(program, wanted):
        yield cel.of_expression(f"{path}.from", cel.error_at(program.source, 0, told))
        return
    found = parameters.constant(program)
    if isinstance(found, NoAnswer):
        yield Problem(f"{path}.from", f"never gives a value: {found.why}")
    elif found not in (None, "") and isinstance(value := parameters.read(compiled, str(found)), parameters.Refusal):
        yield Problem(f"{path}.from", f"always gives {str(found)!r}, which {value.why}")


def _bad_default(compiled: CompiledParameter, path: str) -> Iterator[Problem]:
    default = compiled.parameter.default
    if default is None:
        return
    value = parameters.read(compiled, default)
    if isinstance(value, parameters.Refusal):
        yield Problem(f"{path}.default", f"{default!r} {value.why}")
