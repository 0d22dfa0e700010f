"""Follows a Job that was let run to its end: what it, its newest Pod and that one's log come to.

The Job itself tells how it stands. Its Pods and their log only say more, so where the account may not read them it is followed
without.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from incident_operator.actions import job_state, job_template, log_lines, workloads
from incident_operator.actions.job_state import Ending, State
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


async def followed(account: Account, call: "Call[Job]", job: Json, now: datetime) -> Outcome:
    """Return what a Job that was let run has come to so far."""
    pod = await _newest_pod(account, job)
    if job_state.state(job) in {State.SUCCEEDED, State.FAILED}:
        return await _ended(account, call, job, pod)
    return runs(job, pod, now)


def deleted(call: "Call[Job]", name: str) -> Undetermined:
    """Return what is known of a Job that is gone."""
    told = f"Job {name} in {call.namespace} was deleted by somebody"
    return Undetermined(f"{told}; nobody can tell what it did, and it is not made again")


async def _newest_pod(account: Account, job: Json) -> Json | None:
    """Return the Job's newest Pod; None where they may not or cannot be read, since the Job itself tells how it stands."""
    query = {"labelSelector": workloads.selector({JOB_NAME: job["metadata"]["name"]})}
    newest: Json | None = None
    try:
        async for pod in account.list(paths.pods(job["metadata"]["namespace"]), params=query):
            newest = job_state.newest_pod([pod] if newest is None else [newest, pod])
    except (api_errors.Forbidden, api_errors.Unreadable):
        return None
    return newest


def runs(job: Json, pod: Json | None, now: datetime) -> Pending:
    """Return that a Job goes on. Look again after 1 second at first, after 5 from a minute on."""
    pause = min(5.0, 1.0 + job_state.age(job, now) / 15.0)
    return Pending(pause, job_state.progress(job, pod, now))


async def _ended(account: Account, call: "Call[Job]", job: Json, pod: Json | None) -> Outcome:
    container = job_template.chosen_name(call.spec, job["spec"]["template"]["spec"])
    ending = job_state.ending(pod, container) if pod is not None else Ending("", None)
    log = await _log_tail(account, call, pod, container)
    succeeded = job_state.state(job) is State.SUCCEEDED
    result = {"succeeded": succeeded, "exitCode": ending.exit_code, "log": log, "pod": ending.pod}
    name = f"Job {job['metadata']['name']}"
    if succeeded:
        return Succeeded(result, f"{name} succeeded", {"job": job["metadata"]["name"], "uid": job["metadata"]["uid"]})
    cause = job_state.why_failed(job) if ending.exit_code is None else f"exit code {ending.exit_code}"
    message = f"{name} failed: {cause}{log_lines.last_line(log)}"
    return Failed(reasons.JOB_FAILED, message, retryable=False, result=result, effected=True)


async def _log_tail(account: Account, call: "Call[Job]", pod: Json | None, container: str) -> Sequence[str]:
    """Return the newest lines; where they cannot be read, a line that says why: the Job's end stands without them."""
    if pod is None:
        return ["(no log: the Job has no Pod, or its account may not list Pods)"]
    query = {"container": container, "tailLines": str(_LOG_LINES)}
    try:
        path = paths.pods(call.namespace, pod["metadata"]["name"], "log")
        text = await account.log(path, params=query, keep=2 * _LOG_BYTES)
    except api_errors.ApiError as error:
        return [f"(log not readable: {error.message})"]
    return log_lines.newest(text.splitlines(), _LOG_BYTES)
