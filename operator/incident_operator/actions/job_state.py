"""What a Job and its Pod say about how it stands, in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from incident_operator.core.outcomes import Json

_CANNOT_START = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


class State(Enum):
    """Where a Job stands."""

    WAITING = "waiting"
    """Suspended, and never anything else: nothing of it has run."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"
    """It is being deleted before its end."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the container ended; the exit code is None where it never ran or nobody knows."""

    pod: str
    exit_code: int | None


def state(job: Json) -> State:
    """Return where a Job stands. The apiserver counts changes of the spec, so a Job that was let run once never waits again."""
    held = _held(job)
    if "Complete" in held:
        return State.SUCCEEDED
    if "Failed" in held:
        return State.FAILED
    if job["metadata"].get("deletionTimestamp"):
        return State.GONE
    unchanged = job["metadata"].get("generation") == 1
    return State.WAITING if job["spec"].get("suspend") and unchanged else State.RUNNING


def why_failed(job: Json) -> str:
    """Return the Job controller's own reason, e.g. `DeadlineExceeded`."""
    failed = _held(job).get("Failed", {})
    return str(failed.get("reason") or failed.get("message") or "")


def newest_pod(pods: Sequence[Json]) -> Json | None:
    """Return the Pod that was made last."""
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def ending(pod: Json, container: str) -> Ending:
    """Return how a container of a Pod ended."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        terminated = (status.get("state") or {}).get("terminated")
        if status["name"] == container and terminated:
            return Ending(pod["metadata"]["name"], int(terminated["exitCode"]))
    return Ending(pod["metadata"]["name"], None)


def progress(job: Json, pod: Json | None, now: datetime) -> str:
    """Return one line on a Job that has not ended: how long it runs, or why it cannot."""
    which = f"Job {job['metadata']['name']}"
    if job["spec"].get("suspend"):
        return f"{which}: suspended; nothing runs until somebody sets spec.suspend to false"
    if pod is None and not job.get("status", {}).get("active"):
        return f"{which}: no Pod yet, after {age(job, now):.0f}s"
    obstacle = _obstacle(pod) if pod is not None else ""
    if obstacle:
        return f"{which}: its Pod cannot start: {obstacle}"
    doing = "starting" if pod is not None and pod.get("status", {}).get("phase") == "Pending" else "running"
    return f"{which}: {doing} for {age(job, now):.0f}s"


def age(job: Json, now: datetime) -> float:
    """Return how many seconds ago the Job was let run, or created where its controller has not told that."""
    began = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return max(0.0, (now - datetime.fromisoformat(began)).total_seconds())


def _held(job: Json) -> Mapping[str, Json]:
    """Return the conditions that hold, by type."""
    conditions = job.get("status", {}).get("conditions") or []
    return {condition["type"]: condition for condition in conditions if condition["status"] == "True"}


def _obstacle(pod: Json) -> str:
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unscheduled')} ({condition.get('message', '')})"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _CANNOT_START:
            return f"{waiting['reason']} ({waiting.get('message', '')})"
    return ""
