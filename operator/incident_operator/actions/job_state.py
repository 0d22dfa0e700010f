"""What a Job says about how it stands, in words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from incident_operator.actions import pod_state
from incident_operator.core.outcomes import Json

_SAY_NOTHING = frozenset({"BackoffLimitExceeded", "PodFailurePolicy"})
"""Reasons of a failed Job that only repeat that its one Pod failed."""
_DISRUPTED = "has condition DisruptionTarget"
"""In the words of a Job that failed by its Pod failure policy."""


class State(Enum):
    """Where a Job stands."""

    WAITING = "waiting"
    """Suspended, and never anything else: nothing of it has run."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"
    """It is being deleted before its end."""


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
    """Return the Job controller's own reason and message, e.g. `DeadlineExceeded`."""
    failed = _held(job).get("Failed", {})
    message = str(failed.get("message") or "")
    if _DISRUPTED in message:
        whose = message.partition(f" {_DISRUPTED}")[0]
        return pod_state.words("Disrupted", f"{whose} was evicted, preempted, or lost with its node")
    return pod_state.words(failed.get("reason"), message)


def says_why(job: Json) -> bool:
    """Tell whether the Job controller's reason says more than that the Pod failed."""
    failed = _held(job).get("Failed", {})
    return _DISRUPTED in str(failed.get("message")) or failed.get("reason") not in {*_SAY_NOTHING, None, ""}


def is_stopping(job: Json) -> bool:
    """Tell whether the Job controller has decided that the Job fails, and waits for its Pod to end."""
    return "FailureTarget" in _held(job)


def progress(job: Json, pod: Json | None, now: datetime, why: str = "") -> str:
    """Return one line on a Job that has not ended: how long it runs, or why it cannot. `why` is what Events say."""
    which = f"Job {job['metadata']['name']}"
    cause = f": {why}" if why else ""
    if job["spec"].get("suspend"):
        return f"{which}: suspended; nothing runs until somebody sets spec.suspend to false"
    if pod is None and is_stopping(job):
        return f"{which}: is being ended{cause}"
    if pod is None and not job.get("status", {}).get("active"):
        return f"{which}: no Pod yet, after {age(job, now):.0f}s{cause}"
    if pod is None:
        return f"{which}: running for {age(job, now):.0f}s{cause}"
    if pod["metadata"].get("deletionTimestamp"):
        told = pod_state.trouble(pod) or why
        return f"{which}: its Pod is being deleted{f': {told}' if told else ''}"
    if obstacle := "; ".join(part for part in (pod_state.obstacle(pod), why) if part):
        what = "cannot start" if pod.get("status", {}).get("phase") == "Pending" else "is in trouble"
        return f"{which}: its Pod {what}: {obstacle}"
    doing = "starting" if pod.get("status", {}).get("phase") == "Pending" else "running"
    return f"{which}: {doing} for {age(job, now):.0f}s{pod_state.first_at_work(pod) or pod_state.unanswered(pod)}"


def age(job: Json, now: datetime) -> float:
    """Return how many seconds ago the Job was let run, or created where its controller has not told that."""
    began = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return max(0.0, (now - datetime.fromisoformat(began)).total_seconds())


def _held(job: Json) -> Mapping[str, Json]:
    """Return the conditions that hold, by type."""
    conditions = job.get("status", {}).get("conditions") or []
    return {condition["type"]: condition for condition in conditions if condition["status"] == "True"}
