"""Plays one round: an alert fires, the leader is interrupted in a stage, people do their part, and witnesses are heard."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from incident_operator.kubernetes import apiserver
from proofs.rounds.interruptions import Taken, interrupt
from proofs.rounds.judge import Result, judge
from proofs.rounds.operators import NAMESPACE
from proofs.rounds.plan import Interruption, Round, Stage
from proofs.rounds.rig import ALICE, Rig
from tests.e2e.operator_process import alert

_PATIENCE = 180.0
_LOOK_EVERY = 0.05
_NOTE_EVERY = 3.0
_RUNNING = {Stage.MITIGATING: "serve", Stage.REMEDIATING: "mark", Stage.RESTORING: "undo-serve"}
"""The step whose act is under way in a stage."""
Json = Mapping[str, Any]


@dataclass
class Play:
    """One round while it is played."""

    rig: Rig
    round: Round
    run: str
    fired: dict[str, Any]
    answered: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    noted_at: float = 0.0
    interrupted: asyncio.Task[Taken] | None = None
    resolved: bool = False

    async def go(self) -> None:
        """See it through until the Incident is closed and the interruption is over."""
        deadline = time.monotonic() + _PATIENCE
        await self._send(self.fired)
        while time.monotonic() < deadline:
            found = await self.rig.incidents(self.run)
            if found and await self._look(found[0]):
                return
            await asyncio.sleep(_LOOK_EVERY)

    async def _look(self, incident: Json) -> bool:
        status = incident.get("status", {})
        if self.interrupted is None and self._is_reached(status):
            leader = await self.rig.operators.leader()
            self.interrupted = asyncio.create_task(interrupt(self.round.interruption, self.rig.operators, leader))
            await asyncio.sleep(0)
        await self._leave_a_note(incident)
        await self._answer(incident, status)
        if _waits_for_resolve(status) and not self.resolved:
            self.resolved = True
            await self._send({**self.fired, "status": "resolved", "endsAt": datetime.now(UTC).isoformat()})
        return status.get("phase") == "Resolved" and self.interrupted is not None and self.interrupted.done()

    def _is_reached(self, status: Json) -> bool:
        phase, stage = status.get("phase", "Pending"), self.round.stage
        steps = {step["name"]: step["state"] for step in status.get("steps", [])}
        match stage:
            case Stage.DIAGNOSING:
                return True
            case Stage.AWAITING:
                return bool(phase == "AwaitingApproval")
            case Stage.UNKEYED:
                return self.rig.service.carried_out[self.run] > 0
            case Stage.VERIFYING:
                return bool(phase == "Verifying")
            case _:
                return steps.get(_RUNNING[stage]) == "Running"

    async def _answer(self, incident: Json, status: Json) -> None:
        """Alice approves what is asked for, and tells what she sees where nobody knows whether it happened."""
        pending, asked = status.get("pendingApproval"), status.get("pendingAnswer")
        name = incident["metadata"]["name"]
        if pending and pending["planHash"] not in self.answered:
            self.answered.add(pending["planHash"])
            await self.rig.annotate(name, "incidents.dev/approve", f"{pending['planHash'][:12]} {ALICE}", by_alice=True)
        if asked and status.get("reason") == "StepUnknown" and asked["token"] not in self.answered:
            self.answered.add(asked["token"])
            happened = "done" if self.rig.service.carried_out[self.run] else "not-done"
            await self.rig.annotate(
                name, "incidents.dev/resolve", f"{asked['token']}={happened} {ALICE}", by_alice=True
            )

    async def _leave_a_note(self, incident: Json) -> None:
        """Somebody writes on the Incident every now and then; none of it may be lost."""
        if time.monotonic() < self.noted_at + _NOTE_EVERY:
            return
        self.noted_at = time.monotonic()
        key, value = f"example.com/note-{len(self.notes) % 20}", secrets.token_hex(4)
        await self.rig.annotate(incident["metadata"]["name"], key, value)
        self.notes[key] = value

    async def _send(self, fired: dict[str, Any]) -> None:
        """Post as Alertmanager does: to one after the other, until one has taken it."""
        for _ in range(200):
            for operator in [each for each in self.rig.operators.running if not each.ended]:
                try:
                    async with asyncio.timeout(2):
                        code, _ = await operator.process.post(fired)
                except (TimeoutError, aiohttp.ClientError):
                    continue
                if code == 200:
                    return
            await asyncio.sleep(0.1)
        raise TimeoutError("no operator takes alerts")


def _waits_for_resolve(status: Json) -> bool:
    steps = {step["name"]: step["state"] for step in status.get("steps", [])}
    return steps.get("works") == "Succeeded"


async def play(rig: Rig, of: Round) -> Result:
    """Play a round and return what the witnesses say of it."""
    await rig.operators.have_two(skewed=of.interruption is Interruption.SKEWED)
    await rig.clear()
    if of.interruption is Interruption.UPGRADED:
        await rig.operators.start()
    run = f"r{of.number}-{secrets.token_hex(3)}"
    before = await rig.worker()
    began = time.monotonic()
    playing = Play(rig, of, run, alert(datetime.now(UTC), alertname="Round", namespace=NAMESPACE, run=run))
    trouble = ""
    taken: Taken | None = None
    try:
        await playing.go()
        taken = await asyncio.wait_for(playing.interrupted, 60) if playing.interrupted is not None else None
    except (TimeoutError, apiserver.ApiError) as error:
        trouble = f"{type(error).__name__}: {error}"
    result = await judge(rig, of, run, before, playing.notes, taken, trouble)
    result.seconds = round(time.monotonic() - began, 1)
    return result
