"""What the operator itself keeps at the apiserver: the status of an Incident, and Secrets of its own.

It is the only writer of an Incident's status: guarded by uid and resourceVersion, and never sent twice blindly. A Secret is made once, by
name, and never over what is there. Definitions that were just installed take a moment until they are served, which is waited for.
"""

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import orjson
import structlog

from incident_operator.api.incident import Incident, IncidentStatus, Phase, incident_labels
from incident_operator.api.meta import API_VERSION, GROUP
from incident_operator.core.outcomes import Json
from incident_operator.kubernetes import apiserver, discovery, errors

SPEC_BYTES = 384 * 1024
"""Of an Incident's spec as JSON: one that the operator made has 200 KiB at most, however many alerts a group holds."""


class _Parts(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"{}")


class _Spec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is read of a spec that is too long."""

    runbook_ref: dict[str, str] | None = None
    severity: str = "P2"


_PARTS, _SPEC = msgspec.json.Decoder(_Parts), msgspec.json.Decoder(_Spec)


class Gone(Exception):
    """The Incident was deleted, or replaced by another of the same name."""


class Superseded(Exception):
    """Somebody else changed the Incident in between; it has to be read and decided again."""


PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between tries while the apiserver does not answer: an outcome in memory is worth some patience."""


class State:
    """Reads Incidents live and stores their status. `writer` names this process, unique among all of them."""

    def __init__(self, client: apiserver.Kube, writer: str, pauses: Sequence[float] = PAUSES) -> None:
        self._kube = client
        self._pauses = pauses
        self._writer = writer
        self._writes = itertools.count(1)

    async def read(self, namespace: str, name: str) -> Incident:
        """Return the Incident as it is stored now. Raises `Gone`, or `kube.Unavailable`."""
        path = discovery.incidents(namespace, name)
        try:
            return _incident(path, await self._kube.text(path))
        except apiserver.NotFound as error:
            raise Gone(name) from error

    async def store(self, incident: Incident, status: IncidentStatus, text: bytes) -> Incident:
        """Store a status over exactly the version that was read, and return the Incident with its new version.

        `text` is the status as JSON: whoever saw to it that it fits has it.

        Raises `Superseded` when that version is no longer the newest, `Gone`, or `kube.Unavailable` when the apiserver
        stays away. Repeating is safe: the version that is tested can be replaced once only, and the marker tells by whom.
        """
        marked = status.model_copy(update={"written_by": f"{self._writer}/{next(self._writes)}"})
        maybe_applied = False
        for pause in (*self._pauses, None):
            try:
                return await self._patch(incident, marked, text)
            except apiserver.Conflict as error:
                return await self._own_or_superseded(incident, marked, maybe_applied, error)
            except apiserver.Unavailable as error:
                maybe_applied = maybe_applied or error.maybe_applied
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def halt_unread(self, namespace: str, name: str, reason: str, message: str) -> None:
        """Store that an Incident which cannot be read needs a person. Saying so again changes nothing. Raises `kube.ApiError`."""
        status = {"phase": Phase.NEEDS_HUMAN.value, "reason": reason, "message": message}
        await self._kube.write_status(discovery.incidents(namespace, name, "status"), status)

    async def _patch(self, incident: Incident, marked: IncidentStatus, text: bytes) -> Incident:
        """Write, and return what is stored now: all but the version is known, for exactly this version was replaced."""
        try:
            version = await self._kube.json_patched(_path(incident), _operations(incident, marked.written_by, text))
        except apiserver.NotFound as error:
            raise Gone(incident.metadata.name) from error
        metadata = incident.metadata.model_copy(update={"resource_version": version})
        return incident.model_copy(update={"metadata": metadata, "status": marked})

    async def _own_or_superseded(
        self, incident: Incident, marked: IncidentStatus, maybe_applied: bool, conflict: apiserver.Conflict
    ) -> Incident:
        if maybe_applied:
            found = await self.read(incident.metadata.namespace, incident.metadata.name)
            if found.metadata.uid == incident.metadata.uid and found.status.written_by == marked.written_by:
                return found
        raise Superseded(incident.metadata.name) from conflict


def _incident(path: str, text: bytes) -> Incident:
    """Return the Incident in an answer; of a spec that is longer than is read, only what says whose it is is decoded."""
    try:
        parts = _PARTS.decode(text) if len(text) > SPEC_BYTES else _Parts()
    except (msgspec.MsgspecError, RecursionError):
        parts = _Parts()  # nested without end, and refused below
    size = len(bytes(parts.spec))
    if size <= SPEC_BYTES:
        return Incident.model_validate(errors.decoded("GET", path, text))
    spec = msgspec.json.encode(_SPEC.decode(parts.spec))
    beside = {"metadata": parts.metadata, "spec": spec, "status": parts.status}
    rest = {name: errors.decoded("GET", path, bytes(part)) for name, part in beside.items()}
    return Incident.model_validate({**rest, "unreadBytes": size})


def _path(incident: Incident) -> str:
    return discovery.incidents(incident.metadata.namespace, incident.metadata.name, "status")


def _operations(incident: Incident, writer: str, status: bytes) -> Sequence[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": incident.metadata.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": incident.metadata.resource_version},
        {"op": "add", "path": "/status", "value": orjson.Fragment(status)},
        {"op": "add", "path": "/status/writtenBy", "value": writer},
    ]


_TRIES = 5
_LABELS = incident_labels({})
"""Nothing that names a release: what applies the chart would take the Secret for a leftover of it, and delete it."""


class SecretError(Exception):
    """An own Secret holds what cannot be used; the message names it, and no value."""


async def made_once(
    client: apiserver.Kube, namespace: str, name: str, values: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """Return all that the Secret holds, by key. Where it, or a key of `values`, is missing, that is stored first.

    What is there is never overwritten: of processes that begin together, all return the same. Raises `kube.Forbidden`
    with the rights that are missing, or another `ApiError`.
    """
    try:
        for _ in range(_TRIES):
            with suppress(apiserver.AlreadyExists, apiserver.Conflict):  # somebody else was quicker: theirs counts
                return _held(await _completed(client, namespace, name, values))
    except apiserver.Forbidden as error:
        raise _without_rights(namespace, name, error) from error
    raise apiserver.Conflict(409, "Conflict", f"Secret {namespace}/{name} changes all the time")


async def read_own_secret(client: apiserver.Kube, namespace: str, name: str) -> Mapping[str, bytes]:
    """Return what the Secret holds, by key. Raises `kube.NotFound`, or another `ApiError` as `made_once` does."""
    try:
        return _held(await client.get(discovery.secrets(namespace, name)))
    except apiserver.Forbidden as error:
        raise _without_rights(namespace, name, error) from error


async def _completed(client: apiserver.Kube, namespace: str, name: str, values: Mapping[str, bytes]) -> Json:
    try:
        stored = await client.get(discovery.secrets(namespace, name))
    except apiserver.NotFound:
        return await _create(client, namespace, name, values)
    missing = {key: value for key, value in values.items() if key not in (stored.get("data") or {})}
    return await _add(client, namespace, stored, missing) if missing else stored


async def _create(client: apiserver.Kube, namespace: str, name: str, values: Mapping[str, bytes]) -> Json:
    meta = {"name": name, "namespace": namespace, "labels": _LABELS}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": _encoded(values)}
    return await client.create(discovery.secrets(namespace), body)


async def _add(client: apiserver.Kube, namespace: str, stored: Json, missing: Mapping[str, bytes]) -> Json:
    """Add keys to exactly the version that was read."""
    data = {**(stored.get("data") or {}), **_encoded(missing)}
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": stored["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/data", "value": data},
    ]
    return await client.json_patch(discovery.secrets(namespace, stored["metadata"]["name"]), operations)


def _held(stored: Json) -> Mapping[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (stored.get("data") or {}).items()}


def _encoded(values: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


def _without_rights(namespace: str, name: str, error: apiserver.Forbidden) -> apiserver.Forbidden:
    needed = f"a Role in namespace {namespace} has to allow create on secrets, and get and patch on the Secret {name}"
    return apiserver.Forbidden(error.status, error.reason, f"{error}; {needed}, as the chart's Role …-secrets does")


PATIENCE = 30.0
"""Seconds to wait for definitions; in a cluster the process is started again after that."""
_LOOK_EVERY = 0.5
_PLURALS = frozenset({"incidents", "runbooks", "connections"})
TOO_MANY = frozenset({429})
T = TypeVar("T")
_log = structlog.get_logger()


async def wait_until_served(client: apiserver.Kube) -> None:
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
        raise apiserver.NotFound(404, "NotFound", told)


async def patiently(read: Callable[[], Awaitable[T]], only: frozenset[int] = frozenset()) -> T:
    """Read, again while the apiserver puts it off: a kind is listed a moment before it can be read (429).

    Where `only` is given, other statuses are not waited out: who cannot reach the apiserver at all hears so at once.
    Raises `ApiError`: what the last try met, or at once what another try would not change.
    """
    for looks in range(int(PATIENCE / _LOOK_EVERY)):
        try:
            return await read()
        except apiserver.Unavailable as error:
            if only and error.status not in only:
                raise
            if not looks:
                _log.warning("Waits for the apiserver to be ready", error=str(error), seconds=PATIENCE)
        await asyncio.sleep(_LOOK_EVERY)
    return await read()


async def _missing(client: apiserver.Kube) -> list[str]:
    """Ask as kopf will: a group that is not listed yet is not looked into, and would never be watched."""
    groups = (await client.get("/apis"))["groups"]
    if GROUP not in {group["name"] for group in groups}:
        return sorted(_PLURALS)
    try:
        served = (await client.get(f"/apis/{API_VERSION}"))["resources"]
    except apiserver.NotFound:
        return sorted(_PLURALS)
    return sorted(_PLURALS - {resource["name"] for resource in served})
