"""Stores a message: all of it, or the sender is told to come again, which costs nothing for what is stored."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import structlog

from incident_operator.api.incident import Silence
from incident_operator.core import texts
from incident_operator.core.alerts import episodes
from incident_operator.core.alerts.episodes import Episode, Merge, Open, Plan, Step
from incident_operator.core.alerts.matching import IGNORE, Unmatched, ignore_matchers
from incident_operator.core.alerts.merging import IncidentSequence
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.core.lru_cache import LRUCache
from incident_operator.kubernetes import fair_shares
from incident_operator.kubernetes.errors import ApiError, Forbidden
from incident_operator.receiver import routing
from incident_operator.receiver.alertmanager import Message
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.metrics import ReceiverMetrics
from incident_operator.receiver.refusals import Receipt, Refusals
from incident_operator.receiver.routing import Delivery, Routed, Runbooks
from incident_operator.receiver.store import IncidentStore

_log = structlog.get_logger()
_ROUNDS = 10
"""How often one group is planned anew because others stored at the same time; more is a defect or an attack."""
_NAMED_ALERTS = 5
_SHOWN = 80
_GRANT = "bind the operator's writer role there (the chart does, for each of `namespaces`), or remove the namespace from the list"
_AT_ONCE = 200
"""Alerts or groups that are looked at before others have their turn."""
_ROUTED_AT_ONCE = 10
"""The same of alerts that are compared with patterns, which may take a namespace's time for each."""
_EARLY_ENDS = 1000
"""Ends of alerts of which no Incident knows that are remembered: the alert may still be on its way, by a slower Alertmanager."""
_GROUPS_AT_ONCE = 32
"""Groups of one message that are stored at a time; more would only wait for a place to write."""


class NotStoredError(Exception):
    """Some alerts are not stored; sending the message again may help, and repeats what is stored at no cost."""


@dataclass(frozen=True, slots=True)
class _Settled:
    opened: int
    changed: int
    held: frozenset[str]
    """Ids of the alerts that are stored in the sequence now."""
    refused: tuple[ReceivedAlert, ...] = ()
    """What the namespace has refused for so long that it is given up."""
    known: frozenset[str] = frozenset()
    """Ids of the alerts that told nothing new."""
    known_in: frozenset[str] = frozenset()
    """The Incidents that hold these, `namespace/name`."""


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
        ignore: Iterable[str] = IGNORE,
        refusals: Refusals | None = None,
    ) -> None:
        self._store = store
        self._index = incidents
        self._runbooks = runbooks
        self._metrics = metrics
        self._unmatched = Unmatched(unmatched_namespace, ignore_matchers(ignore))
        self._refusals = refusals or Refusals()
        self._locks: WeakValueDictionary[IncidentSequence, asyncio.Lock] = WeakValueDictionary()
        self._early: LRUCache[str, ReceivedAlert] = LRUCache(_EARLY_ENDS)

    async def route(self, message: Message) -> Routed:
        """Return where the alerts of a message go; stores nothing, and lets others have their turn while it looks."""
        routed = Routed(message.truncated)
        for at in range(0, len(message.alerts), _ROUTED_AT_ONCE):
            part = message.alerts[at : at + _ROUTED_AT_ONCE]
            routing.route(part, self._runbooks, self._index, self._unmatched, routed)
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
        for alert in message.alerts:
            self._metrics.alerts.labels(alert.status.value).inc()
        self._metrics.refused.inc(message.refused_count)
        self._metrics.truncated.inc(message.truncated)
        if routed is None:
            routed = await self.route(message)
        if routed.heartbeats:
            self._metrics.heartbeat.set_to_current_time()
        settled = await self._settle_all(routed)
        held = frozenset[str]().union(*(one.held for one in settled))
        refused = {alert.id for one in settled for alert in one.refused}
        told = held | refused | _ids(routed.ignored)
        never_stored = [alert for alert in message.alerts if not alert.firing and alert.id not in told]
        self._report(routed, never_stored)
        await self._end_late(message.alerts, never_stored)
        return Receipt(
            alerts=len(message.alerts),
            opened=sum(one.opened for one in settled),
            changed=sum(one.changed for one in settled),
            unmatched=len(routed.unmatched),
            never_stored=len(never_stored),
            refused=len(refused),
            known=len(frozenset[str]().union(*(one.known for one in settled))),
            known_in=tuple(sorted(frozenset[str]().union(*(one.known_in for one in settled)))),
            ignored=len(routed.ignored),
            heartbeats=routed.heartbeats,
        )

    async def _end_late(self, alerts: Iterable[ReceivedAlert], never_stored: Iterable[ReceivedAlert]) -> None:
        """End what fires only in the words of a slower Alertmanager, whose peer has told its end already: nobody tells it again."""
        for alert in never_stored:
            self._early.put(alert.id, replace(alert, labels={}, kept={}, annotations=None, generator_url=""))
        routed = Routed()
        for alert in alerts:
            if alert.firing and (end := self._early.get(alert.id)) is not None:
                routing.to_holders(end, self._index, routed)
        if routed.deliveries:
            await self._settle_all(routed)

    async def reread(self, message: Message, namespace: str) -> int:
        """Store the alerts of one namespace's own Incidents, and return how many of these changed or are new.

        Raises `NotStoredError` unless all are stored.
        """
        routed = (await self.route(message)).within(namespace)
        settled = await self._settle_all(routed)
        if refused := sum(len(one.refused) for one in settled):
            raise NotStoredError(
                f"the namespace refuses Incidents, so {texts.counted(refused, 'alert')} cannot be stored"
            )
        return sum(one.opened + one.changed for one in settled)

    async def end(self, ended: Iterable[ReceivedAlert], namespace: str) -> int:
        """Store the end of alerts that open Incidents of one namespace hold, and return how many of these changed. Raises `NotStoredError`."""
        routed = Routed()
        for alert in ended:
            routing.to_holders(alert, self._index, routed)
        return sum(one.changed for one in await self._settle_all(routed.within(namespace)))

    def firing_in(self, namespace: str) -> list[tuple[IncidentSequence, Episode]]:
        """Return the open Incidents of a namespace in which alerts fire."""
        return list(self._index.firing_in(namespace))

    async def tell_silence(self, sequence: IncidentSequence, number: int, silence: Silence | None) -> bool:
        """Write what is known of silences into an Incident, and return whether it changed. Raises `ApiError`."""
        return await self._store.tell_silence(sequence, number, silence, self._store.flow(Delivery(sequence)))

    async def _settle_all(self, routed: Routed) -> list[_Settled]:
        outcomes: list[_Settled | Exception] = []
        in_turn = iter(fair_shares.in_turn(routed.deliveries.values(), self._store.flow))

        async def one_after_another() -> None:
            for done, delivery in enumerate(in_turn, 1):
                try:
                    outcome: _Settled | Exception = await self._settle(delivery)
                except Forbidden as error:
                    outcome = self._given_up(delivery, error)
                except Exception as error:  # noqa: BLE001 # a defect met by one group must not end the others; it is raised later
                    outcome = error
                outcomes.append(outcome)
                if done % _AT_ONCE == 0:
                    await asyncio.sleep(0)

        workers = min(len(routed.deliveries), _GROUPS_AT_ONCE)
        if workers == 1:
            await one_after_another()  # most messages are of one group, and a task costs more than planning does
        else:
            await asyncio.gather(*(one_after_another() for _ in range(workers)))
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        for failure in failures:
            if not isinstance(failure, ApiError | NotStoredError):
                raise failure
        if failures:
            raise NotStoredError(f"{len(failures)} of {len(outcomes)} groups are not stored; the first: {failures[0]}")
        return [outcome for outcome in outcomes if isinstance(outcome, _Settled)]

    def _given_up(self, delivery: Delivery, error: Forbidden) -> _Settled | Exception:
        """Return what a refusal means: come again, or, where it stays, that the alerts are lost."""
        namespace = delivery.sequence.namespace
        if not self._refusals.refused(namespace):
            return error
        self._metrics.refused.inc(len(delivery.changes))
        told = {"namespace": namespace, "alerts": len(delivery.changes), "alertnames": _names(delivery.changes)}
        _log.error("A namespace refuses Incidents, and its alerts are lost", **told, error=str(error), remedy=_GRANT)
        return _Settled(0, 0, frozenset(), tuple(delivery.changes))

    async def _settle(self, delivery: Delivery) -> _Settled:
        """Store a group's alerts, one message at a time: planned anew where others stored some at the same time."""
        sequence = delivery.sequence
        async with self._locks.setdefault(sequence, asyncio.Lock()):
            if self._plan(delivery).unsure:
                await self._store.catch_up(delivery)
            return await self._store_all(sequence, delivery)

    async def _store_all(self, sequence: IncidentSequence, delivery: Delivery) -> _Settled:
        opened = changed = 0
        written: frozenset[str] = frozenset()
        for _ in range(_ROUNDS):
            plan = self._plan(delivery)
            # An alert may look new though closed Incidents of its group hold it: those are not watched. Where nothing at all
            # is known of the group, creating its first Incident tells more cheaply whether there are others.
            remembered = any(episode.group == sequence.digest for episode in self._index.episodes(sequence))
            adds = any(alert.firing for step in plan.steps for alert in step.changes)
            if remembered and adds and not self._index.is_complete(sequence):
                await self._store.catch_up(delivery)
                plan = self._plan(delivery)
            results = [await self._do(step, delivery) for step in plan.steps]
            stored = [step for step, result in zip(plan.steps, results, strict=True) if result]
            opened += sum(isinstance(step, Open) for step in stored)
            changed += sum(isinstance(step, Merge) for step in stored)
            written = written.union(*(_ids(step.changes) for step in stored))
            if False not in results:
                held = _ids(delivery.changes) - _ids(plan.never_stored)
                known = held - written
                return _Settled(opened, changed, held, known=known, known_in=self._holders(delivery, plan, known))
        raise NotStoredError(f"{sequence.namespace}/{sequence.stem} changed {_ROUNDS} times while alerts were stored")

    def _holders(self, delivery: Delivery, plan: Plan, known: frozenset[str]) -> frozenset[str]:
        """Return which Incidents hold alerts that told nothing new; one whose list is full holds what it only counts."""
        if not known:
            return frozenset()
        sequence = delivery.sequence
        counting = {step.number for step in plan.steps if known & _ids(step.changes)}
        return frozenset(
            f"{sequence.namespace}/{sequence.name(episode.number)}"
            for episode in self._index.episodes(sequence)
            if episode.group == sequence.digest
            and (episode.number in counting or not known.isdisjoint((*episode.firing, *episode.resolved)))
        )

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

    def _report(self, routed: Routed, never_stored: Sequence[ReceivedAlert]) -> None:
        without, elsewhere = routed.unmatched, routed.elsewhere
        self._metrics.unmatched.inc(len(without))
        self._metrics.ignored.inc(len(routed.ignored))
        self._metrics.elsewhere.inc(len(elsewhere))
        self._metrics.never_stored.inc(len(never_stored))
        if without:
            _log.warning("No Runbook matches", alerts=len(without), alertnames=_names(without))
        if elsewhere:
            _log.warning("Only Runbooks of other namespaces match", alerts=len(elsewhere), first=elsewhere[0])
        if never_stored:
            _log.info("Resolved alerts were never stored", alerts=len(never_stored), alertnames=_names(never_stored))


def _ids(alerts: Iterable[ReceivedAlert]) -> frozenset[str]:
    return frozenset(alert.id for alert in alerts)


def _names(alerts: Sequence[ReceivedAlert]) -> list[str]:
    named = {alert.labels.get("alertname", "") for alert in alerts}
    return [texts.cut(texts.visible(name), _SHOWN) for name in sorted(named)[:_NAMED_ALERTS]]
