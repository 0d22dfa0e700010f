"""Tells a visit that fails for good from one that fails now: the former needs a person, for what stands in the log alone is not seen."""

import pydantic

from incident_operator.api.meta import ObjectKey
from incident_operator.core.errors import Failure
from incident_operator.core.expressions import problems

FOR_GOOD = 3
"""Visits in a row that have to fail: rights that were just given, or a proxy, may refuse one."""
_PASSING = (OSError, TimeoutError)
_AGAIN = "It is tried again."


class FailedVisits:
    """Counts the failures in a row of each Incident."""

    def __init__(self) -> None:
        self._counts: dict[ObjectKey, int] = {}

    def forget(self, key: ObjectKey) -> None:
        """Note that a visit went well, or that the Incident is gone."""
        self._counts.pop(key, None)

    def is_for_good(self, key: ObjectKey, error: Exception) -> bool:
        """Note a failure, and tell whether trying again has not helped and cannot be expected to."""
        if _passes(error):
            return False
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] >= FOR_GOOD


def told(error: Exception) -> str:
    """Return what is wrong, in words for people; what a model was made from is left out, for it may be secret."""
    if isinstance(error, Failure):
        return f"The operator cannot go on: {error.message.rstrip('.')}. {_AGAIN}"
    if isinstance(error, pydantic.ValidationError):
        return f"The operator cannot go on: {error.title}: {problems.of_validation(error)}. {_AGAIN}"
    return f"The operator cannot go on: {type(error).__name__}; its log has the details. {_AGAIN}"


def _passes(error: Exception) -> bool:
    return error.retryable if isinstance(error, Failure) else isinstance(error, _PASSING)
