"""The manifest of a Job from a Pod template: what an on-call engineer means by "run this once, like that workload". Pure.

From a workload only the chosen container runs, with its image, environment, volumes and account, after the init
containers (native sidecars among them). Left behind is what belongs to serving, or would keep a Job from ending or
starting: other containers, ports, probes, lifecycle hooks, the Pod's labels but those that the step keeps (a Service would send
it traffic), its spreading away from its like, and what is mounted from a StatefulSet's claims, which only its own Pods have. A
`template` of the Runbook's own is taken as it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from incident_operator.actions import job_keeping, pod_state, workloads
from incident_operator.api import names
from incident_operator.api.annotations import EFFECT_KEY
from incident_operator.api.meta import owner_reference
from incident_operator.core.action import Call
from incident_operator.core.errors import Unusable
from incident_operator.core.outcomes import Json

if TYPE_CHECKING:
    from incident_operator.actions.job import Job

_NAME_LENGTH = 63
_KEY_LENGTH = 10
_OF_SERVING = frozenset({"ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"})
_MAPS = ("labels", "annotations")
_MOUNTS = ("volumeMounts", "volumeDevices")
_OF_PLACE = frozenset({"topologySpreadConstraints", "readinessGates", "nodeName", "activeDeadlineSeconds"})
_DISRUPTED = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
"""Lets the Job itself say that its Pod was evicted, preempted, or lost with its node: the Pod may be gone before anybody looks."""
_TERMINATION, _LONGEST_TERMINATION, _SPARE = 30, 45, 5
"""Seconds: what a Pod has to end where it does not say, how long that is waited for at most, and until the end is noticed."""


def name(step: str, key: str) -> str:
    """Return a Job's name: the step, and enough of a key to be the only one."""
    return names.with_ending(step, key[:_KEY_LENGTH], _NAME_LENGTH)


def manifest(call: "Call[Job]", template: Json) -> dict[str, Any]:
    """Return the Job that runs `template`'s chosen container once, owned by the Incident; suspended, it does nothing yet.

    Nobody who does not know the call's marker can take its name beforehand, and another content has another name.
    """
    made = _content(call, template)
    content = json.dumps(bound(made), sort_keys=True)
    key = hashlib.sha256(f"{call.marker}{hashlib.sha256(content.encode()).hexdigest()}".encode()).hexdigest()
    made["metadata"] |= {"name": name(call.step, key), "ownerReferences": [_owner(call)]}
    made["metadata"]["annotations"] = {EFFECT_KEY: call.marker}
    return made


def bound(manifest: Json) -> dict[str, Any]:
    """Return all of a Job that a person binds by approving it: what runs, without what tells one try from another."""
    meta = {"labels": manifest["metadata"]["labels"]}
    return {**manifest, "metadata": meta, "spec": _without(manifest["spec"], frozenset({"suspend"}))}


def _content(call: "Call[Job]", template: Json) -> dict[str, Any]:
    """Return what is the Pod's own: a Pod that is late is ended by the kubelet, and stays to be read; the Job's deadline deletes it."""
    labels, seconds = dict(call.labels), max(1, int(call.timeout))
    meta, pod = template.get("metadata") or {}, pod_spec(call.spec, template)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": labels},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": [_DISRUPTED]},
            "activeDeadlineSeconds": seconds + _until_it_has_ended(pod),
            "template": {
                "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}},
                "spec": {**pod, "activeDeadlineSeconds": _sooner(pod.get("activeDeadlineSeconds"), seconds)},
            },
        },
    }


def checked(template: Mapping[str, Any]) -> Json:
    """Return a Runbook's own Pod template. Raises `Unusable` where it is none; finer points the apiserver checks."""
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    if not isinstance(containers, list) or not all(_has_name(one) for one in containers):
        raise Unusable("template needs spec.containers, a list of containers with names")
    if not all(_has_name(variable) for one in containers for variable in one.get("env") or []):
        raise Unusable("template: every entry of a container's env needs a name")
    meta = template.get("metadata") or {}
    if not isinstance(meta, Mapping) or not all(isinstance(meta.get(key) or {}, Mapping) for key in _MAPS):
        raise Unusable("template: metadata is not a mapping, or its labels or annotations are not one")
    return template


def _has_name(entry: object) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("name"), str)


def from_workload(workload: Json, spec: "Job") -> Json:
    """Return the Pod template of a workload, fit for running one container once. Raises `Unusable`."""
    template = workloads.pod_template(workload)
    pod, volumes = template["spec"], _volumes(template["spec"])
    kept = {key: value for key, value in pod.items() if key not in _OF_PLACE}
    chosen = _chosen(template, spec.container)
    kept["containers"] = [_mounting(_without(chosen, _OF_SERVING), volumes)]
    if pod.get("initContainers"):
        kept["initContainers"] = [
            _mounting(_without(one, frozenset({"ports"})), volumes) for one in pod["initContainers"]
        ]
    if pod.get("affinity"):
        kept["affinity"] = _without(pod["affinity"], frozenset({"podAffinity", "podAntiAffinity"}))
    return {"metadata": job_keeping.metadata(workload, spec.keep, str(chosen["name"])), "spec": kept}


def left_behind(workload: Json, spec: "Job") -> list[str]:
    """Return the mounts that a Job from this workload does not have, for people: only the workload's own Pods have their volumes."""
    template = workloads.pod_template(workload)
    volumes, claims = _volumes(template["spec"]), workloads.claimed_volumes(workload)
    return [
        f"{one.get('mountPath') or one.get('devicePath')} of container {container['name']}: "
        f"volume {one.get('name')} is {'a claim of each Pod' if one.get('name') in claims else 'not there'}"
        for container in [_chosen(template, spec.container), *(template["spec"].get("initContainers") or [])]
        for key in _MOUNTS
        for one in container.get(key) or []
        if one.get("name") not in volumes
    ]


def _volumes(pod: Json) -> frozenset[str]:
    return frozenset(str(one.get("name")) for one in pod.get("volumes") or [])


def _mounting(container: Json, volumes: frozenset[str]) -> dict[str, Any]:
    """Return a container without the mounts of volumes that are not among these."""
    mounts = {
        key: [one for one in container[key] if one.get("name") in volumes] for key in _MOUNTS if container.get(key)
    }
    return {**container, **mounts}


def pod_spec(spec: "Job", template: Json) -> dict[str, Any]:
    """Return a Pod spec that never restarts and in which the chosen container runs the step's command."""
    pod, chosen = template["spec"], _chosen(template, spec.container)
    changed = [_running(one, spec) if one is chosen else one for one in pod["containers"]]
    return {**pod, "restartPolicy": "Never", "containers": changed}


def meant(template: Mapping[str, Any]) -> str:
    """Return the container that is meant where none is named; empty where a template as written has none."""
    spec, meta = template.get("spec"), template.get("metadata")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    named = [one for one in containers if _has_name(one)] if isinstance(containers, list) else []
    notes = meta.get("annotations") if isinstance(meta, Mapping) else None
    return (
        pod_state.default_container({"annotations": notes} if isinstance(notes, Mapping) else None, named)
        if named
        else ""
    )


def chosen_name(spec: "Job", template: Json) -> str:
    """Return the name of the container that runs the command."""
    return str(_chosen(template, spec.container)["name"])


def _chosen(template: Json, wanted: str | None) -> Json:
    """Return the container that is named, or the one that `exec` and `logs` would take."""
    containers = template["spec"].get("containers") or []
    if not containers:
        raise Unusable("the Pod template has no containers")
    name = wanted or pod_state.default_container(template.get("metadata"), containers)
    for container in containers:
        if container["name"] == name:
            return container
    there = ", ".join(str(container["name"]) for container in containers)
    raise Unusable(f"there is no container {wanted}; there is {there}")


def _until_it_has_ended(pod: Json) -> int:
    """Return how many seconds a Pod may take to end, until the Job's own deadline deletes it."""
    asked = pod.get("terminationGracePeriodSeconds")
    return min(asked if isinstance(asked, int) else _TERMINATION, _LONGEST_TERMINATION) + _SPARE


def _sooner(asked: object, seconds: int) -> object:
    """Return the sooner deadline; what is not a number is left as it is, for the apiserver to refuse."""
    if asked is None:
        return seconds
    return min(asked, seconds) if isinstance(asked, int) else asked


def _running(container: Json, spec: "Job") -> Json:
    changed = {**container, "env": _environment(container.get("env") or [], spec.env)}
    if not spec.command:
        return changed
    return {**_without(changed, frozenset({"args"})), "command": list(spec.command)}


def _environment(variables: Sequence[Json], added: Mapping[str, str]) -> Sequence[Json]:
    kept = [variable for variable in variables if variable["name"] not in added]
    return [*kept, *({"name": key, "value": value} for key, value in added.items())]


def _owner(call: "Call[Job]") -> Mapping[str, Any]:
    """Make the Job go with its Incident; not blocking its deletion needs no right on Incidents."""
    return {
        **owner_reference("Incident", call.incident, call.incident_uid),
        "controller": False,
        "blockOwnerDeletion": False,
    }


def _without(content: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}
