"""What a Job's Pod does beyond running one container as the Runbook's account: told first in a plan, refused unless allowed. Pure.

Templates are looked at as they are written, before the apiserver has seen them, so nothing is taken for granted about their shape.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from incident_operator.core import texts

_TOLD = 200
_LINE = 1024
_CONTAINERS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}
_ANYBODYS = "default"
"""The account of each Pod that names none."""


class Allow(StrEnum):
    """What a step may allow its Job beyond running one container as the Runbook's account."""

    HOST_PATH = "hostPath"
    """Volumes that are directories of the node."""
    PRIVILEGED = "privileged"
    """Containers that are privileged, may become so, have capabilities added, or are not confined."""
    HOST_NAMESPACES = "hostNamespaces"
    """`hostPID`, `hostNetwork`, `hostIPC`, and ports of the node."""
    OTHER_CONTAINERS = "otherContainers"
    """Init containers, and containers beside the one that is meant."""
    OTHER_ACCOUNT = "otherAccount"
    """A service account other than the Runbook's, and other than `default`, which each Pod has that names none."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """One thing that has to be allowed."""

    allow: Allow
    what: str
    """On one line, for people, e.g. `volume "root" is / of the node`."""

    def __str__(self) -> str:
        return texts.cut(f"{self.allow.value}: {self.what}", _LINE)


def beyond(template: Mapping[str, Any], meant: str, account: str | None) -> Iterator[Beyond]:
    """Yield what a Pod template does beyond running the container that is meant; `account` None leaves accounts out."""
    pod = _mapping(template.get("spec"))
    yield from _host_paths(pod)
    yield from _privileges(pod)
    yield from _host_namespaces(pod)
    yield from _other_containers(pod, meant)
    if account is not None:
        yield from _other_account(pod, account)


def _host_paths(pod: Mapping[str, Any]) -> Iterator[Beyond]:
    for volume in _mappings(pod.get("volumes")):
        if (source := volume.get("hostPath")) is not None:
            path = _mapping(source).get("path")
            yield Beyond(Allow.HOST_PATH, f"volume {_told(volume.get('name'))} is {_told(path)} of the node")


def _privileges(pod: Mapping[str, Any]) -> Iterator[Beyond]:
    for kind, container in _containers(pod):
        context = _mapping(container.get("securityContext"))
        for right in (*_rights(context), *_shared_rights(context)):
            yield Beyond(Allow.PRIVILEGED, f"{kind} {_told(container.get('name'))} has {right}")
    for right in _shared_rights(_mapping(pod.get("securityContext"))):
        yield Beyond(Allow.PRIVILEGED, f"every container has {right}")


def _rights(context: Mapping[str, Any]) -> Iterator[str]:
    yield from (right for right in ("privileged", "allowPrivilegeEscalation") if context.get(right))
    if added := _mapping(context.get("capabilities")).get("add"):
        names = added if isinstance(added, list) else [added]
        yield f"added capabilities {', '.join(_told(name) for name in names)}"
    if (proc := context.get("procMount")) not in (None, "Default"):
        yield f"procMount {_told(proc)}"


def _shared_rights(context: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a Pod may say for all of its containers as well."""
    if _mapping(context.get("windowsOptions")).get("hostProcess"):
        yield "hostProcess"
    for profile in ("seccompProfile", "appArmorProfile"):
        if _mapping(context.get(profile)).get("type") == "Unconfined":
            yield f"{profile} Unconfined"


def _host_namespaces(pod: Mapping[str, Any]) -> Iterator[Beyond]:
    for name in ("hostPID", "hostNetwork", "hostIPC"):
        if pod.get(name):
            yield Beyond(Allow.HOST_NAMESPACES, f"the Pod has {name}")
    for kind, container in _containers(pod):
        for port in _mappings(container.get("ports")):
            if port.get("hostPort"):
                what = f"{kind} {_told(container.get('name'))} has port {_told(port['hostPort'])} of the node"
                yield Beyond(Allow.HOST_NAMESPACES, what)


def _other_containers(pod: Mapping[str, Any], meant: str) -> Iterator[Beyond]:
    found = list(_containers(pod))
    ours = [at for at, (kind, each) in enumerate(found) if kind == "container" and each.get("name") == meant][:1]
    for at, (kind, container) in enumerate(found):
        if at in ours:
            continue
        image = _told(container.get("image"))
        yield Beyond(Allow.OTHER_CONTAINERS, f"{kind} {_told(container.get('name'))} of image {image} runs too")


def _other_account(pod: Mapping[str, Any], account: str) -> Iterator[Beyond]:
    runs_as = account_of(pod)
    if runs_as not in {account, _ANYBODYS}:
        yield Beyond(Allow.OTHER_ACCOUNT, f"it runs as service account {_told(runs_as)}, not as {_told(account)}")


def account_of(pod: Mapping[str, Any]) -> Any:
    """Return the service account as which a Pod runs."""
    return pod.get("serviceAccountName") or pod.get("serviceAccount") or _ANYBODYS


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field, kind in _CONTAINERS.items():
        yield from ((kind, container) for container in _mappings(pod.get(field)))


def _told(value: object) -> str:
    return texts.cut(texts.line(value if isinstance(value, str) else str(value)), _TOLD)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
