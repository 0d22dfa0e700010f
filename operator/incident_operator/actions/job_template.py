"""The manifest of a Job from a Pod template: what an on-call engineer means by "run this once, like that workload". Pure.

From a workload only the chosen container runs, with its image, environment, volumes and account, after the init
containers (native sidecars among them). Left behind is what belongs to serving, or would keep a Job from ending or
starting: other containers, ports, probes, lifecycle hooks, the Pod's labels (a Service would send it traffic), and
its spreading away from its like. A `template` of the Runbook's own is taken as it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
_OF_PLACE = frozenset({"topologySpreadConstraints", "readinessGates", "nodeName", "activeDeadlineSeconds"})
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


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
    labels = dict(call.labels)
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": labels},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(1, int(call.timeout)),
            "template": {
                "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}},
                "spec": pod_spec(call.spec, template["spec"]),
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
    return template


def _has_name(entry: object) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("name"), str)


def from_workload(workload: Json, container: str | None) -> Json:
    """Return the Pod template of a workload, fit for running one container once. Raises `Unusable`."""
    template = workload["spec"]["template"]
    pod = template["spec"]
    kept = {key: value for key, value in pod.items() if key not in _OF_PLACE}
    kept["containers"] = [_without(_chosen(pod["containers"], container), _OF_SERVING)]
    if pod.get("initContainers"):
        kept["initContainers"] = [_without(one, frozenset({"ports"})) for one in pod["initContainers"]]
    if pod.get("affinity"):
        kept["affinity"] = _without(pod["affinity"], frozenset({"podAffinity", "podAntiAffinity"}))
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return {"metadata": {"annotations": _without(annotations, frozenset({_RESTARTED_AT}))}, "spec": kept}


def pod_spec(spec: "Job", pod: Json) -> dict[str, Any]:
    """Return a Pod spec that never restarts and in which the chosen container runs the step's command."""
    containers = pod.get("containers") or []
    chosen = _chosen(containers, spec.container)
    changed = [_running(one, spec) if one is chosen else one for one in containers]
    return {**pod, "restartPolicy": "Never", "containers": changed}


def first_name(template: Mapping[str, Any]) -> str:
    """Return the name of the container that is meant where none is named; empty where a template as written has none."""
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    first = containers[0] if isinstance(containers, list) and containers else None
    return str(first.get("name", "")) if isinstance(first, Mapping) else ""


def chosen_name(spec: "Job", pod: Json) -> str:
    """Return the name of the container that runs the command."""
    return str(_chosen(pod.get("containers") or [], spec.container)["name"])


def _chosen(containers: Sequence[Json], wanted: str | None) -> Json:
    if not containers:
        raise Unusable("the Pod template has no containers")
    if wanted is None:
        return containers[0]
    for container in containers:
        if container["name"] == wanted:
            return container
    there = ", ".join(str(container["name"]) for container in containers)
    raise Unusable(f"there is no container {wanted}; there is {there}")


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
