"""The transport: answers in pieces, broken ones and unasked ones; connections that are kept and those that are not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from incident_operator.kubernetes.transport import BrokenError, NotConnectedError, Server, Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A server that answers its n-th request with the n-th script, piece by piece, and counts connections."""

    def __init__(self, *scripts: Sequence[bytes | None]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                for piece in self.scripts.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def connected(script: Scripted) -> AsyncIterator[Transport]:
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = Transport(Server(f"http://127.0.0.1:{port}"), 10)
    async with server:
        yield transport
        transport.close()
        await asyncio.sleep(0.01)


async def ask(transport: Transport, headers: str = "", target: str = "/", seconds: float = 5.0) -> tuple[int, bytes]:
    return await transport.request("GET", target, headers, b"", seconds)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([OK], id="whole"),
        pytest.param([OK[:9], OK[9:30], OK[30:-1], OK[-1:]], id="in pieces"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"], id="chunked"
        ),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", OK], id="after a provisional answer"),
    ],
)
async def test_an_answer_is_taken_however_it_comes_and_its_connection_kept(pieces: list[bytes]) -> None:
    script = Scripted(pieces, pieces)
    async with connected(script) as transport:
        assert [await ask(transport), await ask(transport)] == [(200, b"ok")] * 2
    assert script.connections == 1


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([OK.replace(b"\r\nC", b"\r\nConnection: close\r\nC")], id="the server closes it"),
        pytest.param([OK, OK], id="an answer came that nobody asked for"),
        pytest.param([OK, None], id="it broke afterwards"),
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(pieces: list[bytes | None]) -> None:
    script = Scripted(pieces, [OK])
    async with connected(script) as transport:
        await ask(transport)
        await asyncio.sleep(0.05)
        assert await ask(transport) == (200, b"ok")
    assert script.connections == 2


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([None], id="no answer"),
        pytest.param([OK[:-1], None], id="half an answer"),
        pytest.param([b"SSH-2.0-OpenSSH\r\n\r\n"], id="no HTTP"),
    ],
)
async def test_a_broken_answer_is_an_error_and_is_asked_for_once(pieces: list[bytes | None]) -> None:
    script = Scripted(pieces, [OK])
    async with connected(script) as transport:
        with pytest.raises(BrokenError):
            await ask(transport)
    assert len(script.requests) == 1


async def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_one() -> None:
    script = Scripted([], [OK])
    async with connected(script) as transport:
        with pytest.raises(TimeoutError):
            await ask(transport, seconds=0.05)
        assert await ask(transport) == (200, b"ok")
    assert script.connections == 2


async def test_where_nobody_listens_there_is_no_connection() -> None:
    transport = Transport(Server("http://127.0.0.1:9"), 1)
    with pytest.raises(NotConnectedError):
        await ask(transport)


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/a b", ""), ("/a\r\nX: y", ""), ("/", "X: a\nY: b\r\n"), ("/", "X: a\r\n\r\nGET / HTTP/1.1\r\n")],
)
async def test_nothing_can_be_smuggled_into_a_request(target: str, headers: str) -> None:
    script = Scripted([OK])
    async with connected(script) as transport:
        with pytest.raises(ValueError, match="one word"):
            await ask(transport, headers, target)
    assert script.requests == []
