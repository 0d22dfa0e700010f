"""Calls of actions as the engine makes them, each with the step key and marker of its attempt, and the order in which it plays them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from incident_operator.actions.clients import Clients
from incident_operator.api.runbook import Stage
from incident_operator.core.action import Action, Call, Markers, Preview, UndoOf
from incident_operator.core.machine.view import step_key
from incident_operator.core.outcomes import Failure, NotDone, Outcome, outcome_of, outcome_of_look
from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.accounts import Cluster
from incident_operator.kubernetes.exec import Commands

NOW = datetime(2025, 10, 21, 0, 1, tzinfo=UTC)
INCIDENT_UID = "11111111-1111-4111-8111-111111111111"
ACCOUNT = "rb-test"
MARKERS = Markers(b"a key that nobody but tests knows")


def call(spec, *, namespace="prod", step="act", attempt=1, timeout=60.0, undo_of=None, incident_uid=INCIDENT_UID):
    return Call(
        namespace=namespace,
        incident="pricing-5f2c1-1",
        incident_uid=incident_uid,
        runbook="pricing",
        service_account=ACCOUNT,
        stage=Stage.REMEDIATE,
        step=step,
        attempt=attempt,
        key=step_key(incident_uid, Stage.REMEDIATE, step, attempt),
        action=type(spec).__name__.lower(),
        spec=spec,
        timeout=timeout,
        started_at=NOW,
        undo_of=undo_of,
        marker=MARKERS.of(incident_uid, Stage.REMEDIATE, step, attempt),
        labels={"app.kubernetes.io/managed-by": "incident-operator", "incidents.dev/step": step},
    )


def undo(done, outcome, *, spec=None):
    """The call that takes back what an earlier call did."""
    return call(
        spec or done.spec,
        namespace=done.namespace,
        step=f"undo-{done.step}",
        undo_of=UndoOf(done.key, dict(outcome.captured)),
    )


def clients(cluster: Cluster, access: Access, now=lambda: NOW) -> Clients:
    """The clients of one cluster, without Connections."""
    none = cast(Any, None)
    return Clients(cluster, none, none, none, none, Commands(access), now)


class Player:
    """Plays one action as the engine does: show, reserve, store the intent, act; and look once there is an intent."""

    def __init__(self, action: Action[Any], through: Clients) -> None:
        self.action, self.clients = action, through
        self.intents: dict[str, dict[str, Any]] = {}
        """Step key → what the stored intent says."""

    async def run(self, call: Call[Any]) -> Outcome:
        """Begin it, or look what became of it."""
        if self.action.read is not None:
            return await self._read(call)
        if call.key in self.intents:
            outcome = await self.look(replace(call, seen=self.intents[call.key]))
        else:
            outcome = await self._begin(call)
        if isinstance(outcome, NotDone):
            self.intents.pop(call.key, None)
        return outcome

    async def show(self, call: Call[Any], *, trial: bool = True) -> Preview:
        assert self.action.show is not None
        return await self.action.show(call, self.clients, trial)

    async def act(self, call: Call[Any], preview: Preview) -> Outcome:
        """Do what was shown, once the intent is stored."""
        assert self.action.act is not None
        seen = dict(preview.seen)
        if self.action.reserve is not None:
            try:
                seen |= await self.action.reserve(call, preview, self.clients)
            except Failure as failure:
                return outcome_of(failure, self.action.effect_of(call.spec))
        self.intents[call.key] = seen
        return await self.sent(replace(call, seen=seen), preview)

    async def sent(self, call: Call[Any], preview: Preview) -> Outcome:
        """Send the act and nothing else."""
        assert self.action.act is not None
        try:
            return await self.action.act(call, preview, self.clients)
        except Failure as failure:
            return outcome_of(failure, self.action.effect_of(call.spec))

    async def look(self, call: Call[Any]) -> Outcome:
        assert self.action.look is not None
        try:
            return await self.action.look(call, self.clients)
        except Failure as failure:
            return outcome_of_look(failure)

    async def _begin(self, call: Call[Any]) -> Outcome:
        try:
            preview = await self.show(call, trial=False)
        except Failure as failure:
            unsent = Failure(failure.reason, failure.message, retryable=failure.retryable)
            return outcome_of(unsent, self.action.effect_of(call.spec))
        return await self.act(call, preview)

    async def _read(self, call: Call[Any]) -> Outcome:
        assert self.action.read is not None
        try:
            return await self.action.read(call, self.clients)
        except Failure as failure:
            return outcome_of(failure, self.action.effect_of(call.spec))
