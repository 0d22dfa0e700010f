"""A lean HTTP/1.1 client for one host: the sender's own CPU is taken from the operator that is being measured."""

import asyncio
import re

from tests.e2e.operator_process import TOKEN

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
PATH = "/api/v1/alerts"


class Connection:
    """One connection, kept alive over messages and made anew when it broke."""

    def __init__(self, port: int, timeout: float = 15.0) -> None:
        self._port = port
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> int | None:
        """Send a message and return the answer's status; None where there was no answer."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(body)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return None

    def close(self) -> None:
        """End it."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _post(self, body: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(head(len(body)) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        await reader.readexactly(int(length[1]) if length else 0)
        if b"onnection: close" in answer:
            self.close()
        return int(answer.split(b" ", 2)[1])


def head(length: int, *more: str) -> bytes:
    """The head of a message as Alertmanager writes it."""
    lines = [
        f"POST {PATH} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: Alertmanager/0.25.0", f"Content-Length: {length}",
        f"Authorization: Bearer {TOKEN}", "Content-Type: application/json", *more,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
