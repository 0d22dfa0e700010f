"""Where things are: the paths of kinds, which namespaces are served, and whether what a Runbook names is there.

Which path serves a kind is what the apiserver says of itself, asked once and kept in memory, as the operator; whether an account may use it,
its own requests tell. What cannot be told is not told as missing. Of namespaces the operator serves those that it is told, else every one,
where its rights reach so far: what it may not write it does not read either, for an alert whose Incident it could not open would be sent
again for ever.
"""

import asyncio
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiException
from kubernetes.aio.dynamic import DynamicClient, LazyDiscoverer, ResourceList
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

from incident_operator.api.meta import API_VERSION, GROUP, ObjectKey
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import apiserver, errors

_CORE = "/api/v1"
_OWN = f"/apis/{API_VERSION}"


def of(prefix: str, namespace: str | None, plural: str, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of a collection or an object; without a namespace, that of all namespaces.

    Raises `ValueError` for a name that is not a path segment (the apiserver's own rule: not `.` or `..`, no `/` or `%`).
    """
    where = f"/namespaces/{_segment(namespace)}" if namespace else ""
    what = f"/{_segment(name)}" if name else ""
    part = f"/{subresource}" if subresource else ""
    return f"{prefix}{where}/{plural}{what}{part}"


def incidents(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Incidents."""
    return of(_OWN, namespace, "incidents", name, subresource)


def runbooks(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Runbooks."""
    return of(_OWN, namespace, "runbooks", name, subresource)


def connections(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Connections."""
    return of(_OWN, namespace, "connections", name, subresource)


def configmaps(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ConfigMaps."""
    return of(_CORE, namespace, "configmaps", name)


def secrets(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Secrets."""
    return of(_CORE, namespace, "secrets", name)


def serviceaccounts(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ServiceAccounts."""
    return of(_CORE, namespace, "serviceaccounts", name)


def pods(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Pods; `subresource` may be `log` or `exec`."""
    return of(_CORE, namespace, "pods", name, subresource)


def namespaces(name: str | None = None) -> str:
    """Return the path of Namespaces."""
    return of(_CORE, None, "namespaces", name)


def events(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Events (`events.k8s.io/v1`)."""
    return of("/apis/events.k8s.io/v1", namespace, "events", name)


def core_events(namespace: str | None) -> str:
    """Return the path of the same Events as `v1` has them: what people grant, and what kubectl reads."""
    return of(_CORE, namespace, "events")


def controllerrevisions(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ControllerRevisions."""
    return of("/apis/apps/v1", namespace, "controllerrevisions", name)


def leases(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Leases."""
    return of("/apis/coordination.k8s.io/v1", namespace, "leases", name)


def _segment(name: str) -> str:
    if name in {".", ".."} or "/" in name or "%" in name:
        raise ValueError(f"{name!r} cannot be the name of a Kubernetes object")
    return quote(name, safe="")


MOST = 50
"""Workloads of one Runbook that are looked for."""


async def missing_account(client: apiserver.Kube, namespace: str, name: str) -> str:
    """Say that a service account does not exist; empty where it does, or nobody may tell. Raises `ApiError`."""
    path = serviceaccounts(namespace, name)
    # as itself where the operator may not look: an account that is there may have been granted it
    for reader in (client, client.acting_as(namespace, name)):
        found = await _is_there(reader, path)
        if found is False:
            return f"there is no ServiceAccount {name} in {namespace}: kubectl get serviceaccounts -n {namespace}"
        if found:
            return ""
    return ""


async def missing_workloads(
    client: apiserver.Kube, runbook_account: ObjectKey, wanted: Iterable[tuple[str, str]]
) -> list[str]:
    """Return those names of (name, path) whose objects do not exist, as far as the account may tell. Raises `ApiError`."""
    reader = client.acting_as(*runbook_account)
    listed = dict(list(wanted)[:MOST])
    return [name for name, path in listed.items() if await _is_there(reader, path) is False]


async def _is_there(reader: apiserver.Kube, path: str) -> bool | None:
    """Return whether an object exists; None where the reader may not tell."""
    try:
        await reader.metadata(path)
    except (errors.Forbidden, errors.NotServed):
        return None
    except errors.NotFound:
        return False
    return True


Scopes = tuple[str | None, ...]
"""Names of namespaces, each of which is listed and watched by itself; None stands for all of them at once. Empty: none at all."""
EVERYWHERE: Scopes = (None,)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def served(client: apiserver.Kube, named: tuple[str, ...]) -> Scopes:
    """Return what is served: the named namespaces, or, where none is named, all or none. Raises `ApiError`."""
    if named:
        return named
    return EVERYWHERE if await _may_open_incidents_everywhere(client) else ()


async def _may_open_incidents_everywhere(client: apiserver.Kube) -> bool:
    asked = {"group": GROUP, "resource": "incidents", "verb": "create"}  # without a namespace: in all
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = await client.create(_REVIEWS, {**kind, "spec": {"resourceAttributes": asked}})
    return bool(answer["status"].get("allowed"))


_API_VERSION = re.compile(r"([a-z0-9.-]+/)?v[a-z0-9]+")
_NOWHERE = f"{os.devnull}/unused"
"""A path that cannot exist: the library insists on looking for a cache file."""


@dataclass(frozen=True, slots=True)
class ServedKind:
    """A kind as the apiserver serves it."""

    prefix: str
    """Path of its group and version, e.g. `/apis/apps/v1`."""
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str | None = None) -> str:
        """Return the path of its objects in a namespace, or of all where it has none."""
        return of(self.prefix, namespace if self.namespaced else None, self.plural, name)


class _InMemory(LazyDiscoverer):
    """The library's discoverer without its cache file, which would be shared with whoever may write to /tmp."""

    def _write_cache(self) -> None:
        pass


class Discovery:
    """Finds kinds by `apiVersion` and `kind`; asks again where one is not known yet."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._resources: Any = None
        self._lock = asyncio.Lock()

    async def find(self, api_version: str, kind: str) -> ServedKind:
        """Return how a kind is served. Raises `api_errors.NotFound`, or what else the apiserver answers."""
        if not _API_VERSION.fullmatch(api_version):
            raise _unknown(api_version, kind)
        try:
            async with self._lock:
                found = await self._search(api_version, kind)
        except (ResourceNotFoundError, ResourceNotUniqueError) as error:
            raise _unknown(api_version, kind) from error
        except ApiException as error:
            raise errors.of_answer(error.status, (error.body or "").encode()) from error
        except accesses.AccessError as error:
            raise errors.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise errors.unreachable(error) from error
        return ServedKind(f"/{found.prefix}/{found.group_version}", found.name, found.namespaced)

    async def _search(self, api_version: str, kind: str) -> Any:
        if self._resources is None:
            dynamic = DynamicClient(self._client, _NOWHERE, _InMemory)  # type: ignore[no-untyped-call] # few types
            self._resources = (await dynamic).resources
        prefix = "apis" if "/" in api_version else "api"
        found = await self._resources.get(prefix=prefix, api_version=api_version, kind=kind)
        if isinstance(found, ResourceList):
            raise ResourceNotFoundError(kind)
        return found


def _unknown(api_version: str, kind: str) -> errors.NotFound:
    return errors.NotFound(404, "NotFound", f"the cluster has no kind {kind} in {api_version}")
