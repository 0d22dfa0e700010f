"""A helper process: started with nothing of ours but a line to it, watched by its processor time, and ended with us.

It runs `incident_operator.helper`. When this process ends, however it does, the line ends, and the helper with it. On the line are JSON
texts, each after its length in four bytes; not finite floats, integers of any size and lone surrogates arrive as they were sent.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from incident_operator.core.outcomes import HelperError

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


_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""Of the environment; what else is in it may be a secret."""
_ROOT = Path(__file__).parents[2]
_ENDS_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Cause(StrEnum):
    """What a helper ended of, other than by our will."""

    CPU = "cpu"
    """It used more of the processor than it may."""
    MEMORY = "memory"
    """It asked for more memory than it may have."""
    OTHER = "other"
    """Somebody ended it, or it hung."""


class Counts:
    """Is told how helpers fare; this one counts nothing."""

    def started(self, part: str) -> None:
        """Note that a helper of a part was started."""

    def died(self, part: str, cause: Cause) -> None:
        """Note that one ended, other than by our will."""


@dataclass(frozen=True, slots=True)
class Helper:
    """A running helper and the line to it."""

    process: subprocess.Popen[bytes]
    line: socket.socket

    @property
    def ended(self) -> int | None:
        """How it ended: its exit status, or the negative number of the signal; None while it runs."""
        return self.process.poll()

    def cpu_seconds(self) -> float | None:
        """Return what it has used of the processor; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def kill(self) -> int:
        """End it if it runs, and return how it ended."""
        with suppress(OSError):
            self.process.kill()
        try:
            return self.process.wait(_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL  # in the middle of a system call; it ends when that does

    def close(self) -> None:
        """End it, and free the line to it."""
        self.kill()
        self.line.close()


def cause_of(status: int) -> Cause:
    """Return what a helper ended of that ended so."""
    if is_over_time(status):
        return Cause.CPU
    return Cause.MEMORY if is_over_memory(status) else Cause.OTHER


def start(part: str) -> Helper:
    """Start a helper of one of its parts. Raises `HelperError`."""
    ours, its = socket.socketpair()
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # one arena: threads that reserve address space of their own would count against the limit
    environment |= {"PYTHONPATH": str(_ROOT), "MALLOC_ARENA_MAX": "1"}
    try:
        with its:
            command = [sys.executable, "-P", "-m", "incident_operator.helper", part]
            process = subprocess.Popen(  # noqa: S603 # our own program
                command,
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C is for the operator, which finishes what is under way
            )
    except OSError as error:
        ours.close()
        raise HelperError(f"the helper process for {part} cannot be started: {error}") from error
    return Helper(process, ours)
