"""Incidents from both ends: alerts are posted as Alertmanager does, and a watch of our own sees what becomes of them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp

from proofs.bench import textbook
from proofs.bench.bare import Bare, Json
from proofs.bench.programs import Program
from proofs.bench.rig import STEPS
from tests.e2e.operator_process import TOKEN, alert

API = "/apis/incidents.dev/v1alpha1/namespaces"
_numbers = itertools.count()
_PATIENCE = 300.0
_KEPT_BY_KOPF = frozenset({"last-handled-configuration", "touch-dummy"})
"""Annotations of an object that kopf has nothing more to do for."""


def incidents(namespace: str) -> str:
    """The path of a namespace's Incidents."""
    return f"{API}/{namespace}/incidents"


def textbooks(namespace: str) -> str:
    """The path of the reference's objects."""
    return f"/apis/{textbook.GROUP}/{textbook.VERSION}/namespaces/{namespace}/{textbook.PLURAL}"


def is_done(incident: Json) -> bool:
    """Whether all five steps are recorded as done, and nothing else is left to record."""
    status = incident.get("status") or {}
    steps = status.get("steps") or []
    return len(steps) == STEPS and all(step["state"] == "Succeeded" for step in steps)


def is_done_by_the_book(made: Json) -> bool:
    """The same for the reference: five results, and no progress left over."""
    kept = [key for key in made["metadata"].get("annotations") or {} if key.startswith("kopf.zalando.org/")]
    left = [key for key in kept if key.rpartition("/")[2] not in _KEPT_BY_KOPF]
    return len(made.get("status") or {}) >= STEPS and not left


@dataclass
class Seen:
    """What a watch told."""

    last: dict[str, Json] = field(default_factory=dict)
    """Name → what is not done yet, as it was seen last."""
    done_at: dict[str, float] = field(default_factory=dict)
    """Name → when it was seen to be done."""
    statuses: dict[str, list[Json]] = field(default_factory=dict)
    """Name → the statuses that it went through."""

    async def until(self, count: int) -> None:
        """Wait until so many are done. Raises `RuntimeError` that shows one of those that are not in time."""
        if not await self.reaches(count, _PATIENCE):
            raise RuntimeError(f"{len(self.done_at)} of {count} are done; not done: {list(self.last.values())[:1]}")

    async def reaches(self, count: int, seconds: float) -> bool:
        """Wait until so many are done, but not longer than that; tell whether they are."""
        deadline = time.monotonic() + seconds
        while len(self.done_at) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return len(self.done_at) >= count


@contextlib.asynccontextmanager
async def seeing(bare: Bare, path: str, done: Callable[[Json], bool]) -> AsyncIterator[Seen]:
    """Watch a collection for the block's time."""
    seen, watching = Seen(), asyncio.Event()

    async def follow() -> None:
        async for made in bare.watch(path, watching):
            name = made["metadata"]["name"]
            if status := made.get("status"):
                seen.statuses.setdefault(name, []).append(status)
            seen.last[name] = made
            if name in seen.done_at or done(made):
                seen.done_at.setdefault(name, time.perf_counter())
                del seen.last[name]

    task = asyncio.create_task(follow())
    await watching.wait()
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Poster:
    """Posts alerts, each of a group of its own."""

    def __init__(self, session: aiohttp.ClientSession, program: Program, namespace: str) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{program.port}/api/v1/alerts"
        self._namespace = namespace

    async def post(self) -> None:
        """Post one alert; anything but 200 is an error."""
        fires = alert(alertname="Bench", namespace=self._namespace, instance=f"i-{next(_numbers)}", severity="warning")
        payload = {
            "version": "4",
            "groupKey": "{}",
            "status": "firing",
            "receiver": "r",
            "truncatedAlerts": 0,
            "alerts": [fires],
        }
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._session.post(self._url, json=payload, headers=headers, raise_for_status=True) as answer:
            await answer.read()


def a_spec(number: int, namespace: str) -> Json:
    """A spec as the receiver writes it, so that objects are of the same size."""
    labels = {"alertname": "Bench", "namespace": namespace, "instance": f"i-{number}", "severity": "warning"}
    found = {
        "id": f"{number:040x}-61573df64bcc",
        "startsAt": "2026-01-01T00:00:00Z",
        "status": "firing",
        "summary": "a test",
    }
    return {
        "runbookRef": {"name": "five-steps"}, "severity": "P2", "group": {"instance": f"i-{number}"},
        "commonLabels": labels, "alerts": [found], "alertsOmitted": 0, "truncatedAlerts": 0,
    }  # fmt: skip


def incident(namespace: str, spec: Json | None = None) -> Json:
    """A new Incident as a bare client creates it, with name and labels as the receiver sets them."""
    number = next(_numbers)
    digest = f"{number:05x}".ljust(40, "0")
    labels = {
        "app.kubernetes.io/managed-by": "bench",
        "incidents.dev/group": digest,
        "incidents.dev/severity": "P2",
    }
    metadata = {"name": f"five-steps-{digest[:5]}-1", "labels": labels}
    chosen = a_spec(number, namespace) if spec is None else spec
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": metadata, "spec": chosen}


def by_the_book(namespace: str) -> Json:
    """A new object of the reference's, of the same size."""
    number = next(_numbers)
    kind = {"apiVersion": f"{textbook.GROUP}/{textbook.VERSION}", "kind": "Textbook"}
    return {**kind, "metadata": {"name": f"book-{number}"}, "spec": a_spec(number, namespace)}


def guarded(made: Json, status: Json) -> list[Json]:
    """The patch that stores a status as the operator does."""
    meta = made["metadata"]
    tests = [{"op": "test", "path": f"/metadata/{name}", "value": meta[name]} for name in ("uid", "resourceVersion")]
    return [*tests, {"op": "add", "path": "/status", "value": status}]
