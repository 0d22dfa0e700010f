"""Checks of what proves something: a `verify` step that nothing could fail verifies nothing."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from incident_operator.api.runbook import Stage
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import expr, expr_references, expr_weight
from incident_operator.core.expressions.expr import NoAnswer, Program, Scope
from incident_operator.core.expressions.expr_weight import Weight
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiled import CompiledStep
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep

_NOW = "now"
_HAS = re.compile(r"\bhas\(\s*result\.(\w+)\s*\)")
_ANY_TIME = datetime(2025, 1, 1, tzinfo=UTC)


def verify_steps_can_fail(draft: Draft) -> Iterator[Problem]:
    """Require of each step of `verify` an `expect` that something can make false."""
    for placed in draft.steps:
        if placed.stage is Stage.VERIFY and placed.is_read:  # of an act there is more to be told
            yield from _needed(placed)
    for step in draft.compiled:
        if step.stage is Stage.VERIFY and step.act.effect is Effect.READ and _is_constant(step):
            told = "has the same value whatever the step finds; say what has to be true of result"
            yield Problem(f"{step.path}.expect", told)


def _needed(placed: PlacedStep) -> Iterator[Problem]:
    if placed.step.expect is None and placed.step.until is None:  # of an until that is told by itself
        told = "a verify step needs an expect: without one, any result counts as verified"
        yield Problem(f"{placed.path}.expect", f"{told}; say what has to be true, e.g. {_example(placed.act.key)}")


def _is_constant(step: CompiledStep) -> bool:
    """Tell whether an expectation does not depend on anything, also where it names something: `true || result.x`."""
    program = step.expect
    if program is None or any(token.text == _NOW for token in expr_references.tokens(program.source)):
        return False
    if not program.references:
        return True
    always = _without_presence(program, step.act.action.result_names)
    # whatever is named is not there, so it has an answer only where that does not matter
    return always.weight is not Weight.HEAVY and not isinstance(expr.evaluate(always, {}, _ANY_TIME), NoAnswer)


def _without_presence(program: Program, names: frozenset[str]) -> Program:
    """Return the expression with `true` for each question whether the result has a field that it always has."""
    source = _HAS.sub(lambda found: "true" if found[1] in names else found[0], program.source)
    if source == program.source:
        return program
    with expr.compiled_at_most(expr_weight.MAX_PARTS):
        compiled = expr.compile_condition(source, Scope.RESULT)
    return compiled if isinstance(compiled, Program) else program


def _example(action: str) -> str:
    return _EXAMPLES.get(action, "result.truncated == false")


_EXAMPLES = {
    "http": "result.status == 200",
    "promql": "result.value < 0.01",
    "sqlQuery": "result.rows[0].fresh",
    "get": "result.object.status.readyReplicas > 0",
    "logs": "result.matches.size() == 0",
}
"""Of actions that people verify with."""
