"""Waits until the apiserver serves our kinds: definitions that were just installed take it a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from incident_operator.api.meta import API_VERSION, GROUP
from incident_operator.clients import kube

PATIENCE = 30.0
"""Seconds to wait for definitions; in a cluster the process is started again after that."""
_LOOK_EVERY = 0.5
_PLURALS = frozenset({"incidents", "runbooks", "connections"})
TOO_MANY = frozenset({429})
T = TypeVar("T")
_log = structlog.get_logger()


async def wait(client: kube.Kube) -> None:
    """Return when all our kinds are served. Raises `kube.NotFound` with what to do after a while."""
    missing = await _missing(client)
    if missing:
        _log.warning("Waits for definitions that the cluster does not serve", missing=missing, seconds=PATIENCE)
    for _ in range(int(PATIENCE / _LOOK_EVERY)):
        if not missing:
            return
        await asyncio.sleep(_LOOK_EVERY)
        missing = await _missing(client)
    if missing:
        told = f"the cluster does not serve {', '.join(missing)}; install the definitions: kubectl apply -f crds/"
        raise kube.NotFound(404, "NotFound", told)


async def patiently(read: Callable[[], Awaitable[T]], only: frozenset[int] = frozenset()) -> T:
    """Read, again while the apiserver puts it off: a kind is listed a moment before it can be read (429).

    Where `only` is given, other statuses are not waited out: who cannot reach the apiserver at all hears so at once.
    Raises `ApiError`: what the last try met, or at once what another try would not change.
    """
    for looks in range(int(PATIENCE / _LOOK_EVERY)):
        try:
            return await read()
        except kube.Unavailable as error:
            if only and error.status not in only:
                raise
            if not looks:
                _log.warning("Waits for the apiserver to be ready", error=str(error), seconds=PATIENCE)
        await asyncio.sleep(_LOOK_EVERY)
    return await read()


async def _missing(client: kube.Kube) -> list[str]:
    """Ask as kopf will: a group that is not listed yet is not looked into, and would never be watched."""
    groups = (await client.get("/apis"))["groups"]
    if GROUP not in {group["name"] for group in groups}:
        return sorted(_PLURALS)
    try:
        served = (await client.get(f"/apis/{API_VERSION}"))["resources"]
    except kube.NotFound:
        return sorted(_PLURALS)
    return sorted(_PLURALS - {resource["name"] for resource in served})
