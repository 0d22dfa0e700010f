"""What can go wrong with the world outside, in one vocabulary; and what it means for an effect, in one place.

    Failure
    ├── ApiError            clients/api_errors.py   the apiserver refused, or did not answer
    ├── SqlError            clients/sql_errors.py   a database
    ├── HttpError           clients/http.py         an HTTP service did not answer
    ├── PromqlError         clients/prometheus.py   a Prometheus
    ├── EndpointError       clients/connections.py  a Connection, or its Secret, cannot be used
    ├── HelperError         clients/helper_process.py  a helper process does not answer; nothing was done
    ├── Unusable            here                    the step asks for something that makes no sense
    └── RolledBack          here                    what is about to be begun has been done already

Clients raise subclasses of `Failure` and nothing else; actions let them pass. What follows for a step stands in `outcome_of`,
`outcome_of_another_try` and `outcome_of_look`, and nowhere else: all that is promised about effects rests on these functions.
"""

from incident_operator.core import reasons
from incident_operator.core.effects import Effect
from incident_operator.core.outcomes import Failed, NotDone, Outcome, Pending, Undetermined

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
