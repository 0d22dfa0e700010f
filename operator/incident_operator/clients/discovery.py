"""Which path serves a kind: what the apiserver says of itself, asked once and kept in memory.

Asked as the operator; every authenticated user may. Whether an account may use what is found here, its own requests tell.
"""

import asyncio
import os
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiException
from kubernetes.aio.dynamic import DynamicClient, LazyDiscoverer, ResourceList
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

from incident_operator.clients import access as accesses
from incident_operator.clients import api_errors, paths

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
        if not _API_VERSION.fullmatch(api_version):
            raise _unknown(api_version, kind)
        try:
            async with self._lock:
                found = await self._search(api_version, kind)
        except (ResourceNotFoundError, ResourceNotUniqueError) as error:
            raise _unknown(api_version, kind) from error
        except ApiException as error:
            raise api_errors.of_answer(error.status, (error.body or "").encode()) from error
        except accesses.AccessError as error:
            raise api_errors.Unavailable(0, "Unauthenticated", str(error), maybe_applied=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise api_errors.unreachable(error) from error
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


def _unknown(api_version: str, kind: str) -> api_errors.NotFound:
    return api_errors.NotFound(404, "NotFound", f"the cluster has no kind {kind} in {api_version}")
