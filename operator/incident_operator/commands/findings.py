"""What `check` finds: the place, how bad it is, what is wrong."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from incident_operator.core import texts


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The cluster refuses it, or the Runbook is not Ready."""
    WARNING = "warning"
    """It works, and is probably not what is meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    file: str
    line: int
    column: int
    """Both counted from 1."""
    level: Level
    rule: str
    """E.g. `schema`; for a warning its name in docs/runbook.md."""
    message: str
    subject: str = ""
    """The object, e.g. `Runbook pack`; empty for what is wrong with a file."""
    field: str = ""
    """E.g. `spec.mitigate[0].scale`; empty for the whole object."""
    excerpt: str = ""
    """Lines with a caret under the place."""

    @property
    def told(self) -> str:
        """The message in one line, with the field that it is about."""
        told = self.message if not self.field or f'"{self.field}"' in self.message else f"{self.field}: {self.message}"
        return texts.visible(": ".join(each for each in (self.subject, told) if each))

    @property
    def whole(self) -> str:
        """The message with the lines that show the place."""
        return f"{self.told}\n{texts.visible_page(self.excerpt)}" if self.excerpt else self.told

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    files: int
    findings: tuple[Finding, ...]
    """By file, in the order of the text."""
    unasked: tuple[str, ...] = ()
    """What an administrator may copy into the setting of this name, a line for each step."""
    looked_at: int = 0
    """Objects of the operator's kinds."""

    def of(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(each for each in self.findings if each.level is level)
