"""Parameters: the only way from an alert's label, which anybody may have written, to a step.

A value is refused unless the whole of it is what its type says; nothing is repaired, cut or unquoted. Which types a value of an expression
can be of is told as far as its text alone tells: the rest shows at night.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from incident_operator.api.meta import DURATION_EXAMPLES, is_duration, is_object_name
from incident_operator.api.runbook import Parameter, ParameterType
from incident_operator.core import texts
from incident_operator.core.expressions import cel, weight
from incident_operator.core.expressions.cel import REPLACEMENT, NoAnswer, Program
from incident_operator.core.expressions.weight import Weight

STARTS_AT = ("startsAt",)
TIMESTAMP = "timestamp"
_FIELDS: Mapping[tuple[str, ...], str] = {
    STARTS_AT: TIMESTAMP,
    ("labels",): "map",
    ("annotations",): "map",
    ("status",): "status",
    (): "map",
}
"""What the fields of `alert` give, which are any value to the library."""
_EVERY = frozenset(ParameterType)
_FITS: Mapping[str, frozenset[ParameterType]] = {
    "bool": frozenset(),
    "double": frozenset(),
    "list": frozenset(),
    "map": frozenset(),
    "optional_type": frozenset(),
    "int": _EVERY - {ParameterType.DATE, ParameterType.DURATION},
    "uint": _EVERY - {ParameterType.DATE, ParameterType.DURATION},
    "bytes": frozenset({ParameterType.STRING}),
    "duration": frozenset({ParameterType.STRING, ParameterType.DURATION, ParameterType.K8S_NAME}),
    TIMESTAMP: frozenset({ParameterType.STRING, ParameterType.DATE}),
    "status": frozenset({ParameterType.STRING, ParameterType.K8S_NAME}),
}
"""What has a value of each type of CEL at all; a type that is not here may be anything."""
_NAMES = {"optional_type": "an optional", "int": "an int", "uint": "a uint", "status": "firing or resolved"}
_REMEDIES = {
    "bool": 'write for example … ? "yes" : "no"',
    "double": "write int(…) or string(…)",
    "list": "name one of its values",
    "map": "name one of its values, such as alert.labels.NAME",
    "optional_type": "end it with .orValue(…)",
    "bytes": "write string(…)",
}
_REMEDIES_FOR = {
    (TIMESTAMP, ParameterType.INT): "int(timestamp(…)) gives the seconds since 1970",
    (TIMESTAMP, ParameterType.DURATION): "now() - timestamp(…) gives how long ago it was",
    ("int", ParameterType.DURATION): 'write string(…) + "s" where it counts seconds',
    ("duration", ParameterType.INT): "write ….getSeconds()",
}


def gives(program: Program) -> str:
    """Return the type of what an expression over `alert` gives, in lower case: `dyn` where only the alert tells."""
    references = program.references
    if len(references) == 1 and references[0].root == "alert":
        first = references[0]
        if first.path in _FIELDS and program.source[first.offset : first.end] == program.source.strip():
            return _FIELDS[first.path]
    return str(program.compiled.return_type().name()).partition("<")[0].lower()


def misfit(program: Program, wanted: ParameterType) -> str:
    """Say why no value of an expression can ever be of a parameter's type, and what would be right; empty where one can."""
    given = gives(program)
    fits = _FITS.get(given, _EVERY)
    if wanted in fits:
        return ""
    others = "use type " + " or ".join(kind.value for kind in ParameterType if kind in fits)
    remedy = _REMEDIES.get(given) or _REMEDIES_FOR.get((given, wanted), others)
    return f"gives {_NAMES.get(given, f'a {given}')}, which is never of type {wanted.value}; {remedy}"


def constant(program: Program) -> str | int | NoAnswer | None:
    """Return what an expression gives whatever the alert says; None where the alert or the time decides, or it takes long to tell."""
    depends = program.references or any(token.text == "now" for token in weight.tokens(program.source))
    if depends or program.weight is not Weight.LIGHT:
        return None
    found = cel.evaluate_here(program, {}, datetime.fromtimestamp(0, UTC))
    return found if isinstance(found, str | int | NoAnswer) else None


Value = str | int
MAX_TEXT = 253
"""Characters of a text, whatever its pattern allows."""

_SHOWN = 80
_INT = re.compile(r"-?[0-9]{1,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class CompiledParameter:
    """A parameter, its expression and pattern compiled."""

    parameter: Parameter
    program: Program | None
    """None where the parameter has only a default."""
    pattern: Any = None
    """The compiled RE2."""

    @property
    def label(self) -> str | None:
        """The alert's label that it is read from, where it is exactly one."""
        references = self.program.references if self.program else ()
        if len(references) == 1 and len(references[0].path) == 2 and references[0].path[0] == "labels":
            return references[0].path[1]
        return None


@dataclass(frozen=True, slots=True)
class ParameterError:
    """Why nothing can be done for this alert."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text is not a valid value of a parameter."""

    why: str
    """Completes `label x="…" …`."""


def resolve(
    parameters: Sequence[CompiledParameter], alert: Mapping[str, Any], now: datetime
) -> dict[str, Value] | ParameterError:
    """Return every parameter's value: int for `int`, text for the rest. The first that does not fit is the error."""
    values: dict[str, Value] = {}
    for compiled in parameters:
        found = _value(compiled, alert, now)
        if isinstance(found, ParameterError):
            return found
        values[compiled.parameter.name] = found
    return values


def read(compiled: CompiledParameter, text: str) -> Value | Refusal:
    """Return the value that a text stands for in the parameter's type, or why it stands for none."""
    if len(text) > MAX_TEXT:
        return Refusal(f"is too long: {len(text)} characters, {MAX_TEXT} at most")
    bad = texts.unseen(text) or (f"U+{ord(REPLACEMENT):04X}" if REPLACEMENT in text else None)
    if bad:
        return Refusal(f"holds an invisible character ({bad})")
    return _READERS[compiled.parameter.type](compiled, text)


def _value(compiled: CompiledParameter, alert: Mapping[str, Any], now: datetime) -> Value | ParameterError:
    found = cel.evaluate(compiled.program, {"alert": alert}, now) if compiled.program is not None else None
    if isinstance(found, NoAnswer) and found.missing is not None:
        found = None  # the alert has no such label
    if isinstance(found, NoAnswer):
        return _error(compiled, f"{_origin(compiled)} cannot be read: {found.why}")
    if found in (None, ""):
        return _absent(compiled)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return _error(compiled, f"{_origin(compiled)} is neither text nor a whole number")
    text = str(found)
    if compiled.parameter.type is ParameterType.DATE and compiled.program is not None:
        # of a moment that is to be a date the day, in UTC: of a timestamp, or of the alert's own start
        is_moment = gives(compiled.program) == TIMESTAMP or text == alert.get("startsAt")
        text = text.partition("T")[0] if is_moment else text
    value = read(compiled, text)
    if isinstance(value, Refusal):
        return _error(compiled, f"{_origin(compiled)}={texts.quoted(text, _SHOWN)} {value.why}")
    return value


def _absent(compiled: CompiledParameter) -> Value | ParameterError:
    default = compiled.parameter.default
    if default is None:
        return _error(compiled, f"{_origin(compiled)} is missing")
    value = read(compiled, default)
    if isinstance(value, Refusal):
        return _error(
            compiled, f"the default {texts.quoted(default, _SHOWN)} of parameter {compiled.parameter.name} {value.why}"
        )
    return value


def _error(compiled: CompiledParameter, what: str) -> ParameterError:
    remedy = "Fix the alert's label" if compiled.label else "Fix the alert or the Runbook's parameter"
    return ParameterError(compiled.parameter.name, f"{what}; nothing was done. {remedy}.")


def _origin(compiled: CompiledParameter) -> str:
    return f"label {compiled.label}" if compiled.label else f"parameter {compiled.parameter.name}"


def _string(compiled: CompiledParameter, text: str) -> Value | Refusal:
    parameter = compiled.parameter
    if parameter.enum is not None and text not in parameter.enum:
        return Refusal(f"is none of {texts.escaped(', '.join(parameter.enum), _SHOWN)}")
    if compiled.pattern is not None and compiled.pattern.fullmatch(text) is None:
        return Refusal(f"does not match {parameter.pattern}")
    return text


def _int(compiled: CompiledParameter, text: str) -> Value | Refusal:
    if _INT.fullmatch(text) is None:
        return Refusal("is not a whole number (at most 18 digits)")
    number, low, high = int(text), compiled.parameter.min, compiled.parameter.max
    if low is not None and number < low:
        return Refusal(f"is below the minimum {low}")
    if high is not None and number > high:
        return Refusal(f"is above the maximum {high}")
    return number


def _date(_: CompiledParameter, text: str) -> Value | Refusal:
    refusal = Refusal("is not a date (YYYY-MM-DD)")
    if _DATE.fullmatch(text) is None:
        return refusal
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return refusal


def _name(_: CompiledParameter, text: str) -> Value | Refusal:
    if not is_object_name(text):
        return Refusal("is not a Kubernetes name (lowercase letters, digits, - and .)")
    return text


def _duration(_: CompiledParameter, text: str) -> Value | Refusal:
    if not is_duration(text):
        return Refusal(f"is not a duration ({DURATION_EXAMPLES}; units are ms, s, m, h, d, w and y)")
    return text


_READERS: dict[ParameterType, Callable[[CompiledParameter, str], Value | Refusal]] = {
    ParameterType.STRING: _string,
    ParameterType.INT: _int,
    ParameterType.DATE: _date,
    ParameterType.K8S_NAME: _name,
    ParameterType.DURATION: _duration,
}
