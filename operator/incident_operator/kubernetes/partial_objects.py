"""The few fields of objects that lists and watches are read for; all others are skipped while parsing.

kopf decodes a page or a line whole, and keeps an object until it was looked at: so it is given these few fields, made of the answer as it
arrives, and a large object costs its bytes only for the moment in which it passes. Validation of the whole is for whoever works on the
Incident: here even a strange one has a name.
"""

from collections.abc import AsyncIterator
from typing import Any, TypedDict

import aiohttp
import msgspec

from incident_operator.kubernetes import apiserver, errors
from incident_operator.kubernetes.apiserver import OBJECT_BYTES, members

Annotations = TypedDict("Annotations", {"incidents.dev/abort": str, "incidents.dev/opened-by": str}, total=False)
"""What a person says that cannot wait until the Incident is looked at next, and that the operator did not make it."""


class Metadata(TypedDict, total=False):
    """Who it is, and which state of it this is."""

    namespace: str
    name: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: Annotations


class Alert(TypedDict, total=False):
    """One alert's identity and state."""

    id: str
    status: str


class Silence(TypedDict, total=False):
    """What was last seen of silences."""

    alerts: int
    until: str
    by: str
    connection: str
    endIsNoticed: bool


class Named(TypedDict, total=False):
    """A reference."""

    name: str


class Spec(TypedDict, total=False):
    """What decides when it is reconciled, and whether an alert is news."""

    runbookRef: Named | None
    severity: str
    alerts: list[Alert]
    truncatedAlerts: int
    silence: Silence


class Times(TypedDict, total=False):
    """When it ended."""

    resolved: str


class Condition(TypedDict, total=False):
    """When a condition last changed."""

    type: str
    lastTransitionTime: str


class Status(TypedDict, total=False):
    """Whether it is open, and how it ended."""

    phase: str
    times: Times
    conditions: list[Condition]


class PartialIncident(TypedDict, total=False):
    """An Incident as far as lists and watches are concerned."""

    metadata: Metadata
    spec: Spec
    status: Status


class RunbookSpec(TypedDict, total=False):
    """What alerts are matched by."""

    match: list[str]
    severity: str
    groupBy: list[str]


class RunbookStatus(TypedDict, total=False):
    """Which version was checked."""

    observedGeneration: int


class PartialRunbook(TypedDict, total=False):
    """A Runbook as far as lists and watches are concerned."""

    metadata: Metadata
    spec: RunbookSpec
    status: RunbookStatus


AT_A_TIME = 5
"""Objects of a page: so many of the largest that etcd keeps are below `paging.OBJECT_BYTES`."""


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class _Object(msgspec.Struct, rename="camel", omit_defaults=True):
    metadata: _Metadata
    api_version: str = ""
    kind: str = ""


class _List(msgspec.Struct, rename="camel", omit_defaults=True):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    api_version: str = ""
    kind: str = ""
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_OBJECT, _LIST = msgspec.json.Decoder(_Object), msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_Event)
_BROKEN = (msgspec.MsgspecError, RecursionError)


async def only(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Answer a list or a watch with the identities of its objects alone; a middleware of an aiohttp session."""
    response = await handler(request)
    if request.method == "GET" and response.status == 200:
        response.content = _Identities(response.content, request.url.path)  # type: ignore[assignment] # as far as kopf reads it
    return response


class _Identities:
    """An answer's body, of whose objects little is left."""

    def __init__(self, content: aiohttp.StreamReader, path: str) -> None:
        self._content = content
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, _: int = -1) -> bytes:
        """Return a list with identities for items; anything else as it is, up to a limit. Raises `ApiError`."""
        text = await _whole(self._content, self._path)
        found = _LIST.decode(text)
        if found.items is msgspec.UNSET:
            return text
        found.items = [msgspec.Raw(_identity(item)) for item in found.items or ()]
        return msgspec.json.encode(found)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield a watch's lines. Raises `ApiError`."""
        async for line in apiserver.split(self._content.iter_any()):
            event = _event(line)
            if event.type != "ERROR":
                event.object = msgspec.Raw(_identity(event.object))
            yield msgspec.json.encode(event) + b"\n"


async def _whole(content: aiohttp.StreamReader, path: str) -> bytes:
    text = bytearray()
    async for chunk in content.iter_any():
        text += chunk
        if len(text) > OBJECT_BYTES:
            raise errors.too_large(path, OBJECT_BYTES)
    return bytes(text)


def _event(line: bytes) -> _Event:
    try:
        return _EVENT.decode(line)
    except _BROKEN:  # nested too deep to be skipped
        parts = members(line)
        return _Event(msgspec.json.decode(parts["type"]), msgspec.Raw(parts["object"]))


def _identity(item: msgspec.Raw) -> bytes:
    try:
        return msgspec.json.encode(_OBJECT.decode(item))
    except _BROKEN:
        fields = members(members(bytes(item))["metadata"])
        kept = b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in _NAMES if name in fields)
        return b'{"metadata":{%s}}' % kept


_NAMES = [each.encode_name for each in msgspec.structs.fields(_Metadata)]
