"""Compiles a parameter, and says what keeps it from ever having a value."""

from collections.abc import Iterator
from typing import Any

from incident_operator.api.parameters import Parameter, ParameterType
from incident_operator.core import patterns
from incident_operator.core.expressions import expr, problems
from incident_operator.core.expressions.expr import CompileError, NoAnswer, Program, Scope
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import parameter_types, parameters
from incident_operator.core.runbooks.parameters import CompiledParameter

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
    program = expr.compile_value(parameter.from_, Scope.PARAMETER)
    if isinstance(program, CompileError):
        return problems.of_expression(f"{path}.from", program)
    return _unknown_field(program, f"{path}.from") or program


def _unknown_field(program: Program, path: str) -> Problem | None:
    for reference in program.references:
        if reference.root == "alert" and reference.path and reference.path[0] not in _ALERT_FIELDS:
            message = f"an alert has no {reference.path[0]}; it has {', '.join(sorted(_ALERT_FIELDS))}"
            return problems.of_expression(path, expr.error_at(program.source, reference.offset, message))
    return None


def _pattern(parameter: Parameter, path: str) -> Any:
    """Return the compiled RE2, None where there is none, or the problem."""
    if parameter.pattern is None:
        return None
    try:
        return patterns.compiled(parameter.pattern)
    except patterns.PatternError as error:
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
    if told := parameter_types.misfit(program, wanted):
        yield problems.of_expression(f"{path}.from", expr.error_at(program.source, 0, told))
        return
    found = parameter_types.constant(program)
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
