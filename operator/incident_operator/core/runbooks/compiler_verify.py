"""Checks of what proves something: a `verify` step that nothing could fail verifies nothing."""

from collections.abc import Iterator

from incident_operator.api.runbook import Stage
from incident_operator.core.expressions import expr_references
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep

_NOW = "now"


def verify_steps_can_fail(draft: Draft) -> Iterator[Problem]:
    """Require of each step of `verify` an `expect` that something can make false."""
    for placed in draft.steps:
        if placed.stage is Stage.VERIFY and placed.is_read:  # of an act there is more to be told
            yield from _of_step(placed)


def _of_step(placed: PlacedStep) -> Iterator[Problem]:
    path, expect = f"{placed.path}.expect", placed.step.expect
    if expect is None:
        if placed.step.until is None:  # else that is told of the until
            told = "a verify step needs an expect: without one, any result counts as verified"
            yield Problem(path, f"{told}; say what has to be true, e.g. {_example(placed.act.key)}")
    elif _is_constant(expect):
        yield Problem(path, "has the same value whatever the step finds; say what has to be true of result")


def _is_constant(source: str) -> bool:
    if expr_references.references(source):
        return False
    return all(token.text != _NOW for token in expr_references.tokens(source))


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
