"""Records: the status with its precondition, the evidence before it, the Event and the report beside it.

`Progress` is an Incident in the middle of a reconciliation: what is stored, and what is known beyond it. `Expectations` are the versions
that a reconciliation has read or stored itself, whose watch events tell nothing new. An Event tells of each phase at most once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus, Phase, StoredReport
from incident_operator.api.meta import API_VERSION, ObjectKey, ObjectMeta, cut_name
from incident_operator.api.runbook import RunbookSpec
from incident_operator.core import texts
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.machine.in_flight import acts_begun, by_evidence, can_act, unknown_to
from incident_operator.core.machine.view import Pinned, View
from incident_operator.core.outcomes import Json
from incident_operator.core.status import present
from incident_operator.core.status.present import with_places, with_report
from incident_operator.engine import evidence
from incident_operator.engine.evidence import REPORT_KEY, EvidenceStore, Unstored, data_key
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.work_queue import Background
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.state import Gone, State


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reconciliation has come."""

    stored: Incident
    """As the apiserver has it."""
    working: Incident
    """The same with the outcomes that are not stored yet."""
    unstored: Unstored = field(default_factory=Unstored)
    """Evidence that is not stored yet."""
    told: Phase = Phase.PENDING
    """The phase that people were last told as an Event."""
    before_close: IncidentStatus | None = None
    """What was known before it was decided to close, while the close is not stored."""

    @classmethod
    def of(cls, incident: Incident) -> "Progress":
        """Return where an Incident stands as it was read: whoever stored that phase has told of it."""
        return cls(incident, incident, told=incident.status.phase)

    def knowing(self, current: IncidentStatus) -> "Progress":
        """Return the same with a status that is not stored yet."""
        closes = current.phase in CLOSED_PHASES and self.working.status.phase not in CLOSED_PHASES
        before_close = self.working.status if closes else self.before_close
        working = self.working.model_copy(update={"status": current})
        return Progress(self.stored, working, self.unstored, self.told, before_close)

    def on(self, fresh: Incident) -> "Progress":
        """Return what is known, on a newer version: an alert may have come with it, so whether to close is open again.

        Where somebody else has written the status meanwhile, or the Incident is another one, only what is stored counts.
        """
        if self.is_overtaken_by(fresh):
            return Progress.of(fresh)
        working = fresh.model_copy(update={"status": self.before_close or self.working.status})
        return Progress(fresh, working, self.unstored, self.told)

    def is_overtaken_by(self, fresh: Incident) -> bool:
        """Tell whether another process has written the status since, or the Incident was deleted and made again."""
        known = self.stored
        return fresh.metadata.uid != known.metadata.uid or fresh.status.written_by != known.status.written_by


_WARNING = frozenset({Phase.NEEDS_HUMAN, Phase.FAILED})
_NAME_LIMIT = 253
_NOTE_LIMIT = 1024
"""Bytes, not characters: the apiserver refuses a longer note."""
_log = structlog.get_logger()


async def phase_changed(client: apiserver.Kube, incident: Incident, instance: str, now: datetime) -> None:
    """Tell of an Incident's new phase; an Event that cannot be written is logged and forgotten."""
    try:
        await client.create(discovery.events(incident.metadata.namespace), _event(incident, instance, now))
    except apiserver.ApiError as error:
        _log.warning("Event was not stored", incident=incident.metadata.name, error=str(error))


def _event(incident: Incident, instance: str, now: datetime) -> Json:
    meta, status = incident.metadata, incident.status
    regarding = {
        "apiVersion": API_VERSION,
        "kind": "Incident",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": _name(meta), "namespace": meta.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": "incident-operator",
        "reportingInstance": instance[:128],
        "action": "PhaseChange",
        "reason": status.phase.value,
        "type": "Warning" if status.phase in _WARNING else "Normal",
        "note": _cut(status.message) or status.phase.value,
        "regarding": regarding,
    }


def _name(meta: ObjectMeta) -> str:
    version = meta.resource_version
    return f"{cut_name(meta.name, _NAME_LIMIT - len(version) - 1)}.{version}"


def _cut(message: str) -> str:
    return message.encode()[:_NOTE_LIMIT].decode(errors="ignore")


_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How this process closed an Incident."""

    version: int
    phase: Phase
    at: datetime | None


class Expectations:
    """Remembers the newest version of each Incident that a reconciliation of this process knows, and those that it closed."""

    def __init__(self) -> None:
        self._versions: LRUCache[ObjectKey, int] = LRUCache(_KEPT)
        self._endings: LRUCache[ObjectKey, Ending] = LRUCache(_KEPT)
        self.newest = 0
        """The newest version of any Incident that a reconciliation of this process has read, or stored."""

    def expect(self, key: ObjectKey, resource_version: str) -> None:
        """Remember a version that a reconciliation read and decides upon, or that shows its own write alone."""
        version = int(resource_version)
        self.newest = max(self.newest, version)
        self._versions.put(key, max(version, self._versions.get(key) or 0))

    def read(self, key: ObjectKey, resource_version: str) -> None:
        """Remember a version that was just read, whatever was known: an apiserver that was restored has older ones again."""
        self.newest = max(self.newest, int(resource_version))
        self._versions.put(key, int(resource_version))

    def is_expected(self, key: ObjectKey, resource_version: str) -> bool:
        """Tell whether an event shows nothing but what a reconciliation knows."""
        return int(resource_version) <= (self._versions.get(key) or 0)

    def closed(self, incident: Incident) -> None:
        """Remember that we stored a closing status, if it is one: it is how that Incident leaves the watch."""
        if incident.status.phase not in CLOSED_PHASES:
            return
        meta = incident.metadata
        key = ObjectKey(meta.namespace, meta.name)
        self._endings.put(key, Ending(int(meta.resource_version), incident.status.phase, ended_at(incident)))

    def ending(self, key: ObjectKey, resource_version: str) -> Ending | None:
        """Return how we closed it, if that is what this version shows."""
        known = self._endings.get(key)
        return known if known is not None and known.version == int(resource_version) else None

    def forget(self, key: ObjectKey) -> None:
        """Drop a key that is closed or gone."""
        self._versions.drop(key)
        self._endings.drop(key)


def ended_at(incident: Incident) -> datetime | None:
    """Return when an Incident ended: when it was resolved, else when its success was judged."""
    succeeded = [c.last_transition_time for c in incident.status.conditions if c.type == "Succeeded"]
    return incident.status.times.resolved or next(iter(succeeded), None)


_NEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Stores what a reconciliation found out."""

    state: State
    client: apiserver.Kube
    expectations: Expectations
    metrics: EngineMetrics
    background: Background
    instance: str
    """Name of this process, for Events."""
    report: Callable[[Incident, RunbookSpec | None], str]
    """Writes the report of an Incident that ends: `core/status/report.py`."""
    evidence_store: EvidenceStore = field(default_factory=EvidenceStore)

    async def publish(self, progress: Progress, view: View, *, intent: bool = False) -> Progress:
        """Store the view's status, unless nothing that anybody would see has changed. Raises `Superseded`, `Gone`.

        An intent is stored in any case: so no act begins on an Incident that changed meanwhile.
        """
        shown, text = present.present(view)
        if not intent and not present.differs(shown, progress.stored.status):
            return progress
        if progress.unstored.found:
            progress, view = await self._with_evidence(progress, view)
            shown, text = present.present(view)
        stored = await self.state.store(progress.stored, shown, text)
        if _only_status_differs(progress.stored, stored):
            self.expectations.expect(
                ObjectKey(stored.metadata.namespace, stored.metadata.name), stored.metadata.resource_version
            )
        self.expectations.closed(stored)
        if stored.status.phase is not progress.stored.status.phase:
            self._note_phase(stored)
        return Progress(stored, stored, progress.unstored, told=progress.told)

    async def rest(self, progress: Progress, view: View) -> Progress:
        """Store the view's status and tell of its phase: the reconciliation ends here. A phase that only passed by has no Event."""
        progress = await self.publish(progress, view)
        stored = progress.stored
        if stored.status.phase is not progress.told:
            self.background.start(phase_changed(self.client, stored, self.instance, view.now))
        return replace(progress, told=stored.status.phase)

    async def finish(self, progress: Progress, view: View) -> None:
        """Store the report, then the closing status: whoever sees it closed can read the report."""
        if progress.stored.status.phase in CLOSED_PHASES:
            return
        progress, view = await self._with_evidence(progress, view)
        shown = view.with_status(present.present(view)[0])
        spec = shown.compiled.spec if isinstance(shown.runbook, Pinned) else None
        text = texts.visible_page(self.report(shown.incident, spec))
        begun, page = acts_begun(progress.stored.status), {REPORT_KEY: text}
        kept = await self.evidence_store.store(self.client, view.incident, evidence.REPORT, page, begun)
        place = kept.places.get(REPORT_KEY)
        stored = StoredReport(config_map=place, digest=texts.digest(text)) if place else None
        told = with_report(view.status, stored, kept.problem, view.now)
        await self.rest(replace(progress, unstored=Unstored()), view.with_status(told))  # the report has told of it

    async def _with_evidence(self, progress: Progress, view: View) -> tuple[Progress, View]:
        """Store the evidence that is not stored yet, and tell in the view where it is; what may be stored later is kept in mind."""
        data = progress.unstored.named_in(view.status)
        begun = acts_begun(progress.stored.status)
        kept = await self.evidence_store.store(self.client, view.incident, evidence.EVIDENCE, data, begun)
        places = {step: kept.places[key] for step in progress.unstored.found if (key := data_key(step)) in kept.places}
        told = with_places(view.status, places, kept.problem, view.now)
        return replace(progress, unstored=progress.unstored.without(kept)), view.with_status(told)

    async def checked(self, progress: Progress, view: View) -> Progress:
        """Return the progress; where evidence tells of acts that the status does not know, these are unknown in it. Raises `ApiError`.

        It is looked at once in a process, before anything is begun, asked, or closed; an Incident whose evidence it has made
        itself needs no look, nor does a new one: no store is restored within its first minute. What is not stored yet is stored first.
        """
        if not isinstance(view.runbook, Pinned) or not can_act(view.status):
            return progress
        if self.evidence_store.is_clean(progress.stored) or _is_new(view):
            return progress
        if progress.unstored.named_in(view.status):
            progress, view = await self._with_evidence(progress, view)
            progress = progress.knowing(view.status)
            if self.evidence_store.is_clean(progress.stored):
                return progress
        told = await self._acts(progress.stored)
        newer = unknown_to(view, {name: attempt for name, (attempt, _) in told.items()})
        if not newer:
            self.evidence_store.cleared(progress.stored)
            return progress
        _log.error("The status is older than its evidence", **_named(progress.stored), acts=dict(newer))
        return progress.knowing(by_evidence(view, {name: told[name] for name in newer}))

    async def _acts(self, incident: Incident) -> Mapping[str, tuple[int, str]]:
        """Return the acts that the evidence tells of; none where it is refused, which stops nothing. Raises `kube.Unavailable`."""
        try:
            return await self.evidence_store.acts(self.client, incident)
        except apiserver.Unavailable:
            raise
        except apiserver.ApiError as error:
            _log.warning("Cannot check whether evidence is newer than the status", **_named(incident), error=str(error))
            return {}

    async def read_again(self, progress: Progress) -> Progress:
        """Return the progress on the newest version: outcomes in memory stay, unless another process wrote meanwhile."""
        meta = progress.stored.metadata
        fresh = await self.state.read(meta.namespace, meta.name)
        if fresh.metadata.uid != meta.uid:
            raise Gone(meta.name)
        self.expectations.expect(ObjectKey(meta.namespace, meta.name), fresh.metadata.resource_version)
        return progress.on(fresh)

    def _note_phase(self, stored: Incident) -> None:
        phase, meta = stored.status.phase.value, stored.metadata
        _log.info(
            "Phase changes", namespace=meta.namespace, incident=meta.name, phase=phase, message=stored.status.message
        )
        self.metrics.phases.labels(phase).inc()


def _named(incident: Incident) -> dict[str, str]:
    return {"namespace": incident.metadata.namespace, "incident": incident.metadata.name}


def _is_new(view: View) -> bool:
    created = view.incident.metadata.creation_timestamp
    return created is not None and timedelta() <= view.now - created < _NEW


def _only_status_differs(before: Incident, after: Incident) -> bool:
    """Tell whether a version shows our write alone; one found after a lost reply may show somebody else's too."""
    return (
        before.spec == after.spec
        and before.metadata.annotations == after.metadata.annotations
        and before.metadata.deletion_timestamp == after.metadata.deletion_timestamp
    )
