"""Starts operators by a fork of one process that has imported everything, and ends them for good."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[3]
_END_SECONDS = 40.0


class Forked:
    """A process that was forked, spoken of as `asyncio`'s own."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._ended = False

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        if not self._ended and select.select([self._handle], [], [], 0)[0]:
            self._close()
        return not self._ended

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal; one that has ended hears nothing."""
        if self.runs:
            signal.pidfd_send_signal(self._handle, how)

    async def wait(self) -> None:
        """Wait until it has ended, in bounded time."""
        if self._ended:
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._handle, over.set)
        try:
            async with asyncio.timeout(_END_SECONDS):
                await over.wait()
        finally:
            loop.remove_reader(self._handle)
        self._close()

    def _close(self) -> None:
        self._ended = True
        os.close(self._handle)


class Stable:
    """The process that forks operators; use it with `with`."""

    def __enter__(self) -> Self:
        self._line, theirs = socket.socketpair()
        words = [sys.executable, "-m", "proofs.forking.server", str(theirs.fileno())]
        path = os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY / "hack"), str(REPOSITORY)])
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(words, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._line.close()
        self._process.wait(timeout=10)

    def fork(
        self, words: Sequence[str], environment: Mapping[str, str], log: Path, changes: Sequence[str] = ()
    ) -> Forked:
        """Start an operator with the words after its name; each change (`module` or `module:argument`) is applied first."""
        order = {"words": list(words), "environment": dict(environment), "log": str(log), "changes": list(changes)}
        self._line.sendall(json.dumps(order).encode())
        _, handles, _, _ = socket.recv_fds(self._line, 64, 1)
        if not handles:
            raise RuntimeError("the process that forks operators has ended")
        return Forked(handles[0])
