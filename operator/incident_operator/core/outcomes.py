"""What an action reports back: a closed union that the engine matches exhaustively."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
"""Decoded JSON: dict, list, str, int, float, bool or None."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against an answer that came: a status that is none of success, warnings beside the number.

    A step of `verify`, and a probe, takes such an answer only where its `expect` looks at what is doubtful. Any other step judges
    by its `expect` alone.
    """

    why: str
    """One line for people."""
    about: str
    """The field of `result` that says so."""
    passes: bool = False
    """Whether the same question may be answered in a while."""
    after: float = 0.0
    """Seconds that whoever answered asks to be left alone for."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The act is complete (or had been completed under the same key before)."""

    result: Mapping[str, Json]
    """What `expect` and `outputs` see as `result`; the shape is documented at the action's model."""
    summary: str
    """One line for people, e.g. `1 row changed`."""
    captured: Mapping[str, Json] | None = None
    """Small: what the action needs to take its effect back."""
    doubt: Doubt | None = None
    """Of a read: what speaks against its answer."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The act certainly had no effect (rolled back, refused, never sent), or it was a read."""

    reason: str
    """One CamelCase word from `core/reasons.py`."""
    message: str
    """One line for people: what was wrong, where, what would be right. Never a traceback, never a secret."""
    retryable: bool = True
    """False where trying again cannot help (a row limit, a refused permission)."""
    result: Mapping[str, Json] = field(default_factory=dict)
    effected: bool = False
    """True where the act happened but ended badly (a Job that ran and failed): an undo is still due."""
    captured: Mapping[str, Json] | None = None
    """What that undo needs, as of a success."""
    after: float = 0.0
    """Seconds that whoever refused asks to be left alone for, before another try."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Started under this key and not finished, or impossible to tell just now: run again under the same key."""

    after: float
    """Seconds until the next look."""
    summary: str
    """One line for people, e.g. `Job rebuild-3b9d: running for 40s`."""


@dataclass(frozen=True, slots=True)
class NotDone:
    """The act certainly has not happened, and nothing that was sent so far can do it any more.

    It may be begun again later, under everything that guards a first begin.
    """

    after: float
    """Seconds until it may be begun again."""
    summary: str
    """One line for people: what was in the way."""


@dataclass(frozen=True, slots=True)
class Undetermined:
    """Nobody but a person can tell whether the effect happened; the operator never repeats it."""

    message: str
    reason: str = ""
    """One CamelCase word from `core/reasons.py`, where it is more than that nobody can tell."""


Outcome = Succeeded | Failed | Pending | NotDone | Undetermined
