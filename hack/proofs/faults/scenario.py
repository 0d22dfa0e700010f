"""One worker's part of the world as runs see it: who is there, what they do to it, and what an example has to tell."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from demonstration.cluster import Cluster

from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube, NotFound
from proofs.faults.apiserver import Act, Plot, nothing
from proofs.faults.history import Effect, Moment, Rules
from proofs.faults.namespaces import APPROVER
from proofs.faults.observer import Seen
from proofs.faults.recorder import Recorder
from proofs.faults.sql_line import SqlLine
from proofs.faults.troubles import Fault, Trouble
from proofs.faults.watches import Event, never
from proofs.faults.watches import Moment as WatchMoment
from tests.kubernetes.garbage_collector import as_collector

Json = Mapping[str, Any]


class Example(Protocol):
    """What is played in a run."""

    name: str
    watched: Mapping[str, tuple[Fault, ...]]
    """What can go wrong at which moments of the watch."""
    beside: frozenset[str]
    """Kinds of calls that come by the clock, and so are not numbered."""
    rules: Rules
    bound: float
    """Seconds in which a run has to come to its end."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the alert; the run's own name comes to them."""
        ...

    def set_up(self, scenario: "Scenario") -> AbstractAsyncContextManager[list[dict[str, Any]]]:
        """Return the objects that it needs, for as long as what else it needs is there."""
        ...

    async def begin(self, scenario: "Scenario") -> None:
        """Put everything back for a new run."""
        ...

    async def open(self, scenario: "Scenario") -> None:
        """Begin what the operator takes part in, so that faults count from here on."""
        ...

    async def effects(self, scenario: "Scenario") -> Sequence[Effect]:
        """Return what was done to anything but objects of the cluster."""
        ...

    async def happened(self, scenario: "Scenario", step: str) -> bool:
        """Look whether an unkeyed step's newest attempt had its effect, as a person would."""
        ...

    async def meddle(self, scenario: "Scenario") -> None:
        """Change what the run is about, as somebody who knows nothing of it."""
        ...

    async def change(self, scenario: "Scenario") -> None:
        """Make something else of what was approved."""
        ...


@dataclass
class Scenario:
    """Where runs are played; some of it is for the present run alone."""

    cluster: Cluster
    namespace: str
    admin: Kube
    alice: Kube
    recorder: Recorder
    database_host: str
    """The folder of PostgreSQL's socket."""
    fetch: Callable[[str], Awaitable[str]]
    """Reads a text from the apiserver."""
    sql: SqlLine | None = None
    restart: Act = nothing
    """Ends the operator at once and starts it again."""
    run: str = ""
    trouble: Trouble | None = None
    """What goes wrong in the present run."""
    group: Mapping[str, str] = field(default_factory=dict)
    """What distinguishes the run's Incident: the values of the labels that its Runbook groups by."""
    meddling: list[tuple[str, Moment]] = field(default_factory=list)
    revisions: set[int] = field(default_factory=set)
    """Versions of objects that somebody else than the operator wrote."""

    def begin(self, run: str, trouble: Trouble | None) -> None:
        """Begin a run of that name."""
        self.run, self.trouble = run, trouble
        self.group = {"run": run}
        self.meddling.clear()
        self.revisions.clear()

    def arm(self, plot: Plot) -> None:
        """Let everything beside the apiserver follow a plot."""
        self.recorder.plot = plot
        if self.sql is not None:
            self.sql.plot = plot

    def is_ours(self, incident: Json) -> bool:
        """Tell whether an Incident is of the present run."""
        return bool(incident["spec"].get("group") == self.group)

    def incident(self, seen: Seen) -> Json | None:
        """Return the run's Incident as last seen."""
        return next((each for each in seen.incidents.values() if self.is_ours(each)), None)

    async def live(self, seen: Seen) -> Json | None:
        """Return the run's Incident as it is now."""
        for incident in (await self.admin.get(discovery.incidents(self.namespace)))["items"]:
            if self.is_ours(incident):
                return dict(incident)
        return None

    async def all_seen(self, seen: Seen) -> None:
        """Wait, in bounded time, until what is there now has been seen."""
        listed = {}
        for kind, group in (("deployments", "/apis/apps/v1"), ("jobs", "/apis/batch/v1"), ("pods", "/api/v1")):
            listed[kind] = (await self.admin.get(discovery.of(group, self.namespace, kind)))["items"]
        for _ in range(100):
            if seen.has(listed):
                return
            await asyncio.sleep(0.02)

    async def delete_incidents(self, seen: Seen) -> None:
        """Delete what the run leaves behind."""
        for incident in (await self.admin.get(discovery.incidents(self.namespace)))["items"]:
            try:
                await as_collector(self.admin).delete(discovery.incidents(self.namespace, incident["metadata"]["name"]))
            except NotFound:
                continue

    async def scale(self, deployment: str, replicas: int) -> None:
        """Scale by hand, and remember that it was us."""
        path = discovery.of("/apis/apps/v1", self.namespace, "deployments", deployment)
        found = await self.admin.merge_patch(path, {"spec": {"replicas": replicas}})
        self.noted(f"{deployment} scaled to {replicas}", found)

    def noted(self, what: str, found: Json | None = None) -> None:
        """Remember what somebody else did."""
        revision = int(found["metadata"]["resourceVersion"]) if found else 0
        self.revisions.add(revision)
        self.meddling.append((what, Moment(time.time(), revision)))

    async def answer(self, incident: Json, verb: str, token: str) -> None:
        """Let alice annotate the Incident."""
        annotation = {f"incidents.dev/{verb}": f"{token} {APPROVER}"}
        path = discovery.incidents(self.namespace, incident["metadata"]["name"])
        await self.alice.merge_patch(path, {"metadata": {"annotations": annotation}})

    async def log(self, pod: str) -> str:
        """Return a Pod's log, each line with its time."""
        return await self.fetch(discovery.pods(self.namespace, pod, "log") + "?timestamps=true")

    async def ready(self) -> None:
        """Wait until the operator has found every Runbook ready."""
        while not all(_is_ready(each) for each in (await self.admin.get(discovery.runbooks(self.namespace)))["items"]):
            await asyncio.sleep(0.05)

    async def abort(self) -> None:
        """Let alice abort whatever there is."""
        for incident in (await self.admin.get(discovery.incidents(self.namespace)))["items"]:
            if self.is_ours(incident):
                await self.answer(incident, "abort", "now")

    async def resolve(self, operator: Kube) -> None:
        """Write that the alert resolved, as another replica of the operator does that was told: nobody else may."""
        for incident in (await self.admin.get(discovery.incidents(self.namespace)))["items"]:
            if self.is_ours(incident):
                ended = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                alerts = [{**each, "status": "resolved", "endsAt": ended} for each in incident["spec"]["alerts"]]
                path = discovery.incidents(self.namespace, incident["metadata"]["name"])
                await operator.merge_patch(path, {"spec": {"alerts": alerts}})

    async def now(self) -> Moment:
        """Return the present moment, by the clock and by etcd's count."""
        listed = await self.admin.get(discovery.incidents(self.namespace))
        return Moment(time.time(), int(listed["metadata"]["resourceVersion"]))

    async def note_on_incident(self) -> None:
        """Somebody leaves a note on the Incident: nothing of it is the operator's business but the new version."""
        note = {"metadata": {"annotations": {"example.com/note": f"seen at {time.time()}"}}}
        for incident in (await self.admin.get(discovery.incidents(self.namespace)))["items"]:
            if self.is_ours(incident):
                await self.admin.merge_patch(discovery.incidents(self.namespace, incident["metadata"]["name"]), note)

    def moment(self, name: str) -> WatchMoment:
        """Return the moment of the run's watch that a name stands for."""
        return {"added": self._added, "approved": self._approved, "resolved": self._resolved}.get(name, never)

    def _added(self, event: Event) -> bool:
        return self.is_ours(event["object"]) and event["type"] == "ADDED"

    def _approved(self, event: Event) -> bool:
        found = event["object"]
        waits = found.get("status", {}).get("phase") == "AwaitingApproval"
        return self.is_ours(found) and waits and "incidents.dev/approve" in found["metadata"].get("annotations", {})

    def _resolved(self, event: Event) -> bool:
        found = event["object"]
        return self.is_ours(found) and all(each["status"] == "resolved" for each in found["spec"]["alerts"])


def _is_ready(runbook: Json) -> bool:
    status = runbook.get("status", {})
    current = status.get("observedGeneration") == runbook["metadata"]["generation"]
    ready = any((each["type"], each["status"]) == ("Ready", "True") for each in status.get("conditions", []))
    return current and ready
