"""Stores a message: all of it, or the sender is told to come again, which costs nothing for what is stored."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from incident_operator.clients.api_errors import ApiError, Forbidden
from incident_operator.core import fair_queue
from incident_operator.core.alerts import episodes
from incident_operator.core.alerts.episodes import Merge, Open, Plan, Step
from incident_operator.core.alerts.grouping import IncidentSequence
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.receiver import routing
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.payload import Message
from incident_operator.receiver.refusals import Refusals
from incident_operator.receiver.routing import Delivery, Routed, Runbooks
from incident_operator.receiver.store import IncidentStore

_log = structlog.get_logger()
_ROUNDS = 10
"""How often one group is planned anew because others stored at the same time; more is a defect or an attack."""
_NAMED_ALERTS = 5
_GRANT = "bind the operator's writer role there (the chart does, for each of `namespaces`), or take the namespace from the list"
_AT_ONCE = 200
"""Alerts or groups that are looked at before others have their turn."""
_ROUTED_AT_ONCE = 10
"""The same of alerts that are compared with patterns, which may take a namespace's time for each."""
_GROUPS_AT_ONCE = 32
"""Groups of one message that are stored at a time; more would only wait for a place to write."""


class NotStoredError(Exception):
    """Some alerts are not stored; sending the message again may help, and repeats what is stored at no cost."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, all of which is stored."""

    alerts: int
    opened: int
    changed: int
    unmatched: int
    never_stored: int
    refused: int = 0

    def __str__(self) -> str:
        """Return it for the reply."""
        text = f"{self.alerts} alerts: {self.opened} Incidents opened, {self.changed} changed"
        unmatched = f", {self.unmatched} without a Runbook" if self.unmatched else ""
        unknown = f", {self.never_stored} resolved without ever having been stored" if self.never_stored else ""
        refused = f", {self.refused} refused by their namespaces" if self.refused else ""
        return text + unmatched + unknown + refused


@dataclass(frozen=True, slots=True)
class _Settled:
    opened: int
    changed: int
    held: frozenset[str]
    """Ids of the alerts that are stored in the sequence now."""
    refused: tuple[ReceivedAlert, ...] = ()
    """What the namespace has refused for so long that it is given up."""


class Intake:
    """Takes messages in. Safe to call concurrently, in several replicas too."""

    def __init__(
        self,
        store: IncidentStore,
        incidents: IncidentIndex,
        runbooks: Runbooks,
        metrics: ReceiverMetrics,
        *,
        unmatched_namespace: str | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._store = store
        self._index = incidents
        self._runbooks = runbooks
        self._metrics = metrics
        self._unmatched_namespace = unmatched_namespace
        self._refusals = refusals or Refusals()
        self._locks: WeakValueDictionary[IncidentSequence, asyncio.Lock] = WeakValueDictionary()

    async def route(self, message: Message) -> Routed:
        """Return where the alerts of a message go; stores nothing, and lets others have their turn while it looks."""
        routed = Routed(message.truncated)
        for at in range(0, len(message.alerts), _ROUTED_AT_ONCE):
            part = message.alerts[at : at + _ROUTED_AT_ONCE]
            routing.route(part, self._runbooks, self._index, self._unmatched_namespace, routed)
            if at:
                await asyncio.sleep(0)
        return routed

    def is_urgent(self, routed: Routed) -> bool:
        """Tell whether any of the alerts goes before others."""
        return any(self._store.flow(delivery).is_urgent for delivery in routed.deliveries.values())

    async def take(self, message: Message, routed: Routed | None = None) -> Receipt:
        """Store every alert of the message, routed or not. Raises `NotStoredError` unless all are stored; the others stay.

        What a namespace has refused for minutes is given up: it is counted and logged, and not asked for again.
        """
        self._count(message)
        if routed is None:
            routed = await self.route(message)
        settled = await self._settle_all(routed)
        held = frozenset[str]().union(*(one.held for one in settled))
        refused = {alert.id for one in settled for alert in one.refused}
        never_stored = [alert for alert in message.alerts if not alert.firing and alert.id not in held | refused]
        self._report(routed, never_stored)
        return Receipt(
            alerts=len(message.alerts),
            opened=sum(one.opened for one in settled),
            changed=sum(one.changed for one in settled),
            unmatched=len(routed.unmatched),
            never_stored=len(never_stored),
            refused=len(refused),
        )

    async def reread(self, message: Message, namespace: str) -> int:
        """Store the alerts of one namespace's own Incidents, and return how many of these changed or are new.

        Raises `NotStoredError` unless all are stored.
        """
        routed = (await self.route(message)).within(namespace)
        settled = await self._settle_all(routed)
        if refused := sum(len(one.refused) for one in settled):
            raise NotStoredError(f"the namespace refuses Incidents, and with them {refused} alerts")
        return sum(one.opened + one.changed for one in settled)

    async def _settle_all(self, routed: Routed) -> list[_Settled]:
        outcomes: list[_Settled | Exception] = []
        in_turn = iter(fair_queue.in_turn(routed.deliveries.values(), self._store.flow))

        async def one_after_another() -> None:
            for done, delivery in enumerate(in_turn, 1):
                outcomes.append(await self._outcome(delivery))
                if done % _AT_ONCE == 0:
                    await asyncio.sleep(0)

        workers = min(len(routed.deliveries), _GROUPS_AT_ONCE)
        if workers == 1:
            await one_after_another()  # most messages are of one group, and a task costs more than planning does
        else:
            await asyncio.gather(*(one_after_another() for _ in range(workers)))
        return _all_settled(outcomes)

    async def _outcome(self, delivery: Delivery) -> _Settled | Exception:
        try:
            return await self._settle(delivery)
        except Forbidden as error:
            return self._refused(delivery, error)
        except Exception as error:  # noqa: BLE001 # a defect met by one group must not end the others; it is raised later
            return error

    def _refused(self, delivery: Delivery, error: Forbidden) -> _Settled | Exception:
        """Return what a refusal means: come again, or, where it stays, that the alerts are lost."""
        namespace = delivery.sequence.namespace
        if not self._refusals.refused(namespace):
            return error
        self._metrics.refused.inc(len(delivery.changes))
        told = {"namespace": namespace, "alerts": len(delivery.changes), "alertnames": _names(delivery.changes)}
        _log.error("A namespace refuses Incidents, and its alerts are lost", **told, error=str(error), remedy=_GRANT)
        return _Settled(0, 0, frozenset(), tuple(delivery.changes))

    async def _settle(self, delivery: Delivery) -> _Settled:
        lock = self._locks.setdefault(delivery.sequence, asyncio.Lock())
        async with lock:
            if self._plan(delivery).unsure:
                await self._store.catch_up(delivery)
            return await self._store_all(delivery)

    async def _store_all(self, delivery: Delivery) -> _Settled:
        sequence = delivery.sequence
        opened = changed = 0
        for _ in range(_ROUNDS):
            plan = self._plan(delivery)
            if self._guesses(sequence, plan):
                await self._store.catch_up(delivery)
                plan = self._plan(delivery)
            results = [await self._do(step, delivery) for step in plan.steps]
            stored = [step for step, result in zip(plan.steps, results, strict=True) if result]
            opened += sum(isinstance(step, Open) for step in stored)
            changed += sum(isinstance(step, Merge) for step in stored)
            if False not in results:
                return _Settled(opened, changed, _ids(delivery.changes) - _ids(plan.never_stored))
        raise NotStoredError(f"{sequence.namespace}/{sequence.stem} changed {_ROUNDS} times while alerts were stored")

    def _guesses(self, sequence: IncidentSequence, plan: Plan) -> bool:
        """Tell whether an alert looks new though closed Incidents of its group may hold it: those are not watched.

        Where nothing at all is known of the group, creating its first Incident tells more cheaply whether there are others.
        """
        remembered = any(episode.group == sequence.digest for episode in self._index.episodes(sequence))
        adds = any(alert.firing for step in plan.steps for alert in step.changes)
        return remembered and adds and not self._index.is_complete(sequence)

    def _plan(self, delivery: Delivery) -> Plan:
        sequence = delivery.sequence
        return episodes.plan(self._index.episodes(sequence), sequence.digest, delivery.changes, delivery.truncated)

    async def _do(self, step: Step, delivery: Delivery) -> bool | None:
        match step:
            case Merge():
                result = await self._store.merge(delivery, step)
            case Open() if delivery.group is not None:
                result = await self._store.open(delivery.group, delivery, step)
            case Open():
                raise AssertionError("a delivery without a group holds resolved alerts only")
        if result:
            self._metrics.writes.labels("opened" if isinstance(step, Open) else "changed").inc()
            self._refusals.taken(delivery.sequence.namespace)
        return result

    def _count(self, message: Message) -> None:
        for alert in message.alerts:
            self._metrics.alerts.labels(alert.status.value).inc()
        self._metrics.refused.inc(len(message.refused))
        self._metrics.truncated.inc(message.truncated)

    def _report(self, routed: Routed, never_stored: Sequence[ReceivedAlert]) -> None:
        unmatched, elsewhere = routed.unmatched, routed.elsewhere
        self._metrics.unmatched.inc(len(unmatched))
        self._metrics.elsewhere.inc(len(elsewhere))
        self._metrics.never_stored.inc(len(never_stored))
        if unmatched:
            _log.warning("No Runbook matches", alerts=len(unmatched), alertnames=_names(unmatched))
        if elsewhere:
            _log.warning("Only Runbooks of other namespaces match", alerts=len(elsewhere), first=elsewhere[0])
        if never_stored:
            _log.info("Resolved alerts were never stored", alerts=len(never_stored), alertnames=_names(never_stored))


def _all_settled(outcomes: Sequence[_Settled | Exception]) -> list[_Settled]:
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for failure in failures:
        if not isinstance(failure, ApiError | NotStoredError):
            raise failure
    if failures:
        raise NotStoredError(f"{len(failures)} of {len(outcomes)} groups are not stored; the first: {failures[0]}")
    return [outcome for outcome in outcomes if isinstance(outcome, _Settled)]


def _ids(alerts: Iterable[ReceivedAlert]) -> frozenset[str]:
    return frozenset(alert.id for alert in alerts)


def _names(alerts: Sequence[ReceivedAlert]) -> list[str]:
    return sorted({alert.labels.get("alertname", "") for alert in alerts})[:_NAMED_ALERTS]
