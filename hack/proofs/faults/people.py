"""What happens around the operator in a run: Alertmanager that posts until it is heard, and alice who answers what she is asked."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp

from incident_operator.kubernetes.apiserver import ApiError
from proofs.faults.apiserver import Plot
from proofs.faults.checker import ASKS, CLOSED
from proofs.faults.observer import Seen
from proofs.faults.operators import Operator
from proofs.faults.scenario import Example, Scenario
from proofs.faults.troubles import LATE, Fault
from tests.e2e.operator_process import TOKEN, alert

_ANSWERS = 4
"""How many questions beside approvals alice answers before she leaves an Incident as it is."""
_LOOK_SECONDS = 0.25
_REST_SECONDS = 0.5
_UNATTENDED_SECONDS = 4.0
"""Longer than the Lease, and than an operator waits before it begins again what was not done."""
Json = Mapping[str, Any]


class People:
    """Everyone around one run."""

    def __init__(self, scenario: Scenario, example: Example, operator: Operator, seen: Seen, plot: Plot) -> None:
        self._scene, self._operator, self._seen, self._plot = scenario, operator, seen, plot
        self._example = example
        self._began = datetime.now(UTC)
        self._answered: set[str] = set()
        self._resolved = False
        self.acknowledged = False
        self.attend = True
        """Whether people answer what they are asked; nobody does once the run has struck between an intent and its act."""

    async def see_it_through(self) -> bool:
        """Let the alert fire, do what has to be done, and tell whether it came to an end in time."""
        try:
            async with asyncio.timeout(self._example.bound):
                await self._example.open(self._scene)
                await self._until_ready()
                await self._post("firing")
                self.acknowledged = True
                while not await self._moves_on():
                    await self._news()
        except TimeoutError:
            return False
        return True

    async def _until_ready(self) -> None:
        waiting = asyncio.create_task(self._scene.ready())
        try:
            while not waiting.done():
                self._operator.revive()
                await asyncio.wait([waiting], timeout=_LOOK_SECONDS)
        finally:
            waiting.cancel()

    async def _news(self) -> None:
        self._operator.revive()
        self._seen.news.clear()
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._seen.news.wait()
        except TimeoutError:
            pass

    async def _moves_on(self) -> bool:
        """Do what the Incident waits for; True where it is at its end."""
        if self._plot.struck:
            self.attend = False
            return await self._rests()
        incident = self._scene.incident(self._seen)
        if incident is None:
            return False
        status = incident.get("status", {})
        phase = status.get("phase", "Pending")
        if phase in CLOSED:
            return True
        if phase == "AwaitingApproval" and (pending := status.get("pendingApproval")):
            await self._approve(incident, pending["planHash"])
        if phase == "Verifying" and not self._resolved and _is_verified(status):
            await self._post("resolved")
            self._resolved = True
        if phase == "NeedsHuman":
            return not await self._answer(incident, status)
        return False

    async def _rests(self) -> bool:
        """Tell whether nothing is under way, and nothing moves for a while though an operator leads."""
        if self._fault in LATE and not self._plot.arrived.is_set():
            return False
        before = self._scene.incident(self._seen)
        if before is not None and before["status"]["phase"] not in CLOSED | ASKS:
            return False
        await self._operator.until_ready()
        await asyncio.sleep(_UNATTENDED_SECONDS)
        return _version(self._scene.incident(self._seen)) == _version(before)

    @property
    def _fault(self) -> Fault:
        return self._scene.trouble.fault if self._scene.trouble else Fault.NONE

    async def _approve(self, incident: Json, plan: str) -> None:
        if plan in self._answered:
            return
        self._answered.add(plan)
        if self._plot.switch.at("PERSON approves") is not Fault.NONE:
            await self._plot.meddle()
        await self._say(incident, "approve", plan[:8])

    async def _answer(self, incident: Json, status: Json) -> bool:
        """Answer a question; False where there is none, or enough were answered."""
        question = status.get("pendingAnswer")
        if question is None or (self._others_answered() >= _ANSWERS and question["token"] not in self._answered):
            return await self._was_passing(incident)
        if question["token"] in self._answered:
            return True
        self._answered.add(question["token"])
        if "resolve" in question["verbs"]:
            await asyncio.sleep(_REST_SECONDS)  # what is under way in the world has time to come to its end
            happened = await self._example.happened(self._scene, question["step"])
            await self._say(incident, "resolve", f"{question['token']}={'done' if happened else 'not-done'}")
        else:
            await self._say(incident, "retry", question["token"])
        return True

    def _others_answered(self) -> int:
        return sum("/" in token for token in self._answered)

    async def _was_passing(self, incident: Json) -> bool:
        """Tell whether it goes on by itself after a moment."""
        version = incident["metadata"]["resourceVersion"]
        await asyncio.sleep(_REST_SECONDS)
        newest = self._scene.incident(self._seen)
        return newest is None or newest["metadata"]["resourceVersion"] != version

    async def _say(self, incident: Json, verb: str, token: str) -> None:
        try:
            await self._scene.answer(incident, verb, token)
        except ApiError:
            self._answered.discard(token)  # it does not ask that any more, or was changed at this moment

    async def _post(self, status: str) -> None:
        """Post as Alertmanager does: again while there is no answer, or one that says so."""
        labels = {**self._example.labels, "run": self._scene.run}
        body = {
            "version": "4", "groupKey": "{}", "status": status, "receiver": "incident-operator", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager", "truncatedAlerts": 0,
            "alerts": [alert(self._began, status, **labels)],
        }  # fmt: skip
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            while not await self._is_taken(session, body):
                self._operator.revive()
                await asyncio.sleep(0.1)

    async def _is_taken(self, session: aiohttp.ClientSession, body: Json) -> bool:
        url = f"http://127.0.0.1:{self._operator.port}/api/v1/alerts"
        try:
            async with session.post(url, json=body) as answer:
                if 400 <= answer.status < 500:
                    raise RuntimeError(f"an alert was dropped: {answer.status} {await answer.text()}")
                return answer.status < 300
        except aiohttp.ClientError:
            return False


def _version(incident: Json | None) -> str:
    return incident["metadata"]["resourceVersion"] if incident else ""


def _is_verified(status: Json) -> bool:
    verifying = [step["state"] for step in status.get("steps", []) if step["stage"] == "verify"]
    return all(state in {"Succeeded", "Skipped"} for state in verifying)
