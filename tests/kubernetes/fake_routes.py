"""What the fake apiserver answers on which path: discovery, objects and collections, subresources. No sockets here."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.kubernetes import json_patch
from tests.kubernetes.fake_store import Kind, Object, RefusedError, Store, Where

_STATUS = frozenset({"status"})
_SCALED = frozenset({"status", "scale"})
_OWN = ("incidents.dev", "v1alpha1")
_ALWAYS_SELECTABLE = frozenset({"metadata.name", "metadata.namespace"})
SELECTABLE = {
    "Incident": frozenset({"status.phase", "spec.severity"}),
    "Widget": frozenset({"status.phase"}),
    "Event": frozenset({"involvedObject.uid", "involvedObject.name"}),
}
"""Kind → `selectableFields` of its definition."""

KINDS = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False, subresources=_STATUS),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "Pod", "pods", subresources=frozenset({"status", "log", "exec"})),
    Kind("apps", "v1", "Deployment", "deployments", subresources=_SCALED),
    Kind("apps", "v1", "StatefulSet", "statefulsets", subresources=_SCALED),
    Kind("apps", "v1", "DaemonSet", "daemonsets", subresources=_STATUS),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", subresources=_STATUS),
    Kind("batch", "v1", "Job", "jobs", subresources=_STATUS),
    Kind("batch", "v1", "CronJob", "cronjobs", subresources=_STATUS),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("", "v1", "Event", "events"),
    Kind("events.k8s.io", "v1", "Event", "events"),
    Kind(*_OWN, "Incident", "incidents", subresources=_STATUS),
    Kind(*_OWN, "Runbook", "runbooks", subresources=_STATUS),
    Kind(*_OWN, "Connection", "connections", subresources=_STATUS),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the audit log would tell it."""

    method: str
    path: str
    params: Mapping[str, str]
    user: str
    """Who is impersonated; empty where nobody is."""
    agent: str
    content_type: str
    body: Any
    accept: str = "application/json"

    @property
    def is_write(self) -> bool:
        """Whether it was meant to change something; a dry run was not."""
        return self.method not in {"GET", "HEAD"} and self.params.get("dryRun") != "All"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    where: Where
    subresource: str
    verb: str

    @property
    def resource(self) -> str:
        """As RBAC names it, e.g. `pods/log` or `deployments.apps`."""
        plural, _, group = self.where.kind.resource.partition(".")
        part = f"/{self.subresource}" if self.subresource else ""
        return f"{plural}{part}" + (f".{group}" if group else "")


def target(kinds: Sequence[Kind], method: str, path: str) -> Target:
    """Read a path; raises `RefusedError` (404) where nothing is served."""
    _, prefix, *parts = path.split("/")
    group, version, *parts = ["", *parts] if prefix == "api" else parts
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2 and parts[2] not in _STATUS:
        _, namespace, *parts = parts
    plural, name, subresource = [*parts, "", "", ""][:3]
    for kind in kinds:
        served = not subresource or subresource in kind.subresources
        if (kind.group, kind.version, kind.plural) == (group, version, plural) and served:
            return Target(Where(kind, namespace, name), subresource, _verb(method, name))
    raise RefusedError(404, "NotFound", "the server could not find the requested resource")


def _verb(method: str, name: str) -> str:
    reading = "get" if name else "list"
    return {"GET": reading, "POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(method, method.lower())


def discovery(kinds: Sequence[Kind], path: str) -> Object | None:
    """Return what is served, where the path asks for that."""
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/apis":
        return {"kind": "APIGroupList", "groups": list(_groups(kinds))}
    group_version = path.removeprefix("/apis/").removeprefix("/api/")
    served = [kind for kind in kinds if kind.api_version == group_version]
    if not served:
        return None
    resources = [resource for kind in served for resource in _resources(kind)]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}


def _groups(kinds: Iterable[Kind]) -> Iterator[Object]:
    for name, version in sorted({(kind.group, kind.version) for kind in kinds if kind.group}):
        served = {"groupVersion": f"{name}/{version}", "version": version}
        yield {"name": name, "versions": [served], "preferredVersion": served}


def _resources(kind: Kind) -> Iterator[Object]:
    described = {"singularName": "", "namespaced": kind.namespaced, "kind": kind.kind, "verbs": ["get", "list"]}
    yield {**described, "name": kind.plural}
    for subresource in sorted(kind.subresources):
        yield {**described, "name": f"{kind.plural}/{subresource}"}


def serve(store: Store, at: Target, request: Request) -> Object:
    """Carry out a request on objects; raises `RefusedError`."""
    dry_run = request.params.get("dryRun") == "All"
    match at.verb:
        case "get":
            return store.get(at.where)
        case "list":
            page = _page(at.where.kind, list(store.list(at.where)), request.params, store.version)
            return (
                page if page["items"] or "PartialObjectMetadataList" not in request.accept else {**page, "items": None}
            )
        case "create":
            return store.create(at.where, request.body, dry_run=dry_run)
        case "patch":
            edit = _edit(request.content_type, request.body)
            manager = request.agent.partition("/")[0]
            return store.change(at.where, edit, subresource=at.subresource, dry_run=dry_run, manager=manager)
        case "delete":
            return store.delete(at.where, (request.body or {}).get("preconditions"))
        case other:
            raise RefusedError(405, "MethodNotAllowed", f"{other} is not implemented here")


def _edit(content_type: str, body: Any) -> Any:
    if content_type == "application/json-patch+json":
        return partial(_json_patched, operations=body)
    if content_type == "application/merge-patch+json":
        return partial(json_patch.merge, patch=body)
    raise RefusedError(415, "UnsupportedMediaType", f"{content_type} is not implemented here")


def _json_patched(document: Object, operations: Sequence[Mapping[str, Any]]) -> Object:
    patched: Object = json_patch.apply(document, operations)
    return patched


def _page(kind: Kind, items: Sequence[Object], params: Mapping[str, str], version: int) -> Object:
    check_selectable(kind, params)
    kept = [item for item in items if selected(item, params)]
    start = int(params.get("continue") or 0)
    end = start + int(params.get("limit") or len(kept) or 1)
    meta = {"resourceVersion": str(version), **({"continue": str(end)} if end < len(kept) else {})}
    bare = [
        {key: value for key, value in item.items() if key not in {"apiVersion", "kind"}} for item in kept[start:end]
    ]
    return {"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": meta, "items": bare}


def check_selectable(kind: Kind, params: Mapping[str, str]) -> None:
    """Refuse a field selector by a field that the kind does not offer for it."""
    offered = _ALWAYS_SELECTABLE | SELECTABLE.get(kind.kind, frozenset())
    for requirement in filter(None, params.get("fieldSelector", "").split(",")):
        name = requirement.partition("=")[0].removesuffix("!")
        if name not in offered:
            raise RefusedError(400, "BadRequest", f"field label not supported: {name}")


def selected(item: Object, params: Mapping[str, str]) -> bool:
    """Return whether an object is among those that the selectors ask for."""
    labels = item["metadata"].get("labels") or {}
    fields = {"metadata.name": item["metadata"]["name"], "metadata.namespace": item["metadata"].get("namespace", "")}
    about = item.get("involvedObject") or {}
    fields |= {f"involvedObject.{key}": about.get(key, "") for key in ("uid", "name")}
    fields["status.phase"] = (item.get("status") or {}).get("phase", "")
    fields["spec.severity"] = (item.get("spec") or {}).get("severity", "")
    return _holds(params.get("labelSelector", ""), labels) and _holds(params.get("fieldSelector", ""), fields)


def _holds(selector: str, values: Mapping[str, str]) -> bool:
    """Only `key=value`, `key!=value`, `key in (a,b)`, `key` and `!key`, joined by commas."""
    return all(_meets(requirement, values) for requirement in re.split(r",(?![^(]*\))", selector) if requirement)


def _meets(requirement: str, values: Mapping[str, str]) -> bool:
    if requirement.startswith("!"):
        return requirement[1:] not in values
    listed = re.fullmatch(r"(\S+) in \((.*)\)", requirement)
    if listed:
        return values.get(listed[1]) in listed[2].split(",")
    if "!=" in requirement:
        key, _, value = requirement.partition("!=")
        return values.get(key) != value
    key, equals, value = requirement.partition("=")
    return key in values and (not equals or values[key] == value.removeprefix("="))
