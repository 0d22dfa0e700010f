"""`job`: runs a Job to its end, once per step key (effect: k8s-create).

The Job's name comes from the step key, so a second create meets the first one; nothing is watched, it is asked for.
The account needs: get and create on jobs, list on pods, get on pods/log, and get on the workload it runs from.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from incident_operator.actions import job_state, job_template, kube_failures, log_lines, workloads
from incident_operator.actions.job_state import Ending, State
from incident_operator.actions.kube_failures import Unusable
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.api import actions
from incident_operator.api.annotations import EFFECT_KEY
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account, Cluster
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Json, Outcome, Pending, Succeeded

_BATCH = "/apis/batch/v1"
_JOB_NAME = "batch.kubernetes.io/job-name"
_LOG_LINES = 200
_LOG_BYTES = 32 * 1024
_LAST_LINE = 300


class Job:
    """Creates a Job as the Runbook's account and follows it by asking."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._now = now

    async def run(self, call: Call) -> Outcome:
        """Create the Job or find it; Pending until it has ended, then its exit code and the tail of its log."""
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            job = await _found_or_created(account, call)
        except (api_errors.ApiError, Unusable) as error:
            return kube_failures.of_effect(error, call)
        if (job["metadata"].get("annotations") or {}).get(EFFECT_KEY) != call.key:
            return _not_ours(call, job)
        try:
            pod = job_state.newest_pod(await _pods(account, job))
        except api_errors.Unavailable as error:
            return kube_failures.of_effect(error, call)
        if job_state.state(job) is State.RUNNING:
            return Pending(_pause(job_state.age(job, self._now())), job_state.progress(job, pod, self._now()))
        return await _ended(account, call, job, pod)

    async def preview(self, call: Call) -> Preview:
        """Say what would run, after a dry run as the Runbook's account; the key is no part of it."""
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            manifest = await _manifest(account, call)
            with suppress(api_errors.AlreadyExists):
                await account.create(_jobs(call), manifest, dry_run=True)
        except (api_errors.ApiError, Unusable) as error:
            raise PreviewError(f"{call.step}: {kube_failures.explain(error, call)}") from error
        spec = _spec(call)
        origin = spec.source or "the Runbook's template"
        return Preview(f"create a Job in {call.namespace} from {origin}", _details(call, manifest), in_trial="accepted")


async def _found_or_created(account: Account, call: Call) -> Json:
    path = paths.of(_BATCH, call.namespace, "jobs", job_template.name(call.step, call.key))
    try:
        return await account.get(path)
    except api_errors.NotFound:
        manifest = await _manifest(account, call)
    try:
        return await account.create(_jobs(call), manifest)
    except api_errors.AlreadyExists:
        return await account.get(path)


async def _manifest(account: Account, call: Call) -> dict[str, Any]:
    spec = _spec(call)
    if (spec.source is None) == (spec.template is None):
        raise Unusable("job needs either `from` or `template`")
    if spec.source is None:
        return job_template.manifest(call, spec, job_template.checked(spec.template or {}))
    workload = await account.get(workloads.path(call.namespace, spec.source))
    return job_template.manifest(call, spec, job_template.from_workload(workload, spec.container))


async def _pods(account: Account, job: Json) -> Sequence[Json]:
    """Return the Job's Pods; none where they may not or cannot be read, since the Job itself tells how it stands."""
    selector = workloads.selector({_JOB_NAME: job["metadata"]["name"]})
    try:
        page = await account.get(paths.pods(job["metadata"]["namespace"]), params={"labelSelector": selector})
    except (api_errors.Forbidden, api_errors.Unreadable):
        return []
    return page.get("items") or []


async def _ended(account: Account, call: Call, job: Json, pod: Json | None) -> Outcome:
    container = job_template.chosen_name(_spec(call), job["spec"]["template"]["spec"])
    ending = job_state.ending(pod, container) if pod is not None else Ending("", None)
    log = await _log_tail(account, call, pod, container)
    succeeded = job_state.state(job) is State.SUCCEEDED
    result = {"succeeded": succeeded, "exitCode": ending.exit_code, "log": log, "pod": ending.pod}
    name = f"Job {job['metadata']['name']}"
    if succeeded:
        return Succeeded(result, f"{name} succeeded", {"job": job["metadata"]["name"], "uid": job["metadata"]["uid"]})
    message = f"{name} failed: {_cause(job, ending)}{_last_line(log)}"
    return Failed(reasons.JOB_FAILED, message, retryable=False, result=result, effected=True)


async def _log_tail(account: Account, call: Call, pod: Json | None, container: str) -> Sequence[str]:
    """Return the newest lines; where they cannot be read, a line that says why: the Job's end stands without them."""
    if pod is None:
        return ["(no log: the Job has no Pod, or its account may not list Pods)"]
    query = {"container": container, "tailLines": str(_LOG_LINES)}
    try:
        text = await account.log(paths.pods(call.namespace, pod["metadata"]["name"], "log"), params=query)
    except api_errors.ApiError as error:
        return [f"(log not readable: {kube_failures.explain(error, call)})"]
    return log_lines.newest(text.splitlines(), _LOG_BYTES)


def _cause(job: Json, ending: Ending) -> str:
    if ending.exit_code is None:
        return job_state.why_failed(job)
    return f"exit code {ending.exit_code}"


def _last_line(log: Sequence[str]) -> str:
    said = next((line.strip() for line in reversed(log) if line.strip()), "")
    return f"; last line: {said[:_LAST_LINE]}" if said else ""


def _pause(age: float) -> float:
    """Return the seconds until the next look: 1 at first, 5 from a minute on."""
    return min(5.0, 1.0 + age / 15.0)


def _not_ours(call: Call, job: Json) -> Failed:
    message = f"Job {job['metadata']['name']} in {call.namespace} exists but was not made by this step; left alone"
    return Failed(reasons.CONFLICT, message, retryable=False)


def _details(call: Call, manifest: Json) -> Mapping[str, Any]:
    spec = _spec(call)
    template = manifest["spec"]["template"]
    chosen = job_template.chosen_name(spec, template["spec"])
    container = next(one for one in template["spec"]["containers"] if one["name"] == chosen)
    digest = hashlib.sha256(json.dumps(template["spec"], sort_keys=True).encode()).hexdigest()
    return {
        "container": chosen,
        "image": container.get("image", ""),
        "command": list(container.get("command") or []),
        "env": dict(spec.env),
        "podSpec": f"sha256:{digest[:16]}",
        "timeout": f"{call.timeout:.0f}s",
    }


def _jobs(call: Call) -> str:
    return paths.of(_BATCH, call.namespace, "jobs")


def _spec(call: Call) -> actions.Job:
    if not isinstance(call.spec, actions.Job):
        raise TypeError(f"job was called with {type(call.spec).__name__}")
    return call.spec
