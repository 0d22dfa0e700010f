"""What stands between the operator and the apiserver: a door that can be shut, and a proxy that says 429."""

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web

from tests.e2e.apiserver_proxy import ApiserverProxy


class Gate:
    """Forwards bytes to the apiserver; shut, it cuts what is open and refuses what is new."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._host, self._port = address.hostname, address.port
        self._pairs: set[asyncio.StreamWriter] = set()
        self._shut = False
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._own = self._server.sockets[0].getsockname()[1]
        self.url = f"https://127.0.0.1:{self._own}"
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.shut()

    def shut(self) -> None:
        """Cut every connection, and refuse new ones as a dead host's kernel would."""
        self._server.close()
        for writer in list(self._pairs):
            writer.transport.abort()

    async def open(self) -> None:
        """Let through again, at the same address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._own)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pairs.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            self._pairs.add(far_writer)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            self._pairs.discard(far_writer)
        except OSError:
            writer.transport.abort()
        finally:
            self._pairs.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


class Throttle(ApiserverProxy):
    """Answers each n-th write with 429 and Retry-After, as the apiserver's own flow control does."""

    def __init__(self, server: str, tls: ssl.SSLContext, every: int) -> None:
        super().__init__(server, tls)
        self._every = every
        self._writes = 0
        self.refused = 0

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            self._writes += 1
            if self._writes % self._every == 0:
                self.refused += 1
                return web.json_response(
                    {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "reason": "TooManyRequests",
                     "message": "too many requests, please try again later"},
                    status=429, headers={"Retry-After": "1"},
                )  # fmt: skip
        return await super()._forward(request)
