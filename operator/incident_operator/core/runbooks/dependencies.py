"""Which steps a step's own expressions look at."""

from collections.abc import Iterator

from incident_operator.core.runbooks.compiled import CompiledStep, step_expressions


def of(step: CompiledStep) -> frozenset[str]:
    """Return the names of the other steps whose state or outputs the step needs to know."""
    return frozenset(_named(step)) - {step.step.name}


def _named(step: CompiledStep) -> Iterator[str]:
    for placed in step_expressions(step):
        for reference in placed.program.references:
            if reference.root == "steps" and reference.path:
                yield reference.path[0]
