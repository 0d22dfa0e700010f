"""The only writer of an Incident's status: guarded by uid and resourceVersion, and never sent twice blindly."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from incident_operator.api.incident import Incident, IncidentStatus, Phase
from incident_operator.clients import api_errors, kube, paths

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

    def __init__(self, client: kube.Kube, writer: str, pauses: Sequence[float] = PAUSES) -> None:
        self._kube = client
        self._pauses = pauses
        self._writer = writer
        self._writes = itertools.count(1)

    async def read(self, namespace: str, name: str) -> Incident:
        """Return the Incident as it is stored now. Raises `Gone`, or `kube.Unavailable`."""
        path = paths.incidents(namespace, name)
        try:
            return _incident(path, await self._kube.text(path))
        except kube.NotFound as error:
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
            except kube.Conflict as error:
                return await self._own_or_superseded(incident, marked, maybe_applied, error)
            except kube.Unavailable as error:
                maybe_applied = maybe_applied or error.maybe_applied
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def halt_unread(self, namespace: str, name: str, reason: str, message: str) -> None:
        """Store that an Incident which cannot be read needs a person. Saying so again changes nothing. Raises `kube.ApiError`."""
        status = {"phase": Phase.NEEDS_HUMAN.value, "reason": reason, "message": message}
        await self._kube.write_status(paths.incidents(namespace, name, "status"), status)

    async def _patch(self, incident: Incident, marked: IncidentStatus, text: bytes) -> Incident:
        """Write, and return what is stored now: all but the version is known, for exactly this version was replaced."""
        try:
            version = await self._kube.json_patched(_path(incident), _operations(incident, marked.written_by, text))
        except kube.NotFound as error:
            raise Gone(incident.metadata.name) from error
        metadata = incident.metadata.model_copy(update={"resource_version": version})
        return incident.model_copy(update={"metadata": metadata, "status": marked})

    async def _own_or_superseded(
        self, incident: Incident, marked: IncidentStatus, maybe_applied: bool, conflict: kube.Conflict
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
        return Incident.model_validate(api_errors.decoded("GET", path, text))
    spec = msgspec.json.encode(_SPEC.decode(parts.spec))
    beside = {"metadata": parts.metadata, "spec": spec, "status": parts.status}
    rest = {name: api_errors.decoded("GET", path, bytes(part)) for name, part in beside.items()}
    return Incident.model_validate({**rest, "unreadBytes": size})


def _path(incident: Incident) -> str:
    return paths.incidents(incident.metadata.namespace, incident.metadata.name, "status")


def _operations(incident: Incident, writer: str, status: bytes) -> Sequence[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": incident.metadata.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": incident.metadata.resource_version},
        {"op": "add", "path": "/status", "value": orjson.Fragment(status)},
        {"op": "add", "path": "/status/writtenBy", "value": writer},
    ]
