"""Lists a collection and watches it from there, over and over: what the watch loses, the next list finds.

A list comes at the start, after every break that may have hidden something, and every ten minutes in any case. What a list
lacks of what was known has left, whatever became of it. Each object is decoded by itself: one that cannot be read is left
alone, and the others are told all the same.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypedDict, TypeVar, cast

import msgspec
import structlog

from incident_operator.api.meta import ObjectKey
from incident_operator.core import sanitize
from incident_operator.kubernetes import errors
from incident_operator.kubernetes.apiserver import Later, Reads, members, page_of, pages
from incident_operator.kubernetes.partial_objects import Metadata

_FROM_THE_FUTURE = "Too large resource version"
"""What the apiserver says of a version that it does not have yet, or not any more."""
_REASON = 500
"""Characters told of what is wrong with an object."""
_log = structlog.get_logger()
_T = TypeVar("_T")
_Seen = TypeVar("_Seen", bound=Mapping[str, object])
_Seen_contra = TypeVar("_Seen_contra", contravariant=True)


class HistoryWentBack(errors.ApiError):
    """The apiserver's versions are older than those it told before: it was restored from a backup, and nothing known holds.

    Whoever remembers what versions it has seen has to forget all of it.
    """

    def __init__(self, path: str, newest: int, now: int) -> None:
        told = f"{path} was at version {newest} and is at {now} now: the cluster was restored from a backup"
        super().__init__(0, "WentBack", f"{told}; this process ends, because what it remembers is no longer true")


class Sink(Protocol[_Seen_contra]):
    """Where changes are told. Both return at once; whatever they raise means that this one object is unreadable."""

    def seen(self, found: _Seen_contra) -> None:
        """Take an object in its newest state."""
        ...

    def left(self, found: _Seen_contra) -> None:
        """Take one that is not selected any more: deleted, or no longer as the selector says. It may be a name only."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    watch: float = 60.0
    """One watch; the apiserver tells how far it is (a bookmark) before it ends it."""
    slack: float = 10.0
    """How much longer than a watch a stream may be silent until it counts as dead."""
    between_lists: float = 600.0
    pauses: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    """Before trying again, after one failure, after two, and so on."""
    longest_pause: float = 60.0
    """What the apiserver may ask for at most."""
    chunk: int = 500


class _Object(TypedDict):
    metadata: Metadata


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 500


_EVENT = msgspec.json.Decoder(_Event)
_METADATA, _STATUS = msgspec.json.Decoder(Metadata), msgspec.json.Decoder(_Status)
_OBJECT, _TYPE = msgspec.json.Decoder(_Object), msgspec.json.Decoder(str)
_IDENTITY = ("namespace", "name", "uid", "resourceVersion", "generation")
_UNREADABLE = (msgspec.MsgspecError, RecursionError)


class Reflector(Generic[_Seen]):
    """Follows one collection; of all that match `selector` if the apiserver can select by it, else of all."""

    def __init__(
        self,
        reads: Reads,
        path: str,
        sink: Sink[_Seen],
        decoder: msgspec.json.Decoder[_Seen],
        *,
        selector: str = "",
        pace: Pace | None = None,
        newest: Callable[[], int] = lambda: 0,
    ) -> None:
        """`decoder` reads an object as far as the sink needs it; what it refuses is unreadable.

        `newest` is the newest version that this process knows by other ways, as from its own writes.
        """
        self._newest_elsewhere = newest
        self._decoder = decoder
        self._reads = reads
        self._path = path
        self._sink = sink
        self._selector = selector
        self._pace = pace or Pace()
        self._known: dict[ObjectKey, int] = {}
        self._version = ""
        """From where to watch; empty asks for a list."""
        self._newest = 0
        self._listed_at = 0.0

    @property
    def selects(self) -> bool:
        """Whether the apiserver selects: leaving then need not mean that the object is gone."""
        return bool(self._selector)

    async def start(self) -> None:
        """List for the first time. Raises `ApiError`."""
        await self._list()

    async def run(self) -> None:
        """Follow until cancelled. Raises `HistoryWentBack`."""
        failures = 0
        while True:
            pause = 0.0
            try:
                if await self._follow():
                    failures = 0
                    continue
                failures += 1
            except HistoryWentBack:
                raise
            except errors.ApiError as error:
                failures += 1
                pause = self._failed(error)
            await asyncio.sleep(max(pause, self._pace.pauses[min(failures, len(self._pace.pauses)) - 1]))

    def _failed(self, error: errors.ApiError) -> float:
        """Return how long the apiserver wants to be left alone; a break that may have hidden something asks for a list."""
        _log.warning("The watch broke and is started again", path=self._path, error=str(error))
        if not isinstance(error, errors.Unavailable) or _FROM_THE_FUTURE in str(error):
            self._version = ""
        return min(error.seconds, self._pace.longest_pause) if isinstance(error, Later) else 0.0

    async def _follow(self) -> bool:
        """Watch once, after a list if one is due; False for a stream that ended at once without a word."""
        loop = asyncio.get_running_loop()
        if not self._version or loop.time() - self._listed_at >= self._pace.between_lists:
            await self._list()
        began, told = loop.time(), False
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        query |= {"timeoutSeconds": str(max(1, round(self._pace.watch))), **self._selection()}
        async with aclosing(self._reads.lines(self._path, query, self._pace.watch + self._pace.slack)) as lines:
            async for line in lines:
                self._take(line)
                told = True
        if told:
            return True
        if loop.time() - began < self._pace.watch / 2:
            return False
        await self._check_version()
        return True

    async def _check_version(self) -> None:
        """Look how far the apiserver is. Raises `HistoryWentBack`: a watch from a version that is not there any more is just silent.

        One that goes well ends with a bookmark, so that this costs nothing then.
        """
        newest = self._newest_known()
        page = page_of(await self._reads.page(self._path, {"limit": "1", **self._selection()}))
        self._check(int(page.metadata["resourceVersion"]), newest)

    def _newest_known(self) -> int:
        return max(self._newest, self._newest_elsewhere())

    def _check(self, version: int, newest: int) -> None:
        """`newest` is what was known before that version was asked for."""
        if version < newest:
            raise HistoryWentBack(self._path, newest, version)

    def _selection(self) -> dict[str, str]:
        return {"fieldSelector": self._selector} if self._selector else {}

    async def _list(self) -> None:
        try:
            await self._list_once()
        except errors.Invalid as error:
            if not (self._selector and "field label not supported" in str(error)):
                raise
            _log.warning(
                "The apiserver cannot select by this field (Kubernetes 1.32 can): all are watched",
                selector=self._selector,
            )
            self._selector = ""
            await self._list_once()

    async def _list_once(self) -> None:
        self._version, listed, version = "", set[ObjectKey](), ""
        newest = self._newest_known()

        async def read(query: Mapping[str, str], most: int) -> bytes:
            return await self._reads.page(self._path, query, most=most)

        async for page in pages(read, self._selection(), self._pace.chunk):
            listed.update(map(self._listed, page.items))
            version = str(page.metadata["resourceVersion"])
        self._check(int(version), newest)
        for key in [each for each in self._known if each not in listed]:
            self._drop(key, version)
        self._newest = int(version)
        self._version, self._listed_at = version, asyncio.get_running_loop().time()

    def _listed(self, raw: msgspec.Raw) -> ObjectKey:
        metadata, found = self._read(raw)
        key = ObjectKey(metadata["namespace"], metadata["name"])
        if self._known.get(key) != int(metadata["resourceVersion"]):
            self._see(key, metadata, found)
        return key

    def _take(self, line: bytes) -> None:
        event = _event(line)
        if event.type == "ERROR":
            raise errors.of_answer(_decoded(_STATUS, event.object).code, bytes(event.object))
        metadata, found = self._read(event.object, bookmark=event.type == "BOOKMARK")
        version = int(metadata["resourceVersion"])
        if version < self._newest and event.type == "BOOKMARK":
            self._version = ""  # a list tells whether the apiserver is behind for a moment, or for good
        if version <= self._newest:
            return  # a watch goes forward only: this state is older than what was told
        self._newest, self._version = version, metadata["resourceVersion"]
        if event.type == "BOOKMARK":
            return
        key = ObjectKey(metadata["namespace"], metadata["name"])
        if event.type == "DELETED":
            self._known.pop(key, None)
            _tell(self._sink.left, metadata, found)
        else:
            self._see(key, metadata, found)

    def _see(self, key: ObjectKey, metadata: Metadata, found: _Seen | None) -> None:
        self._known[key] = int(metadata["resourceVersion"])
        _tell(self._sink.seen, metadata, found)

    def _drop(self, key: ObjectKey, version: str) -> None:
        self._known.pop(key)
        gone: Metadata = {"namespace": key.namespace, "name": key.name, "resourceVersion": version}
        _tell(self._sink.left, gone, msgspec.convert({"metadata": gone}, self._decoder.type))

    def _read(self, raw: msgspec.Raw, *, bookmark: bool = False) -> tuple[Metadata, _Seen | None]:
        """Return an object, or its metadata alone where the rest is not as it should be."""
        if bookmark:
            return _metadata(raw), None
        try:
            found = self._decoder.decode(raw)
            return cast("Metadata", found["metadata"]), found
        except (*_UNREADABLE, KeyError) as error:
            metadata = _metadata(raw)
            unreadable(metadata, error)
            return metadata, None


def _metadata(raw: msgspec.Raw) -> Metadata:
    """Return an object's metadata. Raises `ApiError` where even that cannot be told.

    The fields are taken out one by one: `managedFields` are nested as deep as what they manage.
    """
    try:
        return _OBJECT.decode(raw)["metadata"]
    except (*_UNREADABLE, KeyError):
        pass
    try:
        fields = members(members(bytes(raw))["metadata"])
        kept = b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in _IDENTITY if name in fields)
        return _METADATA.decode(b"{%s}" % kept)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        raise _garbage(error) from error


def _event(line: bytes) -> _Event:
    """Return an event with its object undecoded."""
    try:
        return _EVENT.decode(line)
    except _UNREADABLE:
        pass
    try:
        parts = members(line)
        return _Event(_TYPE.decode(parts["type"]), msgspec.Raw(parts["object"]))
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        raise _garbage(error) from error


def _tell(take: Callable[[_Seen], None], metadata: Metadata, found: _Seen | None) -> None:
    if found is None:
        return
    try:
        take(found)
    except Exception as error:  # noqa: BLE001 # whatever an object makes fail is that object's failure alone
        unreadable(metadata, error)


def unreadable(metadata: Metadata, error: Exception) -> None:
    """Log an object that cannot be read, and no more: it must not keep the operator from serving the others."""
    told = sanitize.text(str(error), _REASON)
    where = {"namespace": metadata.get("namespace"), "name": metadata.get("name")}
    _log.error("Unreadable object skipped", **where, error=told)


def _decoded(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw) -> _T:
    try:
        return decoder.decode(text)
    except _UNREADABLE as error:
        raise _garbage(error) from error


def _garbage(error: Exception) -> errors.ApiError:
    return errors.ApiError(0, "Unreadable", f"the apiserver sent what cannot be read: {error}")
