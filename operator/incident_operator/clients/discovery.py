"""Which path serves a kind: what the apiserver says of itself, asked once and kept in memory.

Asked as the operator; every authenticated user may. Whether an account may use what is found here, its own requests tell.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client import ApiException
from kubernetes.aio.dynamic import DynamicClient, LazyDiscoverer
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

from incident_operator.clients import api_errors, paths


@dataclass(frozen=True, slots=True)
class ServedKind:
    """A kind as the apiserver serves it."""

    prefix: str
    """Path of its group and version, e.g. `/apis/apps/v1`."""
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str | None = None) -> str:
        """Return the path of its objects in a namespace, or of all where it has none."""
        return paths.of(self.prefix, namespace if self.namespaced else None, self.plural, name)


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
        async with self._lock:
            try:
                found = await self._search(api_version, kind)
            except (ResourceNotFoundError, ResourceNotUniqueError) as error:
                message = f"the cluster has no kind {kind} in {api_version}"
                raise api_errors.NotFound(404, "NotFound", message) from error
            except ApiException as error:
                raise api_errors.of_answer(error.status, (error.body or "").encode()) from error
        return ServedKind(f"/{found.prefix}/{found.group_version}", found.name, found.namespaced)

    async def _search(self, api_version: str, kind: str) -> Any:
        if self._resources is None:
            dynamic = await DynamicClient(self._client, cache_file="", discoverer=_InMemory)
            self._resources = dynamic.resources
        found = await self._resources.get(api_version=api_version, kind=kind)
        if not found.name:
            raise ResourceNotFoundError(kind)
        return found
