"""The manifest of a Job from a Pod template: what an on-call engineer means by "run this once, like that workload". Pure.

From a workload only the chosen container runs, with its image, environment, volumes and account, after the init
containers (native sidecars among them). Left behind is what belongs to serving, or would keep a Job from ending or
starting: other containers, ports, probes, lifecycle hooks, the Pod's labels but those that the step keeps (a Service would send
it traffic), its spreading away from its like, and what is mounted from a StatefulSet's claims, which only its own Pods have. All
annotations stay, which nothing finds a Pod by, unless the step names those to keep. A `template` of the Runbook's own is taken as it is.

Data comes into a command by no other way than the rule for every argv: a part of a template in which a command stands is the author's,
and Kubernetes puts no variable that holds data into one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from incident_operator.actions import pods, workloads
from incident_operator.api.incident import EFFECT_KEY
from incident_operator.api.meta import Model, owner_reference, unordered, with_ending
from incident_operator.core.action import Call
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Path
from incident_operator.core.outcomes import Json, Unusable

if TYPE_CHECKING:
    from incident_operator.actions.job.job import Job

HOOKS = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
"""Fields of a container that may hold a command of their own; a Job has little use for them, so they take no data."""

_OBEYED = frozenset({
    "PATH", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "PROMPT_COMMAND", "PS4", "IFS", "LD_PRELOAD",
    "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "OPENSSL_CONF", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP",
    "PYTHONWARNINGS", "PYTHONBREAKPOINT", "PERL5OPT", "PERL5LIB", "PERL5DB", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS",
    "NODE_PATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "PHPRC", "PHP_INI_SCAN_DIR",
    "LUA_INIT", "LUA_PATH", "LUA_CPATH", "ERL_FLAGS", "ERL_LIBS", "DOTNET_STARTUP_HOOKS", "R_PROFILE", "AWKPATH",
    "MAKEFLAGS", "TAR_OPTIONS", "RSYNC_RSH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_PAGER",
    "GIT_EXEC_PATH", "GIT_PROXY_COMMAND", "GIT_EXTERNAL_DIFF", "SSH_ASKPASS", "PSQLRC", "PSQL_PAGER", "EDITOR",
    "VISUAL", "PAGER", "LESSOPEN", "LESSCLOSE",
})  # fmt: skip
"""Variables that a loader, a shell, an interpreter or a client takes for code, options, or where to find them."""
_OPEN = "${"
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_VARIABLE = re.compile(r"\$\$|\$\(([^)]{0,255})\)")
"""`$$` is a dollar sign to Kubernetes, so `$$(NAME)` is a text."""
_WRITTEN_OUT = (
    "may hold a command, so no data may be in it; data may be an element of command or args, or a value in env"
)


def are_written_out(template: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Require that no part of a Pod template in which a command can stand is one `${…}`."""
    for way, part in _parts(template):
        if isinstance(part, str) and _OPEN in part:
            yield Problem(cel.field_of(path, way), _WRITTEN_OUT)


def expand_no_data(spec: "Job", path: str) -> Iterator[Problem]:
    """Require that no command holds `$(NAME)` of a variable that holds data: it would be a text with data in its midst."""
    added = [{"name": name, "value": value} for name, value in spec.env.items()]
    template = spec.template or {}
    for way, container in _containers(template):
        names = _holding_data([*_listed(container, "env"), *added], template)
        for key in ("command", "args"):
            yield from _expanded(_listed(container, key), names, cel.field_of(f"{path}.template", (*way, key)))
    yield from _expanded(spec.command, _holding_data([*_env_of_all(template), *added], template), f"{path}.command")


def obey_no_data(spec: "Job", path: str) -> Iterator[Problem]:
    """Require that no variable holds data by which a program is told what to run: it would be code by another way."""
    template, added = spec.template or {}, [{"name": name, "value": value} for name, value in spec.env.items()]
    held = _holding_data([*_env_of_all(template), *added], template)
    yield from (_obeyed(f"{path}.env.{name}", name) for name in spec.env if name in _OBEYED & held)
    for way, container in _containers(template):
        env = _listed(container, "env")
        held = _holding_data([*env, *added], template)
        for at, variable in enumerate(env):
            if isinstance(variable, Mapping) and (name := str(variable.get("name"))) in _OBEYED & held:
                yield _obeyed(cel.field_of(f"{path}.template", (*way, "env", at)), name)


def _obeyed(field: str, name: str) -> Problem:
    told = f"{name} tells a program what to run, which data may not choose"
    return Problem(field, f"{told}; pass the value in a variable of another name")


def _parts(template: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    spec = template.get("spec")
    yield ("spec",), spec
    if not isinstance(spec, Mapping):
        return
    for key in _LISTS:
        yield ("spec", key), spec.get(key)
        for at, container in enumerate(_listed(spec, key)):
            yield ("spec", key, at), container
    for way, container in _containers(template):
        yield from (((*way, key), container.get(key)) for key in ("command", "args", "env"))
        yield from (((*way, "env", at), variable) for at, variable in enumerate(_listed(container, "env")))


def _containers(template: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    spec = template.get("spec")
    for key in _LISTS if isinstance(spec, Mapping) else ():
        for at, container in enumerate(_listed(spec, key)):
            if isinstance(container, Mapping):
                yield ("spec", key, at), container


def _listed(node: Any, key: str) -> Sequence[Any]:
    found = node.get(key)
    return found if isinstance(found, list) else []


def _env_of_all(template: Mapping[str, Any]) -> Iterator[Any]:
    for _, container in _containers(template):
        yield from _listed(container, "env")


def _holding_data(env: Sequence[Any], template: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of variables that hold data, also by way of another one or of the Pod's own labels and annotations."""
    marked = _OPEN in json.dumps(template.get("metadata"), default=str)
    held: set[str] = set()
    for variable in (each for each in env if isinstance(each, Mapping)):
        text = json.dumps(variable, default=str)
        others = _VARIABLE.findall(str(variable.get("value")))
        if _OPEN in text or (marked and "fieldRef" in text) or not held.isdisjoint(others):
            held.add(str(variable.get("name")))
    return frozenset(held)


def _expanded(command: Sequence[Any], names: frozenset[str], field: str) -> Iterator[Problem]:
    for at, element in enumerate(command):
        held = next((name for name in _VARIABLE.findall(str(element)) if name in names), "")
        if held:
            told = f"holds $({held}), which Kubernetes replaces by a value that holds ${{…}}"
            yield Problem(f"{field}[{at}]", f"{told}; make the ${{…}} an element of its own")


_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_MOST_LISTED = 20
Key = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=317),
]
"""The key of a label or an annotation."""


class Keep(Model):
    """What a Job's Pod keeps of the workload's Pods."""

    labels: Annotated[list[Key], Field(max_length=16, json_schema_extra=unordered())] = Field(default_factory=list)
    """Labels, e.g. one that a webhook needs; none unless named."""
    annotations: Annotated[list[Key], Field(max_length=16, json_schema_extra=unordered())] | None = None
    """Annotations; all unless some are named."""


def metadata(workload: Json, keep: Keep | None, container: str) -> dict[str, Any]:
    """Return the metadata of a Job's Pod. Raises `Unusable` for a key that is not there, and for labels that make it the workload's."""
    there = workloads.pod_template(workload).get("metadata") or {}
    labels, annotations = there.get("labels") or {}, dict(there.get("annotations") or {})
    annotations.pop(_RESTARTED_AT, None)
    if annotations.get(pods.DEFAULT_CONTAINER, container) != container:
        del annotations[pods.DEFAULT_CONTAINER]  # it names a container that the Job's Pod does not have
    if keep is None:
        return {"annotations": annotations}
    kept = _named(labels, keep.labels, "label")
    _refuse_its_own(workload, kept)
    noted = annotations if keep.annotations is None else _named(annotations, keep.annotations, "annotation")
    return {"annotations": noted, **({"labels": kept} if kept else {})}


def _named(there: Mapping[str, str], wanted: list[str], what: str) -> dict[str, str]:
    missing = next((key for key in wanted if key not in there), None)
    if missing is not None:
        listed = ", ".join(sorted(there)[:_MOST_LISTED]) or "none"
        raise Unusable(f"keep: the workload's Pods have no {what} {missing}; they have {listed}")
    return {key: there[key] for key in wanted}


def _refuse_its_own(workload: Json, kept: Mapping[str, str]) -> None:
    """Raise `Unusable` where the labels would make the Job's Pod one of the workload's own: it would get its traffic."""
    wanted = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    if wanted and wanted.items() <= kept.items():
        told = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        raise Unusable(
            f"keep: with {told} the Job's Pod would be one of the workload's own; leave one of these labels out"
        )


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
    return with_ending(step, key[:_KEY_LENGTH], _NAME_LENGTH)


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
    return {"metadata": metadata(workload, spec.keep, str(chosen["name"])), "spec": kept}


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
        pods.default_container({"annotations": notes} if isinstance(notes, Mapping) else None, named) if named else ""
    )


def chosen_name(spec: "Job", template: Json) -> str:
    """Return the name of the container that runs the command."""
    return str(_chosen(template, spec.container)["name"])


def _chosen(template: Json, wanted: str | None) -> Json:
    """Return the container that is named, or the one that `exec` and `logs` would take."""
    containers = template["spec"].get("containers") or []
    if not containers:
        raise Unusable("the Pod template has no containers")
    name = wanted or pods.default_container(template.get("metadata"), containers)
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
