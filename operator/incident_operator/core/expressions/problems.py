"""A defect of a Runbook: the place, what is wrong, what would be right."""

from dataclasses import dataclass

import pydantic

from incident_operator.core import texts
from incident_operator.core.expressions.expr import CompileError


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect, for the Runbook's `Ready` condition."""

    path: str
    """The field, e.g. `spec.mitigate[0].when`."""
    message: str
    excerpt: str = ""
    """The line of an expression with a caret under the place; empty where there is no expression."""
    elsewhere: bool = False
    """Whether another object mends it, such as a Connection that is yet to come."""

    def __str__(self) -> str:
        """Return it as it is shown: place and message on one line, then the excerpt; whatever keys the author wrote."""
        told = texts.visible(f"{self.path}: {self.message}")
        return f"{told}\n{texts.visible_page(self.excerpt)}" if self.excerpt else told


def of_expression(path: str, error: CompileError) -> Problem:
    """Return the problem of a field whose expression does not compile."""
    return Problem(path, error.message, error.excerpt)


def of_validation(error: pydantic.ValidationError, path: str = "") -> Problem:
    """Return the first thing that is wrong with what a model was made from; `path` is where that stands."""
    return all_of_validation(error, path)[0]


def all_of_validation(error: pydantic.ValidationError, path: str = "") -> tuple[Problem, ...]:
    """Return all that is wrong with what a model was made from; none of it tells the value, which may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return tuple(Problem(field(path, each["loc"]), each["msg"]) for each in found)


def field(path: str, way: tuple[str | int, ...]) -> str:
    """Return the path of a field below another, e.g. `spec.mitigate[0].scale.replicas`."""
    return (path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way)).removeprefix(".")
