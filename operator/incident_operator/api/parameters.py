"""Parameters: the typed values through which alone an alert's labels reach a step."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from incident_operator.api import rules
from incident_operator.api.meta import Cel, Model


class ParameterType(StrEnum):
    """Types that a label may be read as; nothing else of an alert reaches a step."""

    STRING = "string"
    INT = "int"
    DATE = "date"
    K8S_NAME = "k8sName"
    DURATION = "duration"


def _only_for(kind: str, field: str) -> rules.Extra:
    return rules.rule(f"!has(self.{field}) || self.type == '{kind}'", f"{field} is for parameters of type {kind}")


class Parameter(Model):
    """A typed, validated value taken from the alert: the only way from a label to a step."""

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.rule("has(self.from) || has(self.default)", "a parameter needs from, or default, or both"),
            _only_for("string", "pattern"),
            _only_for("string", "enum"),
            _only_for("int", "min"),
            _only_for("int", "max"),
            rules.rule("!has(self.min) || !has(self.max) || self.min <= self.max", "min may not be above max"),
            rules.rule(
                "!has(self.enum) || !has(self.default) || self.default in self.enum", "default has to be one of enum"
            ),
        )
    )

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)]
    """Steps see the value as `params.NAME`."""
    type: ParameterType
    """What the value has to be; anything else stops the Incident."""
    from_: Annotated[Cel | None, Field(alias="from")] = None
    """CEL over `alert` (labels, annotations, startsAt)."""
    default: Annotated[str | None, Field(max_length=253)] = None
    """The value where the alert has none."""
    pattern: Annotated[str | None, Field(max_length=253)] = None
    """RE2 that the whole of a string must match."""
    enum: (
        Annotated[
            list[Annotated[str, Field(max_length=253)]],
            Field(min_length=1, max_length=64, json_schema_extra=rules.unordered()),
        ]
        | None
    ) = None
    """The only texts that are allowed, for a string."""
    min: int | None = None
    """The least, for an int."""
    max: int | None = None
    """The most, for an int."""
