"""Those who look on while evil is at work: at the Pods' health, memory and restarts, at the Lease, and at the apiserver. They judge nothing."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from demonstration import chart
from demonstration.cluster import Cluster

from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import ApiError, Kube, Unavailable

BYSTANDER = "bystander"
SELECTOR = f"app.kubernetes.io/instance={chart.RELEASE}"
ANSWER_SECONDS = 5.0
"""The time that the chart's own probes give `/healthz`."""
_EVERY = 1.0
_TRIES = 5
_PYTHON = "/opt/venv/bin/python3"
_HEALTH = 8080
SAMPLER = """
import glob, json, os, select, sys

def size(pid):
    # of the first process the most it ever had, for it lives on; of others what they have now, without what they share
    name = "VmHWM:" if pid == 1 else "RssAnon:"
    with open(f"/proc/{pid}/status") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)

asked = True
while asked:
    found = {}
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[6:])
        try:
            found[pid] = size(pid)
        except OSError:
            continue
    found.pop(os.getpid(), None)
    print(json.dumps(found), flush=True)
    asked = not select.select([sys.stdin], [], [], 0.5)[0]  # its input ends with whoever asks
"""
"""Runs in the operator's container, and tells the memory of each of its processes twice a second, but for its own."""


@dataclass(slots=True)
class Seen:
    """What was seen since the account was last begun anew."""

    slowest: float = 0.0
    """Seconds that `/healthz` took at most."""
    looks: int = 0
    """At `/healthz`."""
    unanswered: int = 0
    """Those that were not answered 200 in time."""
    memory: int = 0
    """Most bytes of one Pod's processes: the first one's peak since it began, and what its helpers had beside it."""
    helpers: int = 0
    """Most that processes other than the first had together."""
    holders: list[str] = field(default_factory=list)
    """Who held the Lease, one after another."""
    lapses: int = 0
    """Looks at the Lease that found it over."""
    writes: list[float] = field(default_factory=list)
    """Seconds that an Incident's creation and one patch of it took somebody who has nothing else to do."""

    def answered(self, seconds: float, status: int | None) -> None:
        """Note an answer of `/healthz`; None where there was none."""
        self.looks += 1
        self.slowest = max(self.slowest, seconds)
        self.unanswered += status != 200

    def sampled(self, line: str) -> None:
        """Note a line of the sampler; one that was cut off is nothing."""
        try:
            sizes = {int(pid): int(size) for pid, size in json.loads(line).items()}
        except ValueError:
            return
        self.memory = max(self.memory, sum(sizes.values()))
        self.helpers = max(self.helpers, sum(size for pid, size in sizes.items() if pid != 1))

    def held(self, lease: Any, now: datetime) -> None:
        """Note who holds the Lease."""
        spec = lease["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder not in self.holders[-1:] and (holder or self.holders):  # nobody's, before the first has it
            self.holders.append(holder)
        age = (now - datetime.fromisoformat(spec["renewTime"])).total_seconds() if spec.get("renewTime") else 0.0
        self.lapses += age > spec["leaseDurationSeconds"]


@dataclass(frozen=True, slots=True)
class Pod:
    """One of the operator's, as the apiserver has it."""

    name: str
    address: str
    restarts: int
    why: str
    """Why its container ended last; empty where it never did."""


def pods_of(listed: Any) -> tuple[Pod, ...]:
    """Return the Pods of a list, without those that are about to go."""
    return tuple(_pod(each) for each in listed["items"] if "deletionTimestamp" not in each["metadata"])


def _pod(each: Any) -> Pod:
    states = each["status"].get("containerStatuses", ())
    ended = [
        state["lastState"]["terminated"]["reason"] for state in states if "terminated" in state.get("lastState", {})
    ]
    restarts = sum(state["restartCount"] for state in states)
    return Pod(each["metadata"]["name"], each["status"].get("podIP", ""), restarts, ", ".join(ended))


@dataclass(slots=True)
class Witnesses:
    """All of them together; `seen` is begun anew for each attack."""

    cluster: Cluster
    kube: Kube
    seen: Seen = field(default_factory=Seen)

    def anew(self) -> Seen:
        """Begin a new account, and return it; who holds the Lease is carried over."""
        self.seen = Seen(holders=self.seen.holders[-1:])
        return self.seen

    async def pods(self) -> tuple[Pod, ...]:
        """The operator's Pods now. Raises `ApiError` where the apiserver does not say so in several tries."""
        for _ in range(_TRIES):
            with contextlib.suppress(Unavailable):
                return await self._pods()
            await asyncio.sleep(_EVERY)
        return await self._pods()

    async def _pods(self) -> tuple[Pod, ...]:
        return pods_of(await self.kube.get(discovery.pods(chart.NAMESPACE), params={"labelSelector": SELECTOR}))

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look on for as long as the block lasts, at the Pods that there are at its beginning."""
        pods = await self.pods()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
            looks: list[Coroutine[Any, Any, None]] = [_again(self._lease), _again(self._write)]
            looks += [_again(self._health(session, pod)) for pod in pods]
            looks += [self._memory(pod) for pod in pods]
            tasks = [asyncio.create_task(look) for look in looks]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _health(self, session: aiohttp.ClientSession, pod: Pod) -> Callable[[], Coroutine[Any, Any, None]]:
        async def look() -> None:
            began, status = time.monotonic(), None
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"http://{pod.address}:{_HEALTH}/healthz") as answer:
                    status = answer.status
            self.seen.answered(time.monotonic() - began, status)

        return look

    async def _lease(self) -> None:
        with contextlib.suppress(ApiError):  # that the apiserver is slow is not the Lease's fault
            self.seen.held(await self.kube.get(discovery.leases(chart.NAMESPACE, chart.RELEASE)), _now())

    async def _write(self) -> None:
        """Do what a P0 waits for at least, where the operator serves nobody: whoever slows this down slows the apiserver."""
        name = f"bystander-{time.monotonic_ns()}"
        body = {
            "apiVersion": "incidents.dev/v1alpha1",
            "kind": "Incident",
            "metadata": {"name": name, "namespace": BYSTANDER},
            "spec": {},
        }
        began = time.monotonic()
        with contextlib.suppress(ApiError):
            await self.kube.create(discovery.incidents(BYSTANDER), body)
            await self.kube.merge_patch(
                discovery.incidents(BYSTANDER, name), {"metadata": {"annotations": {"siege": "seen"}}}
            )
            self.seen.writes.append(time.monotonic() - began)

    async def _memory(self, pod: Pod) -> None:
        """Read the sampler, which is begun again where it ends: with its container, for one."""
        words = ("exec", "--stdin", "-n", chart.NAMESPACE, pod.name, "--", _PYTHON, "-u", "-c", SAMPLER)
        while True:
            process = await asyncio.create_subprocess_exec(
                self.cluster.program("kubectl"), *words,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=self.cluster.environment,
            )  # fmt: skip
            try:
                assert process.stdout is not None
                async for line in process.stdout:
                    self.seen.sampled(line.decode())
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await asyncio.sleep(_EVERY)


async def _again(look: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await look()
        await asyncio.sleep(_EVERY)


def _now() -> datetime:
    return datetime.now(UTC)
