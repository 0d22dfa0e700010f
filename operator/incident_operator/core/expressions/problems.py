"""A defect of a Runbook: the place, what is wrong, what would be right."""

from dataclasses import dataclass

from incident_operator.core.expressions.expr import CompileError


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect, for the Runbook's `Ready` condition."""

    path: str
    """The field, e.g. `spec.mitigate[0].when`."""
    message: str
    excerpt: str = ""
    """The line of an expression with a caret under the place; empty where there is no expression."""

    def __str__(self) -> str:
        """Return it as it is shown: place and message, then the excerpt."""
        told = f"{self.path}: {self.message}"
        return f"{told}\n{self.excerpt}" if self.excerpt else told


def of_expression(path: str, error: CompileError) -> Problem:
    """Return the problem of a field whose expression does not compile."""
    return Problem(path, error.message, error.excerpt)
