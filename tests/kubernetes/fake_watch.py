"""What the fake apiserver streams to a watch: the changes since a version, then those that come, and faults on demand."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from tests.kubernetes import fake_routes
from tests.kubernetes.fake_routes import Request
from tests.kubernetes.fake_store import Change, Object, Store, Where

END, BREAK = b"end", b"break"
"""What a stream may be told instead of a line."""


@dataclass(eq=False, slots=True)
class Stream:
    """One watch that is open."""

    where: Where
    params: Mapping[str, str]
    lines: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def take(self, change: Change) -> None:
        """Send a change, as far as the selectors let it be seen: what leaves the selection is told as deleted."""
        if change.where.kind != self.where.kind or self.where.namespace not in {"", change.where.namespace}:
            return
        before = change.old is not None and fake_routes.selected(change.old, self.params)
        after = change.new is not None and fake_routes.selected(change.new, self.params)
        if after and change.new is not None:
            self.lines.put_nowait(line("MODIFIED" if before else "ADDED", change.new))
        elif before and change.old is not None:
            meta = {**change.old["metadata"], "resourceVersion": str(change.version)}
            self.lines.put_nowait(line("DELETED", {**change.old, "metadata": meta}))


class Watches:
    """All watches that are open, and what is to go wrong with them."""

    def __init__(self, store: Store) -> None:
        self.open: set[Stream] = set()
        self._store = store
        self._hidden = 0
        self._compacted = 0
        store.listeners.append(self._publish)

    @property
    def version(self) -> int:
        """The newest version that there is."""
        return self._store.version

    def hide(self, changes: int = 1) -> None:
        """Let the next changes be told to nobody."""
        self._hidden += changes

    def compact(self) -> None:
        """Forget all changes until now: a watch from before them has expired."""
        self._compacted = self._store.version

    def send(self, text: bytes) -> None:
        """Send a line to all, whatever it is; END ends the streams in order, BREAK in the middle."""
        for stream in self.open:
            stream.lines.put_nowait(text)

    async def serve(self, http: web.Request, where: Where, request: Request) -> web.StreamResponse:
        """Answer a watch until its time is over."""
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(http)
        stream = Stream(where, request.params)
        since = int(request.params["resourceVersion"])
        if since < self._compacted:
            await answer.write(line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))
            return answer
        for change in self._store.changes:
            if change.version > since:
                stream.take(change)
        self.open.add(stream)
        try:
            await self._pump(stream, answer, http)
        finally:
            self.open.discard(stream)
        return answer

    async def _pump(self, stream: Stream, answer: web.StreamResponse, http: web.Request) -> None:
        try:
            async with asyncio.timeout(float(stream.params.get("timeoutSeconds", "3600"))):
                while (text := await stream.lines.get()) != END:
                    if text == BREAK and http.transport:
                        http.transport.abort()
                    await answer.write(text)
        except TimeoutError:
            is_behind = int(stream.params["resourceVersion"]) > self._store.version
            if "allowWatchBookmarks" in stream.params and not is_behind:  # of a version to come the real one is silent
                meta = {"resourceVersion": str(self._store.version)}
                await answer.write(line("BOOKMARK", {"kind": stream.where.kind.kind, "metadata": meta}))

    def _publish(self, change: Change) -> None:
        if self._hidden:
            self._hidden -= 1
            self._store.changes.remove(change)
            return
        for stream in self.open:
            stream.take(change)


def line(what: str, made: Object) -> bytes:
    """Return an event as it is written."""
    return orjson.dumps({"type": what, "object": made}) + b"\n"
