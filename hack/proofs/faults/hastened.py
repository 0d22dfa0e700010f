"""Operators whose safety nets come round every few seconds instead of minutes: what a lost event costs can be waited for."""

import functools
import importlib
import importlib.util
from datetime import timedelta

from incident_operator.engine import reconciler

_SECONDS = 3.0


def apply() -> None:
    """Shorten the looks at open Incidents, and the time between two lists of them."""
    reconciler.LOOK_AGAIN = timedelta(seconds=_SECONDS)
    if importlib.util.find_spec("incident_operator.kubernetes.reflector"):
        reflector = importlib.import_module("incident_operator.kubernetes.reflector")
        reflector.Pace = functools.partial(reflector.Pace, between_lists=_SECONDS)
