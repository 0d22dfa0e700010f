"""Checks of what may flow into an act: nothing that a sender of alerts wrote, and nothing that changes by itself."""

import itertools
from collections.abc import Iterator

from incident_operator.core.effects import Effect
from incident_operator.core.expressions import expr_references
from incident_operator.core.expressions.expr import Program
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import compiled
from incident_operator.core.runbooks.compiled import CompiledStep, Placed
from incident_operator.core.runbooks.compiler_draft import Draft

_TRUSTED = frozenset({"name", "severity", "resolved"})
"""Fields of `incident` that the operator itself wrote."""


def labels_enter_by_parameters_only(draft: Draft) -> Iterator[Problem]:
    """Require that an alert's texts reach an action, or an output, as declared and validated parameters only (design §4)."""
    for step in draft.compiled:
        for placed in _values_of(step):
            if any(_may_hold_labels(reference) for reference in placed.program.references):
                message = "incident.alerts holds what anybody may have written; bring the value in by a typed parameter"
                yield Problem(placed.path, message)


def acts_render_the_same_again(draft: Draft) -> Iterator[Problem]:
    """Require that an act does not change with time: after a restart it has to be the one that was begun, and approved."""
    for step in draft.compiled:
        for placed in _acts_of(step):
            if _changes_by_itself(placed.program):
                message = "changes by itself, so after a restart the act would be another one than was begun"
                yield Problem(placed.path, message)


def _values_of(step: CompiledStep) -> Iterator[Placed]:
    for placed in compiled.step_expressions(step):
        if placed.path.startswith((f"{step.path}.outputs.", f"{step.path}.{step.act.key}", f"{step.path}.probe.")):
            yield placed
    yield from compiled.undo_expressions(step)


def _acts_of(step: CompiledStep) -> Iterator[Placed]:
    if step.act.effect is not Effect.READ:
        own = f"{step.path}.{step.act.key}"
        yield from (placed for placed in compiled.step_expressions(step) if placed.path.startswith(own))
    yield from compiled.undo_expressions(step)


def _may_hold_labels(reference: expr_references.Reference) -> bool:
    return reference.root == "incident" and (not reference.path or reference.path[0] not in _TRUSTED)


def _changes_by_itself(program: Program) -> bool:
    listed = list(expr_references.tokens(program.source))
    calls_now = any(token.text == "now" and following.text == "(" for token, following in itertools.pairwise(listed))
    asks = any(ref.root == "incident" and ref.path[:1] == ("resolved",) for ref in program.references)
    return calls_now or asks
