"""An apiserver whose objects are as large as etcd takes them: it streams its answers, and counts how much of each was taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from incident_operator.kubernetes.access import Access

MEBIBYTE = 1024 * 1024
IN_SOCKETS = 16 * MEBIBYTE
"""What kernels keep between a writer and a reader on one machine, at most."""
_CHUNK = 64 * 1024


class HeavyApiserver:
    """Serves `count` objects of `size` bytes, whatever the kind, and one path with one such object."""

    def __init__(self, count: int, size: int, kind: str = "ConfigMap", **spec: object) -> None:
        self.taken: list[int] = []
        """Bytes of each answer that were written before the reader left, or all."""
        self.url = ""
        self._count = count
        self._kind = kind
        self._size = size
        self._spec = spec

    def access(self) -> Access:
        """How a client reaches it."""
        return Access(server=self.url)

    async def answer(self, http: web.Request) -> web.StreamResponse:
        """Stream a page, or an object, until the reader has enough."""
        if found := _DISCOVERY.get(http.path):
            return web.json_response(found)
        if "watch" in http.query:
            await asyncio.sleep(3600)
        text = self._page(http) if http.path.endswith("s") else self._object(0)
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        place = len(self.taken)
        self.taken.append(0)
        await reply.prepare(http)
        for start in range(0, len(text), _CHUNK):
            try:
                await reply.write(text[start : start + _CHUNK])
            except ConnectionError:
                return reply
            self.taken[place] = min(start + _CHUNK, len(text))
        return reply

    def _page(self, http: web.Request) -> bytes:
        start = int(http.query.get("continue") or 0)
        end = min(start + int(http.query.get("limit") or self._count), self._count)
        meta = {"resourceVersion": "1000", **({"continue": str(end)} if end < self._count else {})}
        items = [orjson.Fragment(self._object(number)) for number in range(start, end)]
        return orjson.dumps({"apiVersion": "v1", "kind": f"{self._kind}List", "metadata": meta, "items": items})

    def _object(self, number: int) -> bytes:
        meta = {
            "namespace": "prod",
            "name": f"heavy-{number:04}",
            "uid": str(number),
            "resourceVersion": str(number + 1),
        }
        weight = {"annotations": {"weight": "x" * self._size}, "generation": 1}
        return orjson.dumps(
            {"apiVersion": "v1", "kind": self._kind, "metadata": {**meta, **weight}, "spec": self._spec}
        )


_DISCOVERY = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "configmaps",
                "singularName": "",
                "kind": "ConfigMap",
                "namespaced": True,
                "verbs": ["get", "list"],
            }
        ],
    },
}


@asynccontextmanager
async def serving(heavy: HeavyApiserver) -> AsyncIterator[HeavyApiserver]:
    """Serve for the block's time."""
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", heavy.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    heavy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield heavy
    finally:
        await runner.cleanup()
