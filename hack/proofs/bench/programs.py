"""The programs under measure, as processes: what they cost is read from /proc, so nothing that they do is left out."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from proofs.bench import rig
from proofs.bench.lease import lease_of
from proofs.bench.rig import Rig
from tests.e2e.operator_process import environment_of, free_port

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_READY_SECONDS = 120.0
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Program:
    """A running process and where it listens."""

    process: asyncio.subprocess.Process
    log: Path
    port: int
    health_port: int

    def cpu(self) -> float:
        """Seconds of CPU that it has used so far, in user and kernel mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def rss(self) -> float:
        """MiB of memory that it holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * _PAGE / 2**20

    async def stop(self) -> None:
        """End it as the kubelet would."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self.process.wait(), 40)


async def start_operator(on: Rig, namespace: str) -> Program:
    """Start our operator for one namespace, with a Lease of its own, and wait for nothing."""
    folder = on.folder / namespace
    folder.mkdir(exist_ok=True)
    port, health = free_port(), free_port()
    more = {
        "INCIDENT_OPERATOR_UNASKED": rig.unasked(namespace),
        "INCIDENT_OPERATOR_LEASE_NAME": lease_of(namespace),
        "INCIDENT_OPERATOR_LEASE_NAMESPACE": namespace,
        "INCIDENT_OPERATOR_LEASE_SECONDS": "15",  # as it ships: a short one is lost on a busy machine, and all is looked at again
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    environment = environment_of(folder, namespace, port, health) | more
    words = (sys.executable, str(HERE / "launcher.py"), "run", "--kubeconfig", str(on.kubeconfig))
    return await _start(folder / "operator.log", environment, words, port, health)


async def start_textbook(on: Rig, namespace: str) -> Program:
    """Start the reference for one namespace, by kopf's own command, and wait for nothing."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(on.kubeconfig)}
    options = ("--standalone", "--namespace", namespace, "--quiet", f"--liveness=http://127.0.0.1:{port}/healthz")
    words = (sys.executable, "-m", "kopf", "run", str(HERE / "textbook.py"), *options)
    return await _start(on.folder / "textbook.log", environment, words, 0, port)


@contextlib.asynccontextmanager
async def operator(on: Rig, namespace: str) -> AsyncIterator[Program]:
    """Our operator, ready."""
    program = await start_operator(on, namespace)
    try:
        await until_answers(program, "/readyz")
        yield program
    finally:
        await program.stop()


@dataclass
class Reference:
    """The textbook operator, ready."""

    on: Rig
    namespace: str
    program: Program
    restarts: int = 0
    """How often it had to be started again, because it had stopped to hear of changes."""

    async def restart(self) -> None:
        """Start it again, as a person would who finds that it does nothing any more."""
        self.program.process.kill()
        await self.program.process.wait()
        self.restarts += 1
        self.program = await _textbook(self.on, self.namespace)


@contextlib.asynccontextmanager
async def reference(on: Rig, namespace: str) -> AsyncIterator[Reference]:
    """The textbook operator, ready."""
    made = Reference(on, namespace, await _textbook(on, namespace))
    try:
        yield made
    finally:
        await made.program.stop()


async def _textbook(on: Rig, namespace: str) -> Program:
    program = await start_textbook(on, namespace)
    await until_answers(program, "/healthz")
    return program


async def until_answers(program: Program, path: str) -> None:
    """Wait until a program's health endpoint says 200. Raises `RuntimeError` with its log where it ended."""
    async with asyncio.timeout(_READY_SECONDS):
        while await _status(program.health_port, path) != 200:
            if program.process.returncode is not None:
                raise RuntimeError(f"it ended:\n{program.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)


async def _start(log: Path, environment: dict[str, str], words: tuple[str, ...], port: int, health: int) -> Program:
    with log.open("ab") as to:
        process = await asyncio.create_subprocess_exec(*words, env=environment, stdout=to, stderr=to)
    return Program(process, log, port, health)


async def _status(port: int, path: str) -> int:
    """Ask with the least there is, so that asking often costs little."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return int(line.split()[1]) if line else 0
    except OSError:
        return 0
