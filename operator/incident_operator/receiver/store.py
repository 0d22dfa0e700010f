"""Stores what a plan says, one request at a time, each of which the apiserver refuses if the world has moved on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from incident_operator.api.incident import (
    GROUP_LABEL,
    RUNBOOK_LABEL,
    SEVERITY_LABEL,
    IncidentSpec,
    Silence,
    incident_labels,
)
from incident_operator.api.meta import API_VERSION
from incident_operator.core.alerts import merging
from incident_operator.core.alerts.episodes import Merge, Open
from incident_operator.core.alerts.merging import Group, IncidentSequence
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from incident_operator.core.outcomes import Json
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube
from incident_operator.kubernetes.errors import AlreadyExists, Conflict, NotFound
from incident_operator.kubernetes.fair_shares import Flow
from incident_operator.kubernetes.priority import Priority
from incident_operator.receiver import index
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import Delivery

_log = structlog.get_logger()
_MERGED_FIELDS = ("commonLabels", "alerts", "alertsOmitted", "truncatedAlerts")


class IncidentStore:
    """Opens Incidents and takes alerts into them, each in its turn; tells the index what it saw.

    Raises the client's `ApiError`s.
    """

    def __init__(
        self,
        kube: Kube,
        incidents: IncidentIndex,
        priority: Priority,
        stored: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Tell `stored` what was created or changed, where somebody else waits for it than the index."""
        self._kube = kube
        self._index = incidents
        self._stored = stored or incidents.note
        self._priority = priority

    def flow(self, delivery: Delivery) -> Flow:
        """Return whose turn a delivery is."""
        return self._priority.flow(delivery.sequence.namespace, delivery.severity)

    async def open(self, group: Group, delivery: Delivery, step: Open) -> bool:
        """Create the group's Incident of that number. False: the name is taken; the index now knows by what."""
        runbook = {RUNBOOK_LABEL: group.runbook} if group.runbook else {}
        severity = {SEVERITY_LABEL: delivery.severity.value}
        labels = incident_labels({GROUP_LABEL: group.sequence.digest, **severity, **runbook})
        body = {
            "apiVersion": API_VERSION,
            "kind": "Incident",
            "metadata": {"namespace": group.namespace, "name": group.sequence.name(step.number), "labels": labels},
            "spec": merging.to_json(merging.opened(group, delivery.severity, step.changes, delivery.truncated)),
        }
        try:
            async with self._priority.writes.taken(self.flow(delivery), writes=True):
                stored = await self._kube.create(discovery.incidents(group.namespace), body)
        except AlreadyExists:
            # another replica's, or a closed one of this group, after which there may be more
            sequence, flow = group.sequence, self.flow(delivery)
            stored = await self._get(sequence, step.number, flow)
            labels = stored["metadata"].get("labels") or {} if stored else {}
            if stored and labels.get(GROUP_LABEL) == sequence.digest and not index.is_open(stored):
                await self._learn(sequence, flow)
            return False
        if step.number == 1:
            self._index.mark_complete(group.sequence)
        self._stored(stored)
        _log_stored("Opened an Incident", stored, step.changes)
        return True

    async def merge(self, delivery: Delivery, step: Merge) -> bool | None:
        """Merge changes into a stored Incident. None: it holds them already; False: it changed, plan again."""
        sequence, flow = delivery.sequence, self.flow(delivery)
        stored = await self._get(sequence, step.number, flow)
        if stored is None or not merging.is_own(stored):
            return False
        if not index.is_open(stored) and any(alert.firing for alert in step.changes):
            return False  # a closed one only learns that an alert of it resolved
        before = IncidentSpec.model_validate(stored.get("spec") or {})
        after = merging.merged(before, step.changes, delivery.truncated)
        if after == before:
            return None
        fields = merging.to_json(after)
        operations = [{"op": "add", "path": f"/spec/{name}", "value": fields[name]} for name in _MERGED_FIELDS]
        if stored.get("spec") is None:
            operations = [{"op": "add", "path": "/spec", "value": fields}]
        path = discovery.incidents(sequence.namespace, sequence.name(step.number))
        try:
            async with self._priority.writes.taken(flow, writes=True):
                patched = await self._kube.json_patch(path, [*_unchanged(stored), *operations])
        except (Conflict, NotFound):
            return False
        self._stored(patched)
        _log_stored("Alerts merged", patched, step.changes)
        return True

    async def tell_silence(self, sequence: IncidentSequence, number: int, silence: Silence | None, flow: Flow) -> bool:
        """Write what is known of silences into an open Incident. False: it is there already, or the Incident changed meanwhile."""
        stored = await self._get(sequence, number, flow)
        if stored is None or not merging.is_own(stored) or not index.is_open(stored):
            return False
        before, wanted = stored["spec"].get("silence"), silence.to_json() if silence is not None else None
        if before == wanted:
            return False
        change = {"op": "remove"} if wanted is None else {"op": "add", "value": wanted}
        path = discovery.incidents(sequence.namespace, sequence.name(number))
        try:
            async with self._priority.writes.taken(flow, writes=True):
                operations = [*_unchanged(stored), {**change, "path": "/spec/silence"}]
                self._stored(await self._kube.json_patch(path, operations))
        except (Conflict, NotFound):
            return False
        return True

    async def catch_up(self, delivery: Delivery) -> None:
        """Read what is stored of the group: another replica's Incidents may not have been seen yet, nor closed ones.

        Where nothing is remembered, the first number tells whether there is anything: it is the last to be deleted.
        """
        sequence, flow = delivery.sequence, self.flow(delivery)
        remembered = any(episode.group == sequence.digest for episode in self._index.episodes(sequence))
        if remembered or await self._get(sequence, 1, flow) is not None:
            await self._learn(sequence, flow)

    async def _learn(self, sequence: IncidentSequence, flow: Flow) -> None:
        """Read all Incidents of the group, whatever their numbers: however many there were, and though some are deleted."""
        before, found = self._index.episodes(sequence), set()
        async with self._priority.writes.taken(flow):
            selector = {"labelSelector": f"{GROUP_LABEL}={sequence.digest}"}
            async for stored in self._kube.list(discovery.incidents(sequence.namespace), params=selector):
                self._index.note(stored)
                found.add(stored["metadata"]["name"])
        for episode in before:
            gone = episode.group == sequence.digest and sequence.name(episode.number) not in found
            if gone and episode in self._index.episodes(sequence):
                self._index.forget_name(sequence, episode.number)
        self._index.mark_complete(sequence)

    async def _get(self, sequence: IncidentSequence, number: int, flow: Flow) -> Json:
        try:
            async with self._priority.writes.taken(flow):
                stored = await self._kube.get(discovery.incidents(sequence.namespace, sequence.name(number)))
        except NotFound:
            self._index.forget_name(sequence, number)
            return None
        self._index.note(stored)
        return stored


def _unchanged(stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    metadata = stored["metadata"]
    return [{"op": "test", "path": f"/metadata/{name}", "value": metadata[name]} for name in ("uid", "resourceVersion")]


def _log_stored(event: str, stored: Mapping[str, Any], changes: Sequence[ReceivedAlert]) -> None:
    metadata = stored["metadata"]
    runbook = (stored["spec"].get("runbookRef") or {}).get("name", "")
    _log.info(event, incident=metadata["name"], namespace=metadata["namespace"], runbook=runbook, alerts=len(changes))
