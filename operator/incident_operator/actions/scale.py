"""`scale`: sets a workload's replicas once per step key, and takes that back (effect: k8s-patch).

Replicas and marker change in one patch that tests uid and resourceVersion, so either both happened or neither did.
The account needs: get and patch on the workload, list on horizontalpodautoscalers.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from incident_operator.actions import kube_failures, scale_markers, workloads
from incident_operator.actions.kube_failures import Unusable
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.actions.scale_markers import Marker
from incident_operator.api import actions
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account, Cluster
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Json, Outcome, Pending, Succeeded

_ATTEMPTS = 5
"""A Deployment's status changes often while it rolls out, and each change makes an earlier read stale."""
_PAUSE = 1.0
"""Seconds before the next such series of attempts."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be done to a workload as it was read."""

    workload: Json
    before: int
    after: int


class Scale:
    """Scales a Deployment or StatefulSet; undoes it where nobody scaled it since."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, call: Call) -> Outcome:
        """Scale, or find the marker of having scaled; `captured` is {before, after, uid}."""
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            for _ in range(_ATTEMPTS):
                outcome = await _try(account, call)
                if outcome is not None:
                    return outcome
        except (api_errors.ApiError, Unusable) as error:
            return kube_failures.of_effect(error, call)
        message = f"{_spec(call).target} changed {_ATTEMPTS} times while it was being scaled; trying again"
        return Pending(_PAUSE, message, begun=False)

    async def preview(self, call: Call) -> Preview:
        """Say from what to what, after a dry run of the very patch as the Runbook's account."""
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            for _ in range(_ATTEMPTS - 1):
                with suppress(api_errors.Conflict):
                    return await _tried(account, call)
            return await _tried(account, call)
        except (api_errors.ApiError, Unusable) as error:
            raise PreviewError(f"{call.step}: {kube_failures.explain(error, call)}") from error


async def _tried(account: Account, call: Call) -> Preview:
    """Return what a dry run says. Raises `Conflict` where the workload changed in between."""
    planned = await _plan(account, call)
    if isinstance(planned, Failed):
        raise PreviewError(planned.message)
    if not isinstance(planned, _Change):
        return Preview(f"{_spec(call).target} in {call.namespace} stays as it is", planned.result)
    await account.json_patch(_path(call), _operations(planned, call), dry_run=True)
    return _preview(call, planned)


async def _try(account: Account, call: Call) -> Outcome | None:
    """Return the outcome of one attempt, or None where the workload changed in between."""
    planned = await _plan(account, call)
    if not isinstance(planned, _Change):
        return planned
    try:
        await account.json_patch(_path(call), _operations(planned, call))
    except api_errors.Conflict:
        return None
    return _done(call, planned.workload, planned.before, planned.after)


async def _plan(account: Account, call: Call) -> _Change | Succeeded | Failed:
    """Return what is to be done; an outcome where there is nothing to do, or nothing may be done."""
    workload = await account.get(_path(call))
    marker = scale_markers.find(workload, call.key)
    if marker is not None:
        return _done(call, workload, marker.before, marker.after, "already ")
    before = int(workload["spec"].get("replicas", 1))
    refusal = _changed_since(call, workload, before)
    if refusal is not None:
        return refusal
    after = _wanted(call)
    if after == before:
        return _done(call, workload, before, after, "already ")
    await _refuse_autoscaled(account, call)
    return _Change(workload, before, after)


def _wanted(call: Call) -> int:
    """Return the replicas to set. Raises `Unusable` for what is no number of replicas, or too many."""
    if call.undo_of is not None:
        return int(call.undo_of.captured["before"])
    spec = _spec(call)
    try:
        wanted = int(str(spec.replicas))
    except ValueError:
        raise Unusable(f"replicas is {str(spec.replicas)[:100]!r}; it has to be a whole number") from None
    if wanted < 0:
        raise Unusable(f"replicas is {wanted}; it has to be 0 or more")
    if wanted > spec.max_replicas:
        raise Unusable(f"would scale {spec.target} to {wanted}, maxReplicas is {spec.max_replicas}; not scaled")
    return wanted


def _changed_since(call: Call, workload: Json, replicas: int) -> Failed | None:
    """Return why an undo leaves the workload alone: somebody else scaled or replaced it since."""
    if call.undo_of is None:
        return None
    target, captured = _spec(call).target, call.undo_of.captured
    if "before" not in captured:
        return Failed(reasons.CHANGED_SINCE, f"what {target} was scaled from is not recorded; left alone", False)
    if workload["metadata"]["uid"] != captured.get("uid"):
        message = f"{target} was deleted and created anew since it was scaled; left alone"
        return Failed(reasons.CHANGED_SINCE, message, retryable=False)
    if replicas != captured["after"]:
        message = f"{target} has {replicas} replicas now, not the {captured['after']} that were set; left alone"
        return Failed(reasons.CHANGED_SINCE, message, retryable=False)
    return None


async def _refuse_autoscaled(account: Account, call: Call) -> None:
    """Raise `Unusable` where an autoscaler would set the replicas right back."""
    kind, _, name = _spec(call).target.partition("/")
    page = await account.get(paths.of("/apis/autoscaling/v2", call.namespace, "horizontalpodautoscalers"))
    for scaler in page.get("items") or []:
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (workloads.KINDS[kind], name):
            said = f"HorizontalPodAutoscaler {scaler['metadata']['name']} sets the replicas of {kind}/{name}"
            raise Unusable(f"{said} and would undo this; change its minReplicas instead")


def _operations(change: _Change, call: Call) -> Sequence[Mapping[str, Any]]:
    meta = change.workload["metadata"]
    marker = Marker(call.key, call.incident, call.step, change.before, change.after)
    return [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "replace", "path": "/spec/replicas", "value": change.after},
        *scale_markers.added(change.workload, marker),
    ]


def _done(call: Call, workload: Json, before: int, after: int, already: str = "") -> Succeeded:
    summary = f"{_spec(call).target} {already}scaled {before} → {after}"
    if before == after:
        summary = f"{_spec(call).target} has {after} replicas already"
    captured = {"before": before, "after": after, "uid": workload["metadata"]["uid"]}
    return Succeeded({"before": before, "after": after}, summary, captured)


def _preview(call: Call, change: _Change) -> Preview:
    spec = _spec(call)
    details = {"target": spec.target, "uid": change.workload["metadata"]["uid"], "before": change.before}
    limits = {"after": change.after, "maxReplicas": spec.max_replicas}
    do = f"scale {spec.target} in {call.namespace} from {change.before} to {change.after} replicas"
    return Preview(do, {**details, **limits}, in_trial="accepted")


def _path(call: Call) -> str:
    return workloads.path(call.namespace, _spec(call).target)


def _spec(call: Call) -> actions.Scale:
    if not isinstance(call.spec, actions.Scale):
        raise TypeError(f"scale was called with {type(call.spec).__name__}")
    return call.spec
