"""The proxy that stands before the apiserver in end-to-end tests."""

import asyncio
import gc
import ssl

import aiohttp

from proofs.faults import certificates
from tests.e2e.apiserver_proxy import ApiserverProxy

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"


async def test_a_watch_that_is_left_behind_is_cut_off_with_the_proxy(tmp_path):
    made = certificates.make(tmp_path)
    trust = ssl.create_default_context(cafile=str(made.authority))
    over = asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await over.wait()
        writer.close()

    async with await asyncio.start_server(watched, "127.0.0.1", 0, ssl=made.server()) as upstream:
        port = upstream.sockets[0].getsockname()[1]
        async with ApiserverProxy(f"https://127.0.0.1:{port}", trust) as proxy, aiohttp.ClientSession() as client:
            answer = await client.get(proxy.url)
            assert await answer.content.readline() == b"{}\n"
            answer.close()
        left = _open_to(port)
        over.set()
    assert left == []


def _open_to(port: int) -> list[asyncio.Transport]:
    # isinstance would ask proxies of objects that are gone
    transports = [each for each in gc.get_objects() if issubclass(type(each), asyncio.Transport)]
    return [each for each in transports if _peer(each) == port and each.get_extra_info("socket").fileno() != -1]


def _peer(transport: asyncio.Transport) -> int | None:
    name = transport.get_extra_info("peername")
    return name[1] if isinstance(name, tuple) else None
