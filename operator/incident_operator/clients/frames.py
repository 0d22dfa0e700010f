"""What the operator and its helpers agree on: JSON texts, each after its length in four bytes, and how one ends over its budget.

Numbers and texts arrive as they were sent: not finite floats, integers of any size and lone surrogates too.
"""

import json
import signal
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

LENGTH = struct.Struct(">I")
MAX_FRAME = 64 * 1024 * 1024
"""Bytes; whoever tells of more is not to be believed."""
OUT_OF_MEMORY = 70
"""Exit status of a helper that could not get the memory that it asked for."""


def is_over_memory(status: int) -> bool:
    """Tell whether a helper that ended so had asked for more memory than it may have."""
    return status in {OUT_OF_MEMORY, -signal.SIGABRT}


def is_over_time(status: int) -> bool:
    """Tell whether a helper that ended so had used more of the processor than it may."""
    return status == -signal.SIGPROF


class FrameError(ValueError):
    """What should be sent is not JSON, or is too large; the message completes "the data …"."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as it is sent. Raises `FrameError`."""
    try:
        text = json.dumps(message, default=_plain, separators=(",", ":")).encode()
    except RecursionError:
        raise FrameError("is nested too deep") from None
    if len(text) > MAX_FRAME:
        raise FrameError(f"takes {len(text)} bytes, {MAX_FRAME} at most")
    return LENGTH.pack(len(text)) + text


def decode(text: bytes) -> dict[str, Any]:
    """Return the message of a text without its length. Raises `ValueError`."""
    message: dict[str, Any] = json.loads(text)
    return message


def length(prefix: bytes) -> int:
    """Return how many bytes follow. Raises `ValueError`."""
    (size,) = LENGTH.unpack(prefix)
    if size > MAX_FRAME:
        raise ValueError(f"{size} bytes are announced")
    return int(size)


class Reads(Protocol):
    """What messages come from, such as an `asyncio.StreamReader`."""

    async def readexactly(self, n: int) -> bytes:
        """Return the next bytes. Raises `EOFError` where there are not so many."""
        ...


async def received(reader: Reads) -> dict[str, Any]:
    """Return the next message of a line. Raises `EOFError` where it ends, `ValueError` for what is not a message."""
    return decode(await reader.readexactly(length(await reader.readexactly(LENGTH.size))))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise FrameError(f"holds a {type(value).__name__}, which is not JSON")
