"""What a failure proves when an effect that may have happened is looked up again."""

from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Pending

_KEEPS_FROM_LOOKING = frozenset(
    {reasons.FORBIDDEN, reasons.SECRET_UNREADABLE, reasons.CONNECTION_NOT_FOUND, reasons.CONNECTION_FAILED}
)
_LOOK_AGAIN = 5.0


def of_resumed(outcome: Outcome) -> Outcome:
    """Return the outcome of a resumed effect: what only keeps us from looking says nothing of the effect.

    It stays pending, and becomes unknown at its deadline; a right that was taken away meanwhile must not make a
    committed change look as if it had never happened.
    """
    if isinstance(outcome, Failed) and not outcome.effected and outcome.reason in _KEEPS_FROM_LOOKING:
        return Pending(_LOOK_AGAIN, outcome.message)
    return outcome
