"""Carries an attack out, and waits until people are told of it, while others go on."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from demonstration.shell import Failure

from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.apiserver import Kube
from proofs.siege import rig
from proofs.siege.hostile import Attack
from proofs.siege.judge import Row
from proofs.siege.posting import Sender, Urgent, messages, now
from proofs.siege.told import Told, of_incident, of_runbook
from proofs.siege.witnesses import Pod, Seen, Witnesses

_AT_ONCE = 8
"""Objects that are sent at a time."""
_TRIES = 5
_LOOK_EVERY = 2.0
_AGAIN_EVERY = 10.0
"""Alertmanager's `group_interval`, made short."""
_MEANWHILE = 30.0
"""Seconds for which the alerts of an attack that nobody has to be told of go on coming."""
_P0_EVERY = 2.0
Json = dict[str, Any]
_PLACES = {
    "Runbook": discovery.runbooks,
    "Connection": discovery.connections,
    "Incident": discovery.incidents,
    "ConfigMap": discovery.configmaps,
    "Secret": discovery.secrets,
    "ServiceAccount": lambda namespace: discovery.of("/api/v1", namespace, "serviceaccounts"),
    "RoleBinding": lambda namespace: discovery.of("/apis/rbac.authorization.k8s.io/v1", namespace, "rolebindings"),
}
_LOOKED_AT = ("Runbook", "Incident")
Key = tuple[str, str, str]
"""Kind, namespace and name."""


@dataclass(frozen=True, slots=True)
class Play:
    """One siege's way to carry attacks out."""

    kube: Kube
    sender: Sender
    urgent: Urgent
    witnesses: Witnesses
    patience: float
    """Seconds until what is told of an attack counts as all that ever will be."""
    alerts: int
    """P0 alerts of the other namespace during each attack, at least."""

    async def attack(self, attack: Attack) -> Row:
        """Carry one out, and return what came of it."""
        pods, began, over = await self.witnesses.pods(), time.monotonic(), asyncio.Event()
        seen, told, failed = self.witnesses.anew(), Counter[Told](), ""
        async with self.witnesses.looking():
            waiting = asyncio.create_task(self.urgent.waits(attack.name, self.alerts, _P0_EVERY, over))
            try:
                told = await self._carried_out(attack)
            except (apiserver.ApiError, Failure) as error:
                failed = f"it could not be carried out: {error}"
            seconds = time.monotonic() - began
            over.set()
            waits = await waiting
        restarts, why = restarted(pods, await self.witnesses.pods())
        return Row(attack.name, attack.what, told, attack.accept, seconds, waits, seen, restarts, why, failed)

    async def restart(self) -> Row:
        """Start the operator anew among all that the attacks have made."""
        began, failed = time.monotonic(), ""
        try:
            await asyncio.to_thread(rig.begun_anew, self.witnesses.cluster)
        except Failure as error:
            failed = f"it did not become ready: {error}"
        seconds, pods = time.monotonic() - began, await self.witnesses.pods()
        seen = self.witnesses.seen = Seen()  # another one leads now, as it should
        async with self.witnesses.looking():
            waits = await self.urgent.waits("restart", self.alerts, _P0_EVERY)
        restarts, why = restarted((), [*pods, *await self.witnesses.pods()])
        what = "the operator is restarted, all of the above there"
        return Row("restart", what, Counter(), None, seconds, waits, seen, restarts, why, failed)

    async def _carried_out(self, attack: Attack) -> Counter[Told]:
        """Send all of it, and its alerts again and again, until people are told, or time is over."""
        told, began = await self._sent(attack.objects()), time.monotonic()
        sent, due = messages(attack, now()), began
        patience = self.patience if attack.accept is not None else min(self.patience, _MEANWHILE if sent else 0.0)
        while not _is_over(attack, told, began + patience):
            if time.monotonic() >= due:  # a Runbook that is not known yet takes the next ones
                due = time.monotonic() + _AGAIN_EVERY
                await self.sender.send_all(sent)
            await asyncio.sleep(_LOOK_EVERY)
            for key in [key for key, what in told.items() if what is Told.NOTHING]:
                with suppress(
                    apiserver.Unavailable
                ):  # the apiserver has much to do: nothing is known, so it is looked at again
                    told[key] = await self._told(key, attack)
        return Counter(told.values())

    async def _sent(self, objects: Iterable[Json]) -> dict[Key, Told]:
        """Create them all, a few at a time, and return those that people have to be told of."""
        told: dict[Key, Told] = {}
        left = iter(objects)

        async def one_after_another() -> None:
            for body in left:
                taken = await self._create(body)
                if body["kind"] in _LOOKED_AT:
                    meta = body["metadata"]
                    told[body["kind"], meta["namespace"], meta["name"]] = Told.NOTHING if taken else Told.REFUSED

        await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))
        return told

    async def _create(self, body: Json) -> bool:
        """Create one; False where the apiserver does not take such a thing."""
        path = _PLACES[body["kind"]](body["metadata"]["namespace"])
        for left in reversed(range(_TRIES)):
            try:
                with suppress(apiserver.AlreadyExists):  # it was sent before, and only the answer was lost
                    await self.kube.create(path, body)
            except (apiserver.Invalid, apiserver.Forbidden):
                return False
            except apiserver.Unavailable:
                if not left:
                    raise
                await asyncio.sleep(_LOOK_EVERY)
            else:
                return True
        raise AssertionError("the last try returns or raises")

    async def _told(self, key: Key, attack: Attack) -> Told:
        kind, namespace, name = key
        if kind == "Incident":
            return of_incident(await self.kube.get(discovery.incidents(namespace, name)))
        told = of_runbook(await self.kube.get(discovery.runbooks(namespace, name)))
        if not attack.alerts or told in {Told.NOTHING, Told.INVALID}:
            return told
        selector = {"labelSelector": f"incidents.dev/runbook={name}"}
        return together(
            [of_incident(each) async for each in self.kube.list(discovery.incidents(namespace), params=selector)]
        )


def _is_over(attack: Attack, told: Mapping[Key, Told], deadline: float) -> bool:
    return time.monotonic() >= deadline or (attack.accept is not None and Told.NOTHING not in told.values())


def together(told: Iterable[Told]) -> Told:
    """Return what is told of several Incidents as one: nothing while nothing is told of one of them, or there is none."""
    found = set(told)
    if not found or Told.NOTHING in found:
        return Told.NOTHING
    return next(each for each in (Told.NEEDS_HUMAN, Told.FAILED, Told.ASKED, Told.DONE) if each in found)


def restarted(before: Iterable[Pod], after: Iterable[Pod]) -> tuple[int, str]:
    """Return how often containers were started again in between, and why the last ones had ended."""
    known = {pod.name: pod.restarts for pod in before}
    newest = {pod.name: pod for pod in after}
    grown = list(_grown(known, newest.values()))
    return sum(count for count, _ in grown), ", ".join(sorted({why for _, why in grown if why}))


def _grown(known: dict[str, int], pods: Iterable[Pod]) -> Iterator[tuple[int, str]]:
    for pod in pods:
        if (count := pod.restarts - known.get(pod.name, 0)) > 0:
            yield count, pod.why
