"""`job`: runs a Job to its end, once (effect: k8s-create); nothing is watched, it is asked for.

reserve  creates the Job suspended, which has no effect   → its name and uid go into the intent
act      lets that very Job run                           → one patch that tests uid and resourceVersion
look     follows it by its uid                            → a Job that is gone was deleted by somebody, and is never made anew
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict

from pydantic import ConfigDict, Field

from incident_operator.actions import pods, workloads
from incident_operator.actions.clients import Clients
from incident_operator.actions.job import beyond, following
from incident_operator.actions.job import template as job_template
from incident_operator.actions.job.beyond import Allow, Beyond
from incident_operator.actions.job.following import State
from incident_operator.actions.job.template import Keep
from incident_operator.api.incident import EFFECT_KEY
from incident_operator.api.meta import GROUP, DnsLabel, Model, exactly_one, unordered, validations
from incident_operator.core import reasons
from incident_operator.core.action import Action, Call, JobSource, Preview, Text, shown_marker
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import ANY, Rule, Take
from incident_operator.core.outcomes import (
    LOOK_AGAIN,
    Effect,
    Failed,
    Failure,
    Json,
    NotDone,
    Outcome,
    RolledBack,
    Undetermined,
    Unusable,
)
from incident_operator.core.runbooks import draft
from incident_operator.kubernetes import errors
from incident_operator.kubernetes.accounts import Account


class Job(Model):
    """Runs a Job to completion (effect: k8s-create)."""

    model_config = ConfigDict(json_schema_extra=validations(exactly_one("source", ["from", "template"])))

    source: Annotated[JobSource | None, Field(alias="from")] = None
    """The workload or CronJob whose Pod template is used; either this or `template`."""
    template: Annotated[dict[str, Any] | None, Take.NATIVE] = None
    """A Pod template: {metadata, spec}."""
    container: DnsLabel | None = None
    """The container that runs `command`, and whose end decides; unless named the Pod's default container, or its first one."""
    command: Annotated[list[Text], Field(max_length=64), Take.POD_ARGV] = Field(default_factory=list)
    """An argv list; never a shell string made from data. An element behind the program may be one `${…}`, or `--name=${…}`."""
    env: Annotated[dict[str, Text], Field(max_length=64), Take.ARGUMENT] = Field(default_factory=dict)
    """Environment variables for that container, beside those of the template."""
    keep: Keep | None = None
    """Labels and annotations of the workload's Pods that the Job's Pod has too."""
    allow: Annotated[list[Allow], Field(max_length=len(Allow), json_schema_extra=unordered())] = Field(
        default_factory=list
    )
    """What its Pod may do beyond running that one container as the Runbook's account; anything else is refused."""


class Result(TypedDict):
    """What `result` holds."""

    succeeded: bool
    exitCode: Annotated[int, "null where it never ran"]
    log: Annotated[list[str], "last 200 lines"]
    pod: str
    container: Annotated[str, "whose log and exit code these are"]
    reason: Annotated[str, "the kubelet's, as `OOMKilled`"]


_CONTAINER = ("template", "spec", ANY, ANY)
_IN_TEMPLATE = (
    Rule((*_CONTAINER, "command", ANY), Take.POD_ARGV),
    Rule((*_CONTAINER, "args", ANY), Take.POD_ARGV, after="command"),
    Rule((*_CONTAINER, "env", ANY, "name"), Take.LITERAL),
    Rule((*_CONTAINER, "env", ANY, "value"), Take.ARGUMENT),
    Rule((*_CONTAINER, "volumeMounts", ANY, "subPathExpr"), Take.ARGUMENT),
    *(Rule((*_CONTAINER, key), Take.LITERAL) for key in ("image", *job_template.HOOKS)),
    Rule(("template", "metadata", "annotations", pods.DEFAULT_CONTAINER), Take.LITERAL),
    Rule(("template", "metadata"), Take.TEXT),
)


def _check(spec: Job, path: str) -> Iterator[Problem]:
    yield from draft.one_of(path, {"from": spec.source, "template": spec.template})
    if spec.keep is not None and spec.source is None:
        yield Problem(f"{path}.keep", "is for a Job from a workload; a template has its own metadata")
    yield from job_template.are_written_out(spec.template or {}, f"{path}.template")
    yield from job_template.expand_no_data(spec, path)
    yield from job_template.obey_no_data(spec, path)
    if spec.template is not None:  # whose account it is, and what a workload holds, is seen when it is shown
        yield from _not_allowed(spec, spec.template, path)


def _not_allowed(spec: Job, template: Mapping[str, Any], path: str) -> Iterator[Problem]:
    meant = spec.container or job_template.meant(template)
    for one in beyond.beyond(template, meant, account=None):
        if one.allow not in spec.allow:
            yield Problem(f"{path}.template", f"{one.what}; if this is intended, write allow: [{one.allow.value}]")


_STARTED = f"{GROUP}/started-by"
"""On a Job that a step let run: its marker. A Job that is only made, or that a queue let run, does not have it."""
_OF_ONE_JOB = frozenset({following.JOB_NAME, "batch.kubernetes.io/controller-uid", "job-name", "controller-uid"})
"""Labels by which the apiserver tells the Pods of one Job from another's."""
_ATTEMPTS = 5
"""The Job controller writes that a Job is suspended, and each write makes an earlier read stale."""
_CHANGED_ONCE = 2
"""Generation of a Job that was changed once: while it is suspended after that, it cannot have run."""
_PAUSE = 1.0


async def show(call: Call[Job], clients: Clients, trial: bool) -> Preview:
    """Say what would run; in a trial after a dry run as the Runbook's account. Raises `Unusable` for what the step does not allow."""
    account = clients.account_of(call)
    made = await _made(account, call)
    manifest = made.manifest
    found = _beyond(call, manifest)
    if trial:
        with suppress(errors.AlreadyExists):
            await account.create(_path(call), manifest, dry_run=True)
        await _may_start(account, call, manifest["metadata"]["name"])
    origin = call.spec.source or "the Runbook's template"
    return Preview(
        f"create a Job in {call.namespace} from {origin}",
        {**_details(call, manifest), **({"leftBehind": made.left_behind} if made.left_behind else {})},
        in_trial="accepted" if trial else None,
        whole={"template": manifest["spec"]["template"]},
        allows=tuple(str(one) for one in found),
        thing=manifest,
        bound=job_template.bound(manifest),
    )


async def _may_start(account: Account, call: Call[Job], name: str) -> None:
    """Raise `Forbidden` where the account may create Jobs, and may not let them run: a patch is judged before its object is sought."""
    nobody = [{"op": "test", "path": "/metadata/uid", "value": ""}]
    with suppress(errors.NotFound, errors.Conflict):
        await account.json_patch(_path(call, name), nobody, dry_run=True)


async def reserve(call: Call[Job], preview: Preview, clients: Clients) -> Mapping[str, Any]:
    """Create the Job suspended, or find it: nothing runs yet, so even a lost reply leaves nothing that may have happened."""
    account, manifest = clients.account_of(call), preview.thing
    try:
        job = await account.create(_path(call), manifest)
    except errors.AlreadyExists as error:
        job = await _adopted(account, call, manifest, error)
    except errors.Unavailable as error:
        told = errors.Unavailable(error.status, error.status_reason, error.message, maybe_applied=False)
        raise told from error
    name = str(job["metadata"]["name"])
    reserved = {"job": name, "uid": job["metadata"]["uid"], "marker": shown_marker(call.marker)}
    if workloads.withdrawn(job):
        reserved["withdrawn"] = workloads.withdrawn(job)
    return {**reserved, "stopWith": f"kubectl delete job -n {call.namespace} {name}"}


async def act(call: Call[Job], preview: Preview, clients: Clients) -> Outcome:  # noqa: ARG001 # it is in the cluster already
    """Let the reserved Job run; what it is was settled when it was made, and is compared by its generation."""
    account, seen = clients.account_of(call), call.seen or {}
    name = str(seen["job"])
    for _ in range(_ATTEMPTS):
        job = await account.find(_path(call, name))
        if job is None or _is_lost(job, seen):
            return following.deleted(call, name)
        if not job["spec"].get("suspend"):
            return following.runs(job, None, clients.now())
        refusal = _not_to_start(call, job, seen)
        if refusal is not None:
            return refusal
        with suppress(errors.Conflict, errors.NotFound):
            start = {"op": "replace", "path": "/spec/suspend", "value": False}
            marked = workloads.annotated(job, _STARTED, call.marker)
            await account.json_patch(_path(call, name), [*workloads.tests(job), start, marked])
            return following.runs({**job, "spec": {**job["spec"], "suspend": False}}, None, clients.now())
    return NotDone(_PAUSE, f"Job {name} changed {_ATTEMPTS} times while it was being started")


async def look(call: Call[Job], clients: Clients) -> Outcome:
    """Tell how the Job stands; where it never ran, see to it that no earlier patch can let it run any more."""
    account, seen = clients.account_of(call), call.seen
    if seen is None:
        return await _of_an_older_version(account, call, clients.now())
    name = str(seen["job"])
    for _ in range(_ATTEMPTS):
        job = await account.find(_path(call, name))
        if job is None or _is_lost(job, seen):
            return following.deleted(call, name)
        if following.state(job) is not State.WAITING:
            return await following.followed(account, call, job, clients.now())
        with suppress(errors.Conflict, errors.NotFound):
            await account.json_patch(_path(call, name), workloads.withdrawal(job))
            return NotDone(0, f"Job {name} was not started")
    raise Failure(reasons.CONFLICT, f"Job {name} changed {_ATTEMPTS} times while it was looked at", retryable=True)


@dataclass(frozen=True, slots=True)
class _Made:
    """A Job that can be created."""

    manifest: dict[str, Any]
    left_behind: list[str]
    """What the workload's containers mount and the Job's do not, for people."""


async def _made(account: Account, call: Call[Job]) -> _Made:
    spec = call.spec
    if (spec.source is None) == (spec.template is None):
        raise Unusable("job needs either `from` or `template`")
    if spec.source is None:
        return _Made(job_template.manifest(call, job_template.checked(spec.template or {})), [])
    workload = await account.get(workloads.path(call.namespace, spec.source))
    manifest = job_template.manifest(call, job_template.from_workload(workload, spec))
    return _Made(manifest, job_template.left_behind(workload, spec))


async def _adopted(account: Account, call: Call[Job], manifest: Json, exists: errors.AlreadyExists) -> Json:
    """Return the Job of that name where an earlier try of this very act made it. Raises a `Failure` where somebody else did.

    Somebody may have let it run since (a queue such as Kueue does): it is followed then, never made twice.
    """
    name = manifest["metadata"]["name"]
    job = await account.find(_path(call, name))
    if job is None or following.state(job) is State.GONE:
        raise exists
    _refuse_started(call, job)
    if not _is_ours(call, job):
        told = f"Job {name} in {call.namespace} exists but was not made by this step; left alone"
        raise Failure(reasons.CONFLICT, told)
    if _content(job) != _content(await _as_it_would_be(account, call, manifest)):
        told = f"Job {name} in {call.namespace} is not what this step would run; left alone"
        raise Failure(reasons.CONFLICT, told)
    return job


def _refuse_started(call: Call[Job], job: Json) -> None:
    """Raise `RolledBack` where this very act let the Job run: a status that knows nothing of it is older than the Job."""
    if workloads.annotations(job).get(_STARTED) == call.marker:
        told = f"Job {job['metadata']['name']} in {call.namespace} was started by it"
        raise RolledBack(f"{told} ({following.state(job).value} by now)")


async def _as_it_would_be(account: Account, call: Call[Job], manifest: Json) -> Json:
    """Return the Job with all that the apiserver and its admission add."""
    meta = {key: value for key, value in manifest["metadata"].items() if key != "name"}
    unnamed = {**manifest, "metadata": {**meta, "generateName": f"{call.step[:50]}-"}}
    return await account.create(_path(call), unnamed, dry_run=True)


def _content(job: Json) -> Json:
    """Return what a Job runs, without what the apiserver gives each of them alone, and whether it runs."""
    spec = {key: value for key, value in job["spec"].items() if key not in {"selector", "suspend"}}
    meta = spec["template"].get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key not in _OF_ONE_JOB}
    return {**spec, "template": {**spec["template"], "metadata": {**meta, "labels": labels}}}


def _is_ours(call: Call[Job], job: Json) -> bool:
    owners = {owner.get("uid") for owner in job["metadata"].get("ownerReferences") or []}
    marked = bool(call.marker) and workloads.annotations(job).get(EFFECT_KEY) == call.marker
    return marked and call.incident_uid in owners


def _is_lost(job: Json, seen: Mapping[str, Any]) -> bool:
    return job["metadata"]["uid"] != seen["uid"] or following.state(job) is State.GONE


def _not_to_start(call: Call[Job], job: Json, seen: Mapping[str, Any]) -> Outcome | None:
    """Return why a suspended Job is not let run: somebody looked and told that it never will, or changed it."""
    name = job["metadata"]["name"]
    if workloads.withdrawn(job) != seen.get("withdrawn", ""):
        return NotDone(LOOK_AGAIN, f"Job {name} was withdrawn before it was started")
    if job["metadata"].get("generation", 0) > _CHANGED_ONCE:
        return Undetermined(f"Job {name} was suspended by somebody, and may have run before")
    if not _is_ours(call, job) or following.state(job) is not State.WAITING:
        told = f"Job {name} in {call.namespace} was changed by somebody since it was made; not started"
        return Failed(reasons.CONFLICT, told, retryable=False)
    return None


async def _of_an_older_version(account: Account, call: Call[Job], now: datetime) -> Outcome:
    """Follow the Job that an operator before this version made, running at once; it is never made again."""
    name = job_template.name(call.step, call.key)
    job = await account.find(_path(call, name))
    if job is not None and workloads.annotations(job).get(EFFECT_KEY) != call.key:
        return Undetermined(f"Job {name} in {call.namespace} exists but was not made by this step; left alone")
    if job is None or following.state(job) is State.GONE:
        return following.deleted(call, name)
    return await following.followed(account, call, job, now)


def _details(call: Call[Job], manifest: Json) -> Mapping[str, Any]:
    template = manifest["spec"]["template"]
    chosen = job_template.chosen_name(call.spec, template)
    container = next(one for one in template["spec"]["containers"] if one["name"] == chosen)
    return {
        "container": chosen,
        "image": container.get("image", ""),
        "command": list(container.get("command") or []),
        "args": list(container.get("args") or []),
        "env": dict(call.spec.env),
        "runsAs": beyond.account_of(template["spec"]),
    }


def _beyond(call: Call[Job], manifest: Json) -> list[Beyond]:
    """Return what the Pod does beyond the ordinary. Raises `Unusable` for what the step does not allow."""
    template = manifest["spec"]["template"]
    meant = job_template.chosen_name(call.spec, template)
    found = list(beyond.beyond(template, meant, call.service_account))
    refused = [one for one in found if one.allow not in call.spec.allow]
    if refused:
        told = "; ".join(one.what for one in refused)
        names = ", ".join(dict.fromkeys(one.allow.value for one in refused))
        raise Unusable(f"job needs allow: [{names}], if this is intended, for what its Pod does: {told}")
    return found


def _path(call: Call[Job], name: str | None = None) -> str:
    return workloads.job_path(call.namespace, name)


ACTION = Action(
    "job",
    Job,
    Result,
    effect=Effect.K8S_CREATE,
    rights="create, get and patch jobs, list pods, get pods/log, get the workload; list events, to say why no Pod starts",
    checks=(_check,),
    workload=lambda spec: spec.source,
    takes=_IN_TEMPLATE,
    timeout=timedelta(minutes=10),
    longest=timedelta(days=7),
    show=show,
    reserve=reserve,
    act=act,
    look=look,
)
