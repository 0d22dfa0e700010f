"""Follows a Job that was let run to its end: what it, its newest Pod and that one's log come to.

The Job itself tells how it stands. Its Pods, their log and Events only say more, so where the account may not read them it is
followed without, and that is told. Events are read only where no Pod runs that would be, and at an end that no container explains.

A Job whose container has done its work while another one goes on is ended: its deadline is set to a second, which has passed. The Job
controller lets it fail for good and ends its Pod, so it can never run again, as a suspended Job could, and stays to be looked at, as a
deleted one would not. The same patch notes what the container came to: whoever looks after that, a restarted operator too, reads it there,
since the Pod is gone by then.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from incident_operator.actions import pods, workloads
from incident_operator.actions.job import template as job_template
from incident_operator.actions.logs import last_line, newest_lines, split
from incident_operator.actions.pods import MISSING_PULL_SECRET, NODE_NOT_READY, Ended, Told, about
from incident_operator.api.meta import GROUP
from incident_operator.core import reasons
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Failed, Json, Outcome, Pending, Succeeded, Undetermined
from incident_operator.kubernetes import discovery, errors
from incident_operator.kubernetes.accounts import Account

if TYPE_CHECKING:
    from incident_operator.actions.job.job import Job

ENDED = f"{GROUP}/ended"
"""On a Job: how the container that is meant ended before the rest was stopped."""
_PASSED = 1
"""Seconds after its start at which a Job that is stopped would have had to be done."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Whose end decides, and what it was; the exit code is None where it never ran or nobody knows."""

    pod: str
    container: str
    exit_code: int | None
    reason: str

    @property
    def told(self) -> str:
        """For people, where nothing else is known any more."""
        reason = f"{self.reason}, " if self.reason else ""
        return f"container {self.container}: {reason}exit code {self.exit_code}; the others were ended"


def stop(job: Json, ending: Ending) -> Sequence[workloads.Operation]:
    """Return the patch that ends this very version of a Job, and notes why."""
    return [
        *workloads.tests(job),
        workloads.annotated(job, ENDED, json.dumps(asdict(ending))),
        {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": _PASSED},
    ]


def noted(job: Json) -> Ending | None:
    """Return what was noted when the Job was stopped; None where it was not, or what stands there is something else."""
    try:
        found = json.loads(workloads.annotations(job).get(ENDED, ""))
    except ValueError:
        return None
    return _ending(found) if isinstance(found, Mapping) else None


def _ending(found: Mapping[str, Any]) -> Ending | None:
    texts = [found.get(key) for key in ("pod", "container", "reason")]
    code = found.get("exit_code")
    if not all(isinstance(each, str) for each in texts) or not isinstance(code, int) or isinstance(code, bool):
        return None
    pod, container, reason = (str(each) for each in texts)
    return Ending(pod, container, code, reason)


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
        return pods.words("Disrupted", f"{whose} was evicted, preempted, or lost with its node")
    return pods.words(failed.get("reason"), message)


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
        told = pods.trouble(pod) or why
        return f"{which}: its Pod is being deleted{f': {told}' if told else ''}"
    if obstacle := "; ".join(part for part in (pods.obstacle(pod), why) if part):
        what = "cannot start" if pod.get("status", {}).get("phase") == "Pending" else "is in trouble"
        return f"{which}: its Pod {what}: {obstacle}"
    doing = "starting" if pod.get("status", {}).get("phase") == "Pending" else "running"
    return f"{which}: {doing} for {age(job, now):.0f}s{pods.first_at_work(pod) or pods.unanswered(pod)}"


def age(job: Json, now: datetime) -> float:
    """Return how many seconds ago the Job was let run, or created where its controller has not told that."""
    began = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return max(0.0, (now - datetime.fromisoformat(began)).total_seconds())


def _held(job: Json) -> Mapping[str, Json]:
    """Return the conditions that hold, by type."""
    conditions = job.get("status", {}).get("conditions") or []
    return {condition["type"]: condition for condition in conditions if condition["status"] == "True"}


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
    if state(job) in {State.SUCCEEDED, State.FAILED}:
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
        async for pod in account.list(discovery.pods(job["metadata"]["namespace"]), params=query):
            if _is_of(job, pod) and (newest is None or _made(newest) <= _made(pod)):
                newest = pod
    except errors.Forbidden:
        return Seen(None, _MAY_NOT_LIST_PODS)
    except errors.Unreadable:
        return Seen(None, "its Pod cannot be read")
    return Seen(newest)


def _is_of(job: Json, pod: Json) -> bool:
    return any(owner.get("uid") == job["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences") or [])


def _made(pod: Json) -> tuple[str, bool]:
    """Return what orders Pods by their age; of two that were made in one second, the one that has ended was replaced."""
    return str(pod["metadata"]["creationTimestamp"]), pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}


def runs(job: Json, pod: Json | None, now: datetime, why: str = "", blind: str = "") -> Pending:
    """Return that a Job goes on, or what keeps it. Look again after 1 second at first, after 5 from a minute on."""
    pause = min(5.0, 1.0 + age(job, now) / 15.0)
    return Pending(pause, _joined(progress(job, pod, now, why), blind))


def _is_late(job: Json, pod: Json | None, now: datetime) -> bool:
    """Tell whether Events are due: nothing runs that would be, and neither the Job nor its Pod says why."""
    if job["spec"].get("suspend") or age(job, now) < _PATIENCE:
        return False
    if pod is None:
        return not job.get("status", {}).get("ready")
    if pod["metadata"].get("deletionTimestamp") or pods.is_left_alone(pod):
        return not pods.trouble(pod)
    if pod.get("status", {}).get("phase") != "Pending" or pods.first_at_work(pod):
        return False
    return pods.is_pulling(pod) or not pods.obstacle(pod)


async def _events(account: Account, job: Json, seen: Seen) -> Told:
    """Return what Events say: of the Pod, or of the Job where there is none, and then of the Pod that it had."""
    namespace = job["metadata"]["namespace"]
    if seen.pod is not None:
        return await about(account, namespace, uid=seen.pod["metadata"]["uid"])
    told = await about(account, namespace, uid=job["metadata"]["uid"])
    if told.troubles or not told.pod:
        return told
    return replace(await about(account, namespace, name=told.pod), pod=told.pod)


def _obstacle(told: Told, pod: Json | None) -> str:
    """Return what Events add to what the Pod says; of an image that cannot be had it says the rest itself."""
    if pod is not None and pods.is_pulling(pod):
        return told.of(MISSING_PULL_SECRET)
    return told.newest


def _main_ended_alone(call: "Call[Job]", job: Json, pod: Json) -> Ended | None:
    """Return how the container that is meant ended, where another one keeps the Pod from ending."""
    if is_stopping(job) or not pods.still_running(pod):
        return None
    main = pods.ended(pod, job_template.chosen_name(call.spec, job["spec"]["template"]))
    return main if main is not None and pods.by_itself(pod, main) else None


async def _decided(account: Account, call: "Call[Job]", job: Json, pod: Json, main: Ended) -> Outcome:
    """Return what the container that is meant came to, and end what goes on beside it; its log is read before that."""
    log = await _log_tail(account, call, Seen(pod), main.name)
    others = ", ".join(pods.still_running(pod))
    ending = Ending(pod["metadata"]["name"], main.name, main.exit_code, main.reason)
    try:
        await account.json_patch(workloads.job_path(call.namespace, job["metadata"]["name"]), stop(job, ending))
    except errors.Conflict:
        return Pending(1.0, f"Job {job['metadata']['name']}: {main}; {others} is being ended")
    except errors.Forbidden:
        others = f"{others} runs until the Job's deadline, which its account may not patch"
    else:
        others = f"{others} kept running, and was ended"
    return _outcome(job, ending, log, f"{main}; {others}")


async def _ended(account: Account, call: "Call[Job]", job: Json, seen: Seen) -> Outcome:
    main = job_template.chosen_name(call.spec, job["spec"]["template"])
    how = pods.that_matters(seen.pod, main) if seen.pod is not None else None
    log = await _log_tail(account, call, seen, how.name if how is not None else main)
    succeeded = state(job) is State.SUCCEEDED
    decided = None if succeeded else noted(job)
    if decided is not None:
        return _outcome(job, decided, log, decided.told)
    pod = str(seen.pod["metadata"]["name"]) if seen.pod is not None else ""
    ending = Ending(pod, main, None, "") if how is None else Ending(pod, how.name, how.exit_code, how.reason)
    done = how is not None and seen.pod is not None and _is_done(how, main, seen.pod)
    if succeeded or done:
        beside = "" if succeeded else f"{how}, though the Job failed: {why_failed(job)}"
        return _outcome(job, ending, log, beside, succeeded=True)
    return _outcome(job, ending, log, await _cause(account, job, seen, how), succeeded=False)


def _is_done(how: Ended, main: str, pod: Json) -> bool:
    """Tell whether the container that is meant did all that it had to, whatever the others came to."""
    return (how.kind, how.name, how.exit_code) == (pods.CONTAINER, main, 0) and pods.by_itself(pod, how)


def _outcome(job: Json, ending: Ending, log: Sequence[str], told: str, *, succeeded: bool | None = None) -> Outcome:
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
    message = f"Job {name} failed: {told}{last_line(log) if ending.exit_code is not None else ''}"
    return Failed(reasons.JOB_FAILED, message, retryable=False, result=result, effected=True)


async def _cause(account: Account, job: Json, seen: Seen, how: Ended | None) -> str:
    """Return why a Job failed: what befell its Pod, how its container ended; and Events where no container explains it."""
    befell = pods.trouble(seen.pod) if seen.pod is not None else ""
    known = [befell] if befell else [why_failed(job)] if says_why(job) else []
    if how is not None:
        others = pods.beside(seen.pod, how) if seen.pod is not None else ()
        return "; ".join([*known, str(how), *map(str, others)])
    told = await _events(account, job, seen)
    if not known and not told.troubles:
        known.append(why_failed(job))
    if seen.pod is not None and not befell:
        known.append(pods.obstacle(seen.pod))
    elif seen.pod is None and told.pod and not seen.blind and not says_why(job):
        known.append(f"its Pod {told.pod} is gone")
    known += [told.of(reason) for reason in (MISSING_PULL_SECRET, NODE_NOT_READY)]
    known += [told.newest, seen.blind, told.missing_right]
    return _joined(*dict.fromkeys(known))


async def _log_tail(account: Account, call: "Call[Job]", seen: Seen, container: str) -> Sequence[str]:
    """Return the newest lines; where they cannot be read, a line that says why: the Job's end stands without them."""
    if seen.pod is None:
        return [f"(no log: {seen.blind or 'the Job has no Pod, or no longer has one'})"]
    query = {"container": container, "tailLines": str(_LOG_LINES)}
    try:
        path = discovery.pods(call.namespace, seen.pod["metadata"]["name"], "log")
        text = await account.log(path, params=query, keep=2 * _LOG_BYTES)
    except errors.ApiError as error:
        return [f"(log not readable: {error.message})"]
    return newest_lines(split(text), _LOG_BYTES)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
