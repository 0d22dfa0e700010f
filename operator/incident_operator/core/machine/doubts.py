"""When what speaks against an answer decides: where a step proves something, and its `expect` has not looked at it."""

from incident_operator.api.runbook import Stage
from incident_operator.core.expressions.expr import Program
from incident_operator.core.outcomes import Doubt
from incident_operator.core.runbooks.compiled import CompiledProbe, CompiledStep

_RESULT = "result"


def decides(step: CompiledStep, doubt: Doubt) -> bool:
    """Tell whether a step fails for a doubt, whatever its `expect` says of the rest: a `verify` that did not look at it."""
    return step.stage is Stage.VERIFY and not _looks_at(step.expect, doubt.about)


def decides_probe(probe: CompiledProbe, doubt: Doubt) -> bool:
    """Tell whether a probe cannot tell, for a doubt that its `expect` did not look at."""
    return not _looks_at(probe.expect, doubt.about)


def _looks_at(program: Program | None, field: str) -> bool:
    """Tell whether an expression names a field of the result, or the result as a whole."""
    named = (each.path for each in program.references if each.root == _RESULT) if program is not None else ()
    return any(not path or path[0] == field for path in named)
