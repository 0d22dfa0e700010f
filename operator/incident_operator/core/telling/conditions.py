"""Conditions for machines, by the Kubernetes API conventions: a transition time moves only with the status."""

from collections.abc import Sequence
from datetime import datetime

from incident_operator.api.meta import Condition

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
_WORDS = {True: TRUE, False: FALSE, None: UNKNOWN}


def mark(conditions: Sequence[Condition], *wanted: Condition) -> list[Condition]:
    """Return the conditions with these set; sorted by type, and unchanged where only the time would differ."""
    known = {condition.type: condition for condition in conditions}
    for each in wanted:
        before = known.get(each.type)
        known[each.type] = each if before is None or before.status != each.status else _since(each, before)
    return [known[type_] for type_ in sorted(known)]


def _since(wanted: Condition, before: Condition) -> Condition:
    return wanted.model_copy(update={"last_transition_time": before.last_transition_time})


def drop(conditions: Sequence[Condition], type_: str) -> list[Condition]:
    """Return the conditions without one that is present only while it is true."""
    return [condition for condition in conditions if condition.type != type_]


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of a type, if it is there."""
    return next((condition for condition in conditions if condition.type == type_), None)


def condition(
    type_: str, status: bool | None, reason: str, message: str, now: datetime, kept: Sequence[Condition] = ()
) -> Condition:
    """Build a condition, or return the one of `kept` that says the same; a status of None is Unknown."""
    word = _WORDS[status]
    before = find(kept, type_)
    if before is not None and (before.status, before.reason, before.message) == (word, reason, message):
        return before
    return Condition.model_validate(
        {"type": type_, "status": word, "reason": reason, "message": message, "lastTransitionTime": now}
    )
