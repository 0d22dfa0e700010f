"""What an action reports back, what can go wrong with the world outside, and what that means for an effect: each in one place.

    Failure
    ├── ApiError            kubernetes/errors.py    the apiserver refused, or did not answer
    ├── SqlError            clients/sql_errors.py   a database
    ├── HttpError           clients/http.py         an HTTP service did not answer
    ├── PromqlError         clients/prometheus.py   a Prometheus
    ├── EndpointError       clients/connections.py  a Connection, or its Secret, cannot be used
    ├── HelperError         here                    a helper process does not answer; nothing was done
    ├── Unusable            here                    the step asks for something that makes no sense
    └── RolledBack          here                    what is about to be begun has been done already

An outcome is one of a closed union that the engine matches exhaustively. An effect class says what may have happened when we died in the
middle of an act, and how one finds out. Clients raise subclasses of `Failure` and nothing else; actions let them pass. What follows for a
step stands in `outcome_of`, `outcome_of_another_try` and `outcome_of_look`, and nowhere else: all that is promised about effects rests on
these functions. A service may ask to be left alone for a while (`Retry-After`, RFC 9110 §10.2.3), which is obeyed within bounds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from incident_operator.core import reasons


class Effect(StrEnum):
    """What kind of marker an act leaves; decides what a crash between intent and outcome means."""

    READ = "read"
    SQL_TX = "sql-tx"
    K8S_PATCH = "k8s-patch"
    K8S_CREATE = "k8s-create"
    KEYED_CALL = "keyed-call"
    HUMAN = "human"
    UNKEYED = "unkeyed"

    @property
    def is_known(self) -> bool:
        """Whether it can be found out, or is safe to ask for again, what became of an act that was interrupted."""
        return self is not Effect.UNKEYED


def moment(text: str) -> datetime | None:
    """Return what a header says, in UTC; None where that is not a date. One without a zone is in UTC, as HTTP has it."""
    try:
        at = parsedate_to_datetime(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


MOST_RETRY_SECONDS = 300.0
"""Whoever asks for longer is asked again then: a step has its own time, and a header is anybody's."""
LATER = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that say "not now": the same question may be answered in a while."""


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks for, 0 to `MOST_SECONDS`: a number, or a date; 0 where it says nothing.

    A date counts from the answer's own `Date`: the service's clock and ours may be hours apart. Without one it says nothing.
    """
    named = {name.lower(): value for name, value in headers.items()}
    text = named.get("retry-after", "").strip()
    if text.isdecimal() and text.isascii():
        return bounded_retry_after(float(text))
    until, sent = moment(text), moment(named.get("date", ""))
    return bounded_retry_after((until - sent).total_seconds()) if until and sent else 0.0


def bounded_retry_after(asked: float) -> float:
    """Return seconds that somebody asks for, as far as they are obeyed."""
    return 0.0 if math.isnan(asked) else min(max(asked, 0.0), MOST_RETRY_SECONDS)


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


LOOK_AGAIN = 2.0
"""Seconds until an effect is looked for again, or begun again where it certainly has not happened."""
_PASSING = frozenset({reasons.CONNECTION_FAILED, reasons.CONFLICT})
"""Reasons that go away by themselves, as a failover or somebody else's write does."""


class Failure(Exception):
    """Something in the world did not work. The message is one line for people, and holds no secret."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.after = 0.0
        """Seconds that whoever refused asks to be left alone for."""
        self.reason = reason
        """One CamelCase word from `core/reasons.py`."""
        self.message = message
        """What was wrong, where, and what would be right."""
        self.retryable = retryable
        """Whether the same again may work."""
        self.maybe_applied = maybe_applied
        """Whether what was asked for may have happened all the same: it was sent, and no answer came."""


class Unusable(Failure):
    """A step asks for something that makes no sense; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(reasons.BAD_REQUEST, message)


class HelperError(Failure):
    """A helper cannot be used just now, which is nobody's fault that asked for it; the same again may work."""

    def __init__(self, message: str) -> None:
        super().__init__(reasons.INTERNAL_ERROR, message, retryable=True)


class RolledBack(Failure):
    """The world holds the mark of an attempt that the status says was never begun: the status is older than what was done."""

    def __init__(self, found: str) -> None:
        super().__init__(reasons.RECORD_ROLLED_BACK, found)


def outcome_of(failure: Failure, effect: Effect) -> Outcome:
    """Return what a failure of an act, or of a read, means for its step.

    A read failed. An effect that may have happened is looked up, or asked for again under its key; where nobody can look, nobody
    knows. One that certainly did not happen failed, or is begun again later where what was in the way passes by itself.
    """
    if failure.reason == reasons.RECORD_ROLLED_BACK:
        return Undetermined(failure.message, failure.reason)
    if effect is Effect.READ:
        return Failed(failure.reason, failure.message, retryable=failure.retryable, after=failure.after)
    if failure.maybe_applied:
        if effect.is_known:
            return Pending(max(LOOK_AGAIN, failure.after), f"cannot tell whether it is done: {failure.message}")
        return Undetermined(failure.message)
    if effect.is_known and failure.retryable and failure.reason in _PASSING:
        return NotDone(max(LOOK_AGAIN, failure.after), failure.message)
    return Failed(failure.reason, failure.message, retryable=failure.retryable, after=failure.after)


def outcome_of_another_try(outcome: Outcome) -> Outcome:
    """Return what the outcome of a call that is asked again, under its own key, means for its step.

    An earlier try may have got through. So that this one was not sent, or was refused, does not prove that nothing happened.
    """
    match outcome:
        case NotDone(after, summary):
            return Pending(after, f"cannot tell whether it is done: {summary}")
        case Failed(message=message, effected=False):
            return Undetermined(f"an earlier attempt may have succeeded; sent again, it failed: {message}")
        case _:
            return outcome


def outcome_of_look(failure: Failure) -> Outcome:
    """Return what it means that an effect cannot be looked up: nothing. A failed look is never proof, whatever failed."""
    return Pending(max(LOOK_AGAIN, failure.after), f"cannot tell whether it is done: {failure.message}")
