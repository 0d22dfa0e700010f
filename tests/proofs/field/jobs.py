"""Jobs that are made by the action `job` on a real cluster, and followed as the engine does: what was told meanwhile, and in the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from incident_operator.actions.job.beyond import Allow
from incident_operator.actions.job.job import ACTION, Job
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Failed, Outcome, Pending, Succeeded
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import Player
from tests.kubernetes import apiservers
from tests.kubernetes.apiservers import Apiserver

LONGEST = 180.0
"""Seconds after which a Job counts as one that nobody ends."""
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}
RIGHTS = (
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create", "patch"]},
)
"""What a Runbook's account holds for `job`, beside PODS and EVENTS."""


@dataclass
class Followed:
    """A Job of the action, and what was told of it."""

    apiserver: Apiserver
    player: Player
    call: Call[Job]
    told: list[str] = field(default_factory=list)
    """Each summary once, in order."""
    outcome: Outcome | None = None

    @property
    def name(self) -> str:
        """The Job's."""
        return str(self.player.intents[self.call.key]["job"])

    async def until(self, words: str) -> str:
        """Look until a summary holds the words; return it."""
        await self._look(lambda: any(words in told for told in self.told))
        return next(told for told in self.told if words in told)

    async def ended(self) -> Succeeded | Failed:
        """Look until it has ended; return how."""
        await self._look(lambda: not isinstance(self.outcome, Pending))
        assert isinstance(self.outcome, Succeeded | Failed), self.outcome
        return self.outcome

    async def _look(self, done: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                while self.outcome is None or not done():
                    self.outcome = await self.player.run(self.call)
                    if isinstance(self.outcome, Pending) and self.outcome.summary not in self.told:
                        self.told.append(self.outcome.summary)
                    await asyncio.sleep(0.5)
                    assert isinstance(self.outcome, Pending) or done(), self.outcome
        except TimeoutError:
            raise AssertionError(f"it did not come; told was: {self.told}") from None

    async def pod(self) -> dict[str, Any]:
        """Return its Pod, once there is one."""
        return await eventually(self._pod)

    async def _pod(self) -> dict[str, Any] | None:
        query = {"labelSelector": f"batch.kubernetes.io/job-name={self.name}"}
        found = [
            one async for one in self.apiserver.client.list(discovery.pods(self.apiserver.namespace), params=query)
        ]
        return found[0] if found else None


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """Look until there is something; return it."""
    async with asyncio.timeout(LONGEST):
        while (found := await look()) is None:
            await asyncio.sleep(0.3)
        return found


@asynccontextmanager
async def apiserver(*rights: Any, labels: dict[str, str] | None = None) -> AsyncIterator[Apiserver]:
    """A namespace with an Incident, and the Runbook's account with the documented rights and no other."""
    async with apiservers.real() as made:
        await made.grant(calls.ACCOUNT, *RIGHTS, *(rights or (PODS, EVENTS)))
        if labels:
            await made.client.merge_patch(discovery.namespaces(made.namespace), {"metadata": {"labels": labels}})
        yield made


@asynccontextmanager
async def job(made: Apiserver, spec: Job, *, timeout: float = 6.0) -> AsyncIterator[Followed]:
    """The step of an Incident that runs a Job; nothing has been done yet."""
    body = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": {"name": "by-hand"}, "spec": {}}
    owner = await made.client.create(discovery.incidents(made.namespace), body)
    uid = owner["metadata"]["uid"]
    call = calls.call(spec, namespace=made.namespace, step="rebuild", incident_uid=uid, timeout=timeout)
    async with Cluster(made.access) as cluster:
        clients = calls.clients(cluster, made.access, lambda: datetime.now(UTC))
        yield Followed(made, Player(ACTION, clients), replace(call, incident="by-hand"))


def container(script: str = "print('ran')", name: str = "main", **more: Any) -> dict[str, Any]:
    """A container that runs Python, unprivileged."""
    command = ["python3", "-u", "-c", script]
    return {"name": name, "image": apiservers.IMAGE, "imagePullPolicy": "IfNotPresent", "command": command, **more}


def template(*containers: dict[str, Any], **pod: Any) -> Job:
    """A Job of the Runbook's own template, which has a second to end in."""
    spec = {"containers": list(containers) or [container()], "terminationGracePeriodSeconds": 1, **pod}
    return Job(template={"spec": spec}, allow=[Allow.OTHER_CONTAINERS])
