"""What Events say of a Job or a Pod that does not run: the newest warning about it, bounded and steady. Read, never watched.

An Event that comes again with another count, another time or another name of a Pod that was never made says the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from incident_operator.actions import pod_state
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account
from incident_operator.core.outcomes import Json

MISSING_PULL_SECRET = "FailedToRetrieveImagePullSecret"  # noqa: S105 # a reason
NODE_NOT_READY = "NodeNotReady"
_TELLING = frozenset({"Preempted", "TaintManagerEviction"})
"""Reasons of Events that are not warnings, and yet say why a Pod is gone."""
_ECHOES = frozenset({"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"})
"""Reasons of Events that only repeat a Job's own condition."""
_ECHO = re.compile(r"Error: \w+$|Back-off pulling image ")
"""Messages of Events that repeat a container's reason of waiting; what was wrong stands in another one."""
_CREATED = "SuccessfulCreate"
_POD_NAME = re.compile(r"pod:\s*(\S+)")
_GENERATED = 58
"""Characters of a name that the apiserver keeps before it adds five of its own."""
_MOST = 100


@dataclass(frozen=True, slots=True)
class Told:
    """The Events about one object, those that tell of trouble apart."""

    troubles: Sequence[Json]
    """Newest last."""
    pod: str = ""
    """The Pod that a Job's Events say was made."""
    missing_right: str = ""
    """How a person is told that nobody may look; empty where somebody may."""

    @property
    def newest(self) -> str:
        """The newest trouble in words; empty where there is none."""
        return _words(self.troubles[-1]) if self.troubles else ""

    def of(self, reason: str) -> str:
        """Return the newest trouble of that reason in words; empty where there is none."""
        return next((_words(one) for one in reversed(self.troubles) if one.get("reason") == reason), "")


async def about(account: Account, namespace: str, **field: str) -> Told:
    """Return what is told of the object with that `uid`, or that `name`; where Events cannot be read, that nothing is."""
    ((key, value),) = field.items()
    query = {"fieldSelector": f"involvedObject.{key}={value}"}
    found: list[Json] = []
    try:
        async for event in account.list(paths.core_events(namespace), params=query, chunk=_MOST):
            found.append(event)
            if len(found) == _MOST:
                break
    except api_errors.Forbidden:
        return Told((), missing_right="its account may not list events")
    except api_errors.ApiError:
        return Told(())
    found.sort(key=_last_seen)
    return Told([event for event in found if _is_trouble(event)], _made(found))


def _is_trouble(event: Json) -> bool:
    reason = event.get("reason")
    if reason in _TELLING:
        return True
    echoes = reason in _ECHOES or _ECHO.match(str(event.get("message") or "")) is not None
    return event.get("type") == "Warning" and not echoes


def _made(events: Sequence[Json]) -> str:
    for event in reversed(events):
        named = _POD_NAME.search(str(event.get("message") or ""))
        if event.get("reason") == _CREATED and named:
            return named[1]
    return ""


def _words(event: Json) -> str:
    message = str(event.get("message") or "")
    about_it = event.get("involvedObject") or {}
    if about_it.get("kind") == "Job":
        message = _without_generated(message, str(about_it.get("name") or ""))
    return pod_state.words(event.get("reason"), message)


def _without_generated(message: str, job: str) -> str:
    """Return the message without the five characters that are others each time that a Pod of the Job is refused."""
    prefix = f"{job}-"[:_GENERATED]
    return re.sub(rf"{re.escape(prefix)}[a-z0-9]{{5}}\b", f"{prefix}…", message)


def _last_seen(event: Json) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((at for at in times if at), event["metadata"].get("creationTimestamp") or ""))
