"""A process that abuses the receiver in one way for a while, and prints what it was answered. Loopback only.

python attackers.py KIND PORT SECONDS
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

sys.path.extend(str(Path(__file__).resolve().parents[up]) for up in (3, 4))
import proofs.places  # noqa: F401
from proofs.storm.abuse import bodies
from proofs.storm.wire import head

_SLOW = 500
_GIB = 1024**3
_CHUNK = 65_536
_PATIENCE = 30.0
Seen = Counter[str]
Attack = Callable[[int, float, Seen], Awaitable[None]]


async def slow_heads(port: int, deadline: float, seen: Seen) -> None:
    """500 connections whose head comes a byte at a time."""
    await _slow(port, deadline, seen, head(100)[:-2])


async def slow_bodies(port: int, deadline: float, seen: Seen) -> None:
    """500 connections with a right head and token, whose body comes a byte at a time."""
    await _slow(port, deadline, seen, head(100_000))


async def announced(port: int, deadline: float, seen: Seen) -> None:
    """500 connections that announce a body of 4 MiB and send none of it."""
    await _slow(port, deadline, seen, head(4 * 1024**2), silent=True)


async def long_bodies(port: int, deadline: float, seen: Seen) -> None:
    """Bodies of 1 GiB, announced, sent until refused."""
    await _repeat(port, deadline, seen, 4, lambda port, seen: _pour(port, seen, head(_GIB), _plain))


async def chunked_bodies(port: int, deadline: float, seen: Seen) -> None:
    """Bodies of 1 GiB in chunks, sent until refused."""
    start = head(0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    await _repeat(port, deadline, seen, 4, lambda port, seen: _pour(port, seen, start, _chunked))


async def malformed(port: int, deadline: float, seen: Seen) -> None:
    """Every hostile message, one after another, by two senders; wrong answers are named."""
    while time.monotonic() < deadline:
        for hostile in bodies.HOSTILE:
            made = await asyncio.to_thread(hostile.make)
            sent = head(len(made), *hostile.headers) + made
            answers = await asyncio.gather(*(_ask(port, sent) for _ in range(2)))
            for answer in answers:
                right = answer in hostile.answers or answer == 503
                seen[str(answer) if right else f"WRONG {answer} for {hostile.name}"] += 1


async def no_http(port: int, deadline: float, seen: Seen) -> None:
    """What is no HTTP; an answer has to be 4xx, silence has to end by hanging up."""
    while time.monotonic() < deadline:
        for name, request in bodies.raw_requests():
            answer = await _ask(port, request)
            right = answer == 0 or 400 <= answer < 500
            seen[str(answer) if right else f"WRONG {answer} for {name}"] += 1


async def pipelined(port: int, deadline: float, seen: Seen) -> None:
    """A thousand messages in one write on one connection, again and again."""
    empty = json.dumps(bodies.valid(alerts=[])).encode()
    sent = (head(len(empty)) + empty) * 1000
    while time.monotonic() < deadline:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        try:
            async with asyncio.timeout(_PATIENCE):
                for _ in range(1000):
                    seen[(await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()] += 1
        except (OSError, EOFError, TimeoutError) as error:
            seen[f"ended by {type(error).__name__}"] += 1
        writer.transport.abort()


async def hang_up(port: int, deadline: float, seen: Seen) -> None:
    """Right messages whose sender goes away in the middle of the body, or before the answer."""
    made = bodies.pile(50)
    while time.monotonic() < deadline:
        for cut in (len(made) // 2, len(made)):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(made)) + made[:cut])
            await asyncio.sleep(0.02)
            writer.transport.abort()
            seen["hung up"] += 1


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        slow_heads, slow_bodies, announced, long_bodies, chunked_bodies, malformed, no_http, pipelined, hang_up,
    )
}  # fmt: skip


async def _slow(port: int, deadline: float, seen: Seen, start: bytes, *, silent: bool = False) -> None:
    async with asyncio.TaskGroup() as tasks:
        for index in range(_SLOW):
            tasks.create_task(_trickle(port, deadline, seen, start, silent=silent))
            if index % 50 == 0:
                await asyncio.sleep(0.01)


async def _trickle(port: int, deadline: float, seen: Seen, start: bytes, *, silent: bool) -> None:
    """Stay as long as one is let, and come again."""
    while time.monotonic() < deadline:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            answer = asyncio.create_task(reader.read(64))
            while not answer.done() and time.monotonic() < deadline:
                await asyncio.wait([answer], timeout=1.0)
                if not silent and not answer.done():
                    writer.write(b"x")
            seen[_status(await answer) if answer.done() else "left"] += 1
            answer.cancel()
            writer.transport.abort()
        except OSError as error:
            seen[type(error).__name__] += 1
            await asyncio.sleep(0.2)


def _status(answer: bytes) -> str:
    return answer.split(b" ", 2)[1].decode() if answer else "hung up"


async def _repeat(
    port: int, deadline: float, seen: Seen, width: int, act: Callable[[int, Seen], Awaitable[None]]
) -> None:
    async def again() -> None:
        while time.monotonic() < deadline:
            await act(port, seen)

    await asyncio.gather(*(again() for _ in range(width)))


async def _pour(port: int, seen: Seen, start: bytes, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
    poured, told = 0, b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read(64))
    try:
        writer.write(start)
        async for piece in pieces():
            if answer.done():
                break
            writer.write(piece)
            poured += len(piece)
            async with asyncio.timeout(_PATIENCE):
                await writer.drain()
        async with asyncio.timeout(_PATIENCE):
            told = await answer
    except (OSError, TimeoutError):
        told = answer.result() if answer.done() and not answer.exception() else told
    seen[f"{_status(told)} after ≤ {max(1, poured >> 23) << 3} MiB"] += 1
    answer.cancel()
    writer.transport.abort()


async def _plain() -> AsyncIterator[bytes]:
    for _ in range(_GIB // _CHUNK):
        yield b"[" * _CHUNK


async def _chunked() -> AsyncIterator[bytes]:
    for _ in range(_GIB // _CHUNK):
        yield b"%x\r\n%b\r\n" % (_CHUNK, b"[" * _CHUNK)


async def _ask(port: int, request: bytes) -> int:
    """Send it all and return the status; 0 for a connection that ended without one, -1 where nothing came."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                answer = await reader.read(64)
                return int(answer.split(b" ", 2)[1]) if answer else 0
            finally:
                writer.transport.abort()
    except TimeoutError:
        return -1
    except OSError:
        return 0


def main() -> None:
    """Attack, and tell what was answered as JSON."""
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    seen: Seen = Counter()
    asyncio.run(ATTACKS[kind](port, time.monotonic() + seconds, seen))
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
