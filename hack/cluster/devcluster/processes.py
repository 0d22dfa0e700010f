"""Long-running processes that outlive the command that started them: start, recognise, stop. Which ones: components.py."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import commands
from devcluster.console import ClusterError

MARK = "INCIDENT_OPERATOR_PROCESS"
DEAD = frozenset({"", "Z", "X"})  # what state() says of a process that runs no more
POLL_SECONDS = 0.05
EXEC_ATTEMPTS = 100
# The shell writes its own pid and then becomes the program, so that no crash of ours can lose the pid of what we started.
Condition = Callable[[], bool]
LAUNCHER = 'echo $$ >"$0.unfinished" && mv "$0.unfinished" "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Process:
    """One process that is ours. Its pid file also marks it: the path stands in its environment."""

    name: str
    pid_file: Path
    log: Path

    def pid(self) -> int | None:
        """Its pid while it runs. A pid file that a dead process left, or whose number was given to another, is None."""
        with contextlib.suppress(OSError, ValueError):
            found = int(self.pid_file.read_text())
            if is_marked(found, self.pid_file):
                return found
        return None


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def start(process: Process, argv: Sequence[str | Path], path: str) -> None:
    """Start it in a session of its own, with its output appended to its log."""
    process.pid_file.parent.mkdir(parents=True, exist_ok=True)
    process.log.parent.mkdir(parents=True, exist_ok=True)
    process.pid_file.unlink(missing_ok=True)
    environment = {"HOME": os.environ.get("HOME", "/root"), "PATH": path, MARK: str(process.pid_file)}
    command = ["setsid", "--fork", "/bin/sh", "-c", LAUNCHER, str(process.pid_file), *(str(word) for word in argv)]
    with process.log.open("a") as log:
        subprocess.run(command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    wait_until(lambda: process.pid() is not None, 10, process)


def stop(process: Process, *, grace: float) -> None:
    """Ask it to end, wait, and after grace seconds end it. Returns when it is gone and has left no pid file."""
    pid = process.pid()
    if pid is not None:
        terminate(pid, process.pid_file, grace=grace)
    process.pid_file.unlink(missing_ok=True)


def terminate(pid: int, marked_by: Path, *, grace: float) -> None:
    """SIGTERM, and SIGKILL after grace seconds, to a process that carries our mark."""
    for sent, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        deadline = time.monotonic() + patience
        while is_marked(pid, marked_by):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return
    raise ClusterError(f"process {pid} ({marked_by.name}) does not end, even after SIGKILL")


def is_marked(pid: int, pid_file: Path, environment_of: Callable[[int], bytes] = _environment_of) -> bool:
    """Tell whether the process lives (a zombie does not) and was started with this pid file.

    A process that is just becoming another program has no environment for a moment: it is asked again.
    """
    for _ in range(EXEC_ATTEMPTS):
        if state(pid) in DEAD:
            return False
        environment = environment_of(pid)
        if environment:
            return f"{MARK}={pid_file}".encode() in environment.split(b"\0")
        time.sleep(POLL_SECONDS)
    return False


def state(pid: int) -> str:
    """Return the kernel's letter for the state of a process; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def wait_until(ready: Condition, seconds: float, process: Process) -> None:
    """Poll until ready() is true. Raises ClusterError with the end of the log when the process dies or time runs out."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.pid_file.exists() and process.pid() is None:
            raise ClusterError(
                f"{process.name} ended as it started; the end of {process.log}:{commands.tail(process.log)}"
            )
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{process.name} is not ready after {seconds:.0f}s; the end of {process.log}:{commands.tail(process.log)}"
            )
        time.sleep(POLL_SECONDS)
