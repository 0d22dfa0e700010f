"""`scale`: sets a workload's replicas once, and takes that back (effect: k8s-patch).

Replicas and marker change in one patch that tests uid and resourceVersion, so either both happened or neither did. The marker found
proves that it happened. The marker missing proves nothing: `kubectl rollout undo` gives a Deployment the annotations of an older
revision. What proves absence is the generation, which the apiserver alone counts: where it is the one that was seen, nobody changed
the specification, this step neither.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, TypedDict

from pydantic import ConfigDict, Field

from incident_operator.actions import kube_patches, workloads
from incident_operator.actions.clients import Clients
from incident_operator.actions.fields import kind_and_name
from incident_operator.api import rules
from incident_operator.api.meta import GROUP, Model
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account
from incident_operator.core import reasons
from incident_operator.core.action import Action, Call, Preview
from incident_operator.core.effects import Effect
from incident_operator.core.errors import LOOK_AGAIN, Failure, Unusable
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.expressions.render_fields import Take
from incident_operator.core.marker import shown
from incident_operator.core.outcomes import Json, NotDone, Outcome, Succeeded, Undetermined

ScalableRef = Annotated[str, kind_and_name("deployment", "statefulset")]
"""A workload that has replicas, as kubectl writes it."""


class Scale(Model):
    """Scales a workload (effect: k8s-patch, naturally undoable)."""

    model_config = ConfigDict(
        json_schema_extra=rules.validations(
            rules.rule(
                "type(self.replicas) == int ? self.replicas >= 0 && self.replicas <= self.maxReplicas"
                " : self.replicas.contains('${')",
                "replicas is a number from 0 to maxReplicas, or an expression for one: ${…}",
            )
        )
    )

    target: ScalableRef
    replicas: Annotated[
        int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 1024}), Take.COUNT
    ]
    """The wanted number, or an expression for it, e.g. `${steps.deploy.outputs.replicas + 2}`."""
    max_replicas: Annotated[int, Field(ge=0, le=1000)] = 100
    """Above this the step fails instead of scaling."""


class Result(TypedDict):
    """What `result` holds."""

    before: int
    after: int


def _check(spec: Scale, path: str) -> Iterator[Problem]:
    replicas = spec.replicas
    if isinstance(replicas, str):
        if "${" not in replicas:
            yield Problem(f"{path}.replicas", f"{replicas!r} is text; write a number, or ${{…}} for one")
        return
    if not 0 <= replicas <= spec.max_replicas:
        yield Problem(f"{path}.replicas", f"{replicas} is not between 0 and maxReplicas ({spec.max_replicas})")


SCALED_BY = f"{GROUP}/scaled-by"
"""The annotation in which a workload remembers who scaled it."""
_KEPT = 10
_ATTEMPTS = 5
"""A Deployment's status changes often while it rolls out, and each change makes an earlier read stale."""
_PAUSE = 1.0
"""Seconds before the next such series of attempts."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to a workload as it was read."""

    path: str
    uid: str
    generation: int
    before: int
    after: int
    withdrawn: str
    """Another value means that somebody saw to it that this change is not made any more."""
    operations: Sequence[kube_patches.Operation]
    """Empty where it has the wanted replicas already."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One scaling: by which step of which Incident, from what to what."""

    key: str
    incident: str
    step: str
    before: int
    after: int


async def show(call: Call[Scale], clients: Clients, trial: bool) -> Preview:
    """Say from what to what; in a trial after a dry run of the very patch as the Runbook's account."""
    account = clients.account_of(call)
    for _ in range(_ATTEMPTS - 1):
        with suppress(api_errors.Conflict):
            return await _shown(account, call, trial)
    return await _shown(account, call, trial)


async def act(call: Call[Scale], preview: Preview, clients: Clients) -> Outcome:
    """Scale; `captured` is {before, after, uid}. A change of anything but the specification in between does not matter."""
    change: Change = preview.thing
    if not change.operations:
        return _done(call, change.before, change.after, change.uid)
    account = clients.account_of(call)
    for _ in range(_ATTEMPTS):
        try:
            await account.json_patch(change.path, change.operations)
        except api_errors.Conflict:
            workload = await account.find(change.path)
            if workload is not None and _was_scaled(workload, call, change):
                # what the network sends twice is refused the second time
                return _done(call, change.before, change.after, change.uid)
            if workload is None or not _is_as_shown(workload, change):
                return NotDone(0, f"{call.spec.target} changed since it was looked at")
            change = replace(change, operations=_operations(call, workload, change.after))
            continue
        return _done(call, change.before, change.after, change.uid)
    return NotDone(_PAUSE, f"{call.spec.target} changed {_ATTEMPTS} times while it was being scaled")


async def look(call: Call[Scale], clients: Clients) -> Outcome:
    """Find the marker of having scaled, or prove that there is none and that no earlier patch can apply any more."""
    account, path = clients.account_of(call), _path(call)
    if call.seen is None:
        return _of_an_older_version(call, await account.find(path))
    target, before, after = call.spec.target, int(call.seen["before"]), int(call.seen["after"])
    for _ in range(_ATTEMPTS):
        workload = await account.find(path)
        if workload is None or workload["metadata"]["uid"] != call.seen["uid"]:
            return NotDone(LOOK_AGAIN, f"the {target} that was to be scaled was deleted")
        if _find(workload, call.marker) is not None:
            return _done(call, before, after, call.seen["uid"], "already ")
        if _generation(workload) != call.seen.get("generation"):
            told = f"{target} was changed since, and its annotation {SCALED_BY} does not name this step"
            return Undetermined(f"{told}; nobody can tell whether it was scaled {before} → {after}")
        with suppress(api_errors.Conflict, api_errors.NotFound):
            await account.json_patch(path, kube_patches.withdrawal(workload))
            return NotDone(0, f"{target} was not scaled")
    raise Failure(reasons.CONFLICT, f"{target} changed {_ATTEMPTS} times while it was looked at", retryable=True)


async def _shown(account: Account, call: Call[Scale], trial: bool) -> Preview:
    """Return a preview. Raises `Conflict` where the workload changed during its trial."""
    workload = await account.get(_path(call))
    uid, before = str(workload["metadata"]["uid"]), _replicas(workload)
    _refuse_undo_of_changed(call, uid, before)
    after = before if _changed_nothing(call) else _wanted(call)
    operations: Sequence[kube_patches.Operation] = []
    if after != before:
        await _refuse_autoscaled(account, call)
        operations = _operations(call, workload, after)
    if trial and operations:
        await account.json_patch(_path(call), operations, dry_run=True)
    change = Change(
        _path(call), uid, _generation(workload), before, after, kube_patches.withdrawn(workload), operations
    )
    preview = _preview(call, change)
    return replace(preview, in_trial="accepted") if trial and operations else preview


def _preview(call: Call[Scale], change: Change) -> Preview:
    spec, where = call.spec, f"{call.spec.target} in {call.namespace}"
    facts = {"uid": change.uid, "before": change.before, "after": change.after}
    do = f"scale {where} from {change.before} to {change.after} replicas"
    return Preview(
        do if change.operations else f"{where} stays as it is",
        {"target": spec.target, **facts, "maxReplicas": spec.max_replicas},
        thing=change,
        bound={"target": spec.target, "namespace": call.namespace, **facts},
        seen={**facts, "generation": change.generation, "marker": shown(call.marker)},
    )


def _wanted(call: Call[Scale]) -> int:
    """Return the replicas to set. Raises `Unusable` for what is not a number of replicas, or too many."""
    if call.undo_of is not None:
        return int(call.undo_of.captured["before"])
    spec = call.spec
    try:
        wanted = int(str(spec.replicas))
    except ValueError:
        raise Unusable(f"replicas is {str(spec.replicas)[:100]!r}; it has to be a whole number") from None
    if wanted < 0:
        raise Unusable(f"replicas is {wanted}; it has to be 0 or more")
    if wanted > spec.max_replicas:
        raise Unusable(f"would scale {spec.target} to {wanted}, maxReplicas is {spec.max_replicas}; not scaled")
    return wanted


def _refuse_undo_of_changed(call: Call[Scale], uid: str, replicas: int) -> None:
    """Raise a `Failure` where an undo leaves the workload alone: somebody else scaled or replaced it since."""
    if call.undo_of is None:
        return
    target, captured = call.spec.target, call.undo_of.captured
    if _changed_nothing(call):
        return
    if "before" not in captured:
        raise Failure(reasons.CHANGED_SINCE, f"what {target} was scaled from is not recorded; left alone")
    if uid != captured.get("uid"):
        told = f"{target} was deleted and created anew since it was scaled; left alone"
        raise Failure(reasons.CHANGED_SINCE, told)
    if replicas != captured["after"]:
        told = f"{target} has {replicas} replicas now, not the {captured['after']} that were set; left alone"
        raise Failure(reasons.CHANGED_SINCE, told)


def _changed_nothing(call: Call[Scale]) -> bool:
    """Whether this is the undo of a scaling that found the wanted replicas in place: there is nothing to take back."""
    captured = call.undo_of.captured if call.undo_of is not None else {}
    return "before" in captured and captured["before"] == captured.get("after")


async def _refuse_autoscaled(account: Account, call: Call[Scale]) -> None:
    """Raise `Unusable` where an autoscaler would set the replicas right back."""
    kind, _, name = call.spec.target.partition("/")
    async for scaler in account.list(paths.of("/apis/autoscaling/v2", call.namespace, "horizontalpodautoscalers")):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (workloads.KINDS[kind], name):
            said = f"HorizontalPodAutoscaler {scaler['metadata']['name']} sets the replicas of {kind}/{name}"
            raise Unusable(f"{said} and would undo this; change its minReplicas instead")


def _was_scaled(workload: Json, call: Call[Scale], change: Change) -> bool:
    return workload["metadata"]["uid"] == change.uid and _find(workload, call.marker) is not None


def _is_as_shown(workload: Json, change: Change) -> bool:
    """Whether a newer version of the workload has the same specification, and nobody took this change back."""
    now = (workload["metadata"]["uid"], _generation(workload), kube_patches.withdrawn(workload))
    return now == (change.uid, change.generation, change.withdrawn)


def _operations(call: Call[Scale], workload: Json, after: int) -> Sequence[kube_patches.Operation]:
    before = _replicas(workload)
    marks = [*(_marks(workload) or ()), Mark(call.marker, call.incident, call.step, before, after)][-_KEPT:]
    value = json.dumps([asdict(one) for one in marks], separators=(",", ":"))
    operations = [*kube_patches.tests(workload)]
    if "replicas" in workload["spec"]:
        operations.append({"op": "test", "path": "/spec/replicas", "value": before})
    operations.append({"op": "add", "path": "/spec/replicas", "value": after})
    return [*operations, kube_patches.annotated(workload, SCALED_BY, value)]


def _done(call: Call[Scale], before: int, after: int, uid: str, already: str = "") -> Succeeded:
    summary = f"{call.spec.target} {already}scaled {before} → {after}"
    if before == after:
        summary = f"{call.spec.target} has {after} replicas already"
    return Succeeded({"before": before, "after": after}, summary, {"before": before, "after": after, "uid": uid})


def _of_an_older_version(call: Call[Scale], workload: Json | None) -> Outcome:
    """Tell what an operator before this version did under the plain step key; it is never done again."""
    if workload is not None:
        mark = _find(workload, call.key)
        if mark is not None:
            return _done(call, mark.before, mark.after, workload["metadata"]["uid"], "already ")
    told = f"{call.spec.target} has no mark of this step, which an older version of the operator began"
    return Undetermined(f"{told}; nobody can tell whether it was scaled")


def _find(workload: Json, key: str) -> Mark | None:
    return next((mark for mark in _marks(workload) or () if mark.key == key), None)


def _marks(workload: Json) -> Sequence[Mark] | None:
    """Return the marks, oldest first; None where somebody else wrote something into the annotation."""
    text = kube_patches.annotations(workload).get(SCALED_BY, "[]")
    try:
        return [_mark(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return None


def _mark(entry: Mapping[str, Any]) -> Mark:
    mark = Mark(**entry)
    kinds = (type(entry["key"]), type(entry["before"]), type(entry["after"]))
    if kinds != (str, int, int):
        raise TypeError("a mark has a key and two numbers of replicas")
    return mark


def _generation(workload: Json) -> int:
    return int(workload["metadata"].get("generation", 0))


def _replicas(workload: Json) -> int:
    return int(workload["spec"].get("replicas", 1))


def _path(call: Call[Scale]) -> str:
    return workloads.path(call.namespace, call.spec.target)


ACTION = Action(
    "scale",
    Scale,
    Result,
    effect=Effect.K8S_PATCH,
    rights="get and patch the workload, list horizontalpodautoscalers",
    checks=(_check,),
    naturally_undoable=True,
    show=show,
    act=act,
    look=look,
)
