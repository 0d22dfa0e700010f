"""Follows a Job that was let run to its end: what it, its newest Pod and that one's log come to.

The Job itself tells how it stands. Its Pods, their log and Events only say more, so where the account may not read them it is
followed without, and that is told. Events are read only where no Pod runs that would be, and at an end that no container explains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from incident_operator.actions import job_ending, job_state, job_template, log_lines, pod_events, pod_state, workloads
from incident_operator.actions.job_state import State
from incident_operator.actions.pod_state import Ended
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account
from incident_operator.core import reasons
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Failed, Json, Outcome, Pending, Succeeded, Undetermined

if TYPE_CHECKING:
    from incident_operator.actions.job import Job

JOB_NAME = "batch.kubernetes.io/job-name"
"""The label that names a Pod's Job."""
_LOG_LINES = 200
_LOG_BYTES = 32 * 1024
_PATIENCE = 3.0
"""Seconds that a Job takes to begin where nothing is in the way; so long nobody asks what is."""
_MAY_NOT_LIST_PODS = "its account may not list pods"


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest Pod of a Job."""

    pod: Json | None
    """None where there is none, or where they may not or cannot be read: the Job itself tells how it stands."""
    blind: str = ""
    """How a person is told that nobody may look; empty where somebody may."""


async def followed(account: Account, call: "Call[Job]", job: Json, now: datetime) -> Outcome:
    """Return what a Job that was let run has come to so far."""
    seen = await _newest_pod(account, job)
    if job_state.state(job) in {State.SUCCEEDED, State.FAILED}:
        return await _ended(account, call, job, seen)
    if seen.pod is not None and (main := _main_ended_alone(call, job, seen.pod)) is not None:
        return await _decided(account, call, job, seen.pod, main)
    if not _is_late(job, seen.pod, now):
        return runs(job, seen.pod, now, blind=seen.blind)
    told = await _events(account, job, seen)
    return runs(job, seen.pod, now, _obstacle(told, seen.pod), _joined(seen.blind, told.missing_right))


def deleted(call: "Call[Job]", name: str) -> Undetermined:
    """Return what is known of a Job that is gone."""
    told = f"Job {name} in {call.namespace} was deleted by somebody"
    return Undetermined(f"{told}; nobody can tell what it did, and it is not created again")


async def _newest_pod(account: Account, job: Json) -> Seen:
    """Return the newest of the Pods that this Job owns; a label alone does not prove it, since anybody may write one."""
    query = {"labelSelector": workloads.selector({JOB_NAME: job["metadata"]["name"]})}
    newest: Json | None = None
    try:
        async for pod in account.list(paths.pods(job["metadata"]["namespace"]), params=query):
            if _is_of(job, pod) and (newest is None or _made(newest) <= _made(pod)):
                newest = pod
    except api_errors.Forbidden:
        return Seen(None, _MAY_NOT_LIST_PODS)
    except api_errors.Unreadable:
        return Seen(None, "its Pod cannot be read")
    return Seen(newest)


def _is_of(job: Json, pod: Json) -> bool:
    return any(owner.get("uid") == job["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences") or [])


def _made(pod: Json) -> tuple[str, bool]:
    """Return what orders Pods by their age; of two that were made in one second, the one that has ended was replaced."""
    return str(pod["metadata"]["creationTimestamp"]), pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}


def runs(job: Json, pod: Json | None, now: datetime, why: str = "", blind: str = "") -> Pending:
    """Return that a Job goes on, or what keeps it. Look again after 1 second at first, after 5 from a minute on."""
    pause = min(5.0, 1.0 + job_state.age(job, now) / 15.0)
    return Pending(pause, _joined(job_state.progress(job, pod, now, why), blind))


def _is_late(job: Json, pod: Json | None, now: datetime) -> bool:
    """Tell whether Events are due: nothing runs that would be, and neither the Job nor its Pod says why."""
    if job["spec"].get("suspend") or job_state.age(job, now) < _PATIENCE:
        return False
    if pod is None:
        return not job.get("status", {}).get("ready")
    if pod["metadata"].get("deletionTimestamp") or pod_state.is_left_alone(pod):
        return not pod_state.trouble(pod)
    if pod.get("status", {}).get("phase") != "Pending" or pod_state.first_at_work(pod):
        return False
    return pod_state.is_pulling(pod) or not pod_state.obstacle(pod)


async def _events(account: Account, job: Json, seen: Seen) -> pod_events.Told:
    """Return what Events say: of the Pod, or of the Job where there is none, and then of the Pod that it had."""
    namespace = job["metadata"]["namespace"]
    if seen.pod is not None:
        return await pod_events.about(account, namespace, uid=seen.pod["metadata"]["uid"])
    told = await pod_events.about(account, namespace, uid=job["metadata"]["uid"])
    if told.troubles or not told.pod:
        return told
    return replace(await pod_events.about(account, namespace, name=told.pod), pod=told.pod)


def _obstacle(told: pod_events.Told, pod: Json | None) -> str:
    """Return what Events add to what the Pod says; of an image that cannot be had it says the rest itself."""
    if pod is not None and pod_state.is_pulling(pod):
        return told.of(pod_events.MISSING_PULL_SECRET)
    return told.newest


def _main_ended_alone(call: "Call[Job]", job: Json, pod: Json) -> Ended | None:
    """Return how the container that is meant ended, where another one keeps the Pod from ending."""
    if job_state.is_stopping(job) or not pod_state.still_running(pod):
        return None
    main = pod_state.ended(pod, job_template.chosen_name(call.spec, job["spec"]["template"]))
    return main if main is not None and pod_state.by_itself(pod, main) else None


async def _decided(account: Account, call: "Call[Job]", job: Json, pod: Json, main: Ended) -> Outcome:
    """Return what the container that is meant came to, and end what goes on beside it; its log is read before that."""
    log = await _log_tail(account, call, Seen(pod), main.name)
    others = ", ".join(pod_state.still_running(pod))
    ending = job_ending.Ending(pod["metadata"]["name"], main.name, main.exit_code, main.reason)
    try:
        await account.json_patch(
            workloads.job_path(call.namespace, job["metadata"]["name"]), job_ending.stop(job, ending)
        )
    except api_errors.Conflict:
        return Pending(1.0, f"Job {job['metadata']['name']}: {main}; {others} is being ended")
    except api_errors.Forbidden:
        others = f"{others} runs until the Job's deadline, which its account may not patch"
    else:
        others = f"{others} kept running, and was ended"
    return _outcome(job, ending, log, f"{main}; {others}")


async def _ended(account: Account, call: "Call[Job]", job: Json, seen: Seen) -> Outcome:
    main = job_template.chosen_name(call.spec, job["spec"]["template"])
    how = pod_state.that_matters(seen.pod, main) if seen.pod is not None else None
    log = await _log_tail(account, call, seen, how.name if how is not None else main)
    succeeded = job_state.state(job) is State.SUCCEEDED
    decided = None if succeeded else job_ending.noted(job)
    if decided is not None:
        return _outcome(job, decided, log, decided.told)
    pod = str(seen.pod["metadata"]["name"]) if seen.pod is not None else ""
    if how is None:
        ending = job_ending.Ending(pod, main, None, "")
    else:
        ending = job_ending.Ending(pod, how.name, how.exit_code, how.reason)
    done = how is not None and seen.pod is not None and _is_done(how, main, seen.pod)
    if succeeded or done:
        beside = "" if succeeded else f"{how}, though the Job failed: {job_state.why_failed(job)}"
        return _outcome(job, ending, log, beside, succeeded=True)
    return _outcome(job, ending, log, await _cause(account, job, seen, how), succeeded=False)


def _is_done(how: Ended, main: str, pod: Json) -> bool:
    """Tell whether the container that is meant did all that it had to, whatever the others came to."""
    return (how.kind, how.name, how.exit_code) == (pod_state.CONTAINER, main, 0) and pod_state.by_itself(pod, how)


def _outcome(
    job: Json, ending: job_ending.Ending, log: Sequence[str], told: str, *, succeeded: bool | None = None
) -> Outcome:
    done = ending.exit_code == 0 if succeeded is None else succeeded
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    result = {
        "succeeded": done,
        "exitCode": ending.exit_code,
        "log": log,
        "pod": ending.pod,
        "container": ending.container,
        "reason": ending.reason,
    }
    if done:
        beside = f": {told}" if told else ""
        return Succeeded(result, f"Job {name} succeeded{beside}", {"job": name, "uid": uid})
    message = f"Job {name} failed: {told}{log_lines.last_line(log) if ending.exit_code is not None else ''}"
    return Failed(reasons.JOB_FAILED, message, retryable=False, result=result, effected=True)


async def _cause(account: Account, job: Json, seen: Seen, how: Ended | None) -> str:
    """Return why a Job failed: what befell its Pod, how its container ended; and Events where no container explains it."""
    befell = pod_state.trouble(seen.pod) if seen.pod is not None else ""
    known = [befell] if befell else [job_state.why_failed(job)] if job_state.says_why(job) else []
    if how is not None:
        others = pod_state.beside(seen.pod, how) if seen.pod is not None else ()
        return "; ".join([*known, str(how), *map(str, others)])
    told = await _events(account, job, seen)
    if not known and not told.troubles:
        known.append(job_state.why_failed(job))
    if seen.pod is not None and not befell:
        known.append(pod_state.obstacle(seen.pod))
    elif seen.pod is None and told.pod and not seen.blind and not job_state.says_why(job):
        known.append(f"its Pod {told.pod} is gone")
    known += [told.of(reason) for reason in (pod_events.MISSING_PULL_SECRET, pod_events.NODE_NOT_READY)]
    known += [told.newest, seen.blind, told.missing_right]
    return _joined(*dict.fromkeys(known))


async def _log_tail(account: Account, call: "Call[Job]", seen: Seen, container: str) -> Sequence[str]:
    """Return the newest lines; where they cannot be read, a line that says why: the Job's end stands without them."""
    if seen.pod is None:
        return [f"(no log: {seen.blind or 'the Job has no Pod, or no longer has one'})"]
    query = {"container": container, "tailLines": str(_LOG_LINES)}
    try:
        path = paths.pods(call.namespace, seen.pod["metadata"]["name"], "log")
        text = await account.log(path, params=query, keep=2 * _LOG_BYTES)
    except api_errors.ApiError as error:
        return [f"(log not readable: {error.message})"]
    return log_lines.newest(log_lines.split(text), _LOG_BYTES)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
