"""What kopf is given of the objects that it watches: who they are, whatever else people wrote into them.

kopf decodes a page or a line whole, and keeps an object until it was looked at. So of each object it gets the few fields
below, made of the answer as it arrives: a large one costs its bytes for the moment in which it passes.
"""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec

from incident_operator.clients import api_errors, paging, raw_json, reads

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
        async for line in reads.split(self._content.iter_any()):
            event = _event(line)
            if event.type != "ERROR":
                event.object = msgspec.Raw(_identity(event.object))
            yield msgspec.json.encode(event) + b"\n"


async def _whole(content: aiohttp.StreamReader, path: str) -> bytes:
    text = bytearray()
    async for chunk in content.iter_any():
        text += chunk
        if len(text) > paging.OBJECT_BYTES:
            raise api_errors.too_large(path, paging.OBJECT_BYTES)
    return bytes(text)


def _event(line: bytes) -> _Event:
    try:
        return _EVENT.decode(line)
    except _BROKEN:  # nested too deep to be skipped
        parts = raw_json.members(line)
        return _Event(msgspec.json.decode(parts["type"]), msgspec.Raw(parts["object"]))


def _identity(item: msgspec.Raw) -> bytes:
    try:
        return msgspec.json.encode(_OBJECT.decode(item))
    except _BROKEN:
        fields = raw_json.members(raw_json.members(bytes(item))["metadata"])
        kept = b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in _NAMES if name in fields)
        return b'{"metadata":{%s}}' % kept


_NAMES = [each.encode_name for each in msgspec.structs.fields(_Metadata)]
