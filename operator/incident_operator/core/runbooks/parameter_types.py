"""Which parameter types a value of an expression can be of, as far as its text alone tells: the rest shows at night."""

from collections.abc import Mapping
from datetime import UTC, datetime

from incident_operator.api.parameters import ParameterType
from incident_operator.core.expressions import expr, expr_references
from incident_operator.core.expressions.expr import NoAnswer, Program
from incident_operator.core.expressions.expr_weight import Weight

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
    depends = program.references or any(token.text == "now" for token in expr_references.tokens(program.source))
    if depends or program.weight is not Weight.LIGHT:
        return None
    found = expr.evaluate_here(program, {}, datetime.fromtimestamp(0, UTC))
    return found if isinstance(found, str | int | NoAnswer) else None
