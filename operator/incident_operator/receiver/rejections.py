"""Why a message, or one alert of it, can never be stored, in words for whoever sent it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    """One defect of a message."""

    field: str
    """Where, e.g. `alerts[3].labels["instance"]`; `body` for the whole."""
    reason: str
    """What is wrong there."""

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.field}: {self.reason}"


class MalformedError(Exception):
    """The message cannot be read at all."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(str(Rejection(field, reason)))
