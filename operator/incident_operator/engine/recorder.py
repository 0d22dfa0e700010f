"""Records: the status with its precondition, the evidence before it, the Event and the report beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from incident_operator.api.incident import CLOSED_PHASES, Incident, StoredReport
from incident_operator.api.meta import ObjectKey
from incident_operator.clients import kube
from incident_operator.clients.state import Gone, State
from incident_operator.core import texts
from incident_operator.core.machine import rolled_back
from incident_operator.core.machine.view import Pinned, View
from incident_operator.core.status import kept_texts, present, report
from incident_operator.engine import events, evidence
from incident_operator.engine.background import Background
from incident_operator.engine.evidence import REPORT_KEY, EvidenceStore, Unstored, data_key
from incident_operator.engine.expectations import Expectations
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.engine.progress import Progress

_NEW = timedelta(minutes=1)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recorder:
    """Stores what a reconciliation found out."""

    state: State
    client: kube.Kube
    expectations: Expectations
    metrics: EngineMetrics
    background: Background
    instance: str
    """Name of this process, for Events."""
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
            self.background.start(events.phase_changed(self.client, stored, self.instance, view.now))
        return replace(progress, told=stored.status.phase)

    async def finish(self, progress: Progress, view: View) -> None:
        """Store the report, then the closing status: whoever sees it closed can read the report."""
        if progress.stored.status.phase in CLOSED_PHASES:
            return
        progress, view = await self._with_evidence(progress, view)
        shown = view.with_status(present.present(view)[0])
        spec = shown.compiled.spec if isinstance(shown.runbook, Pinned) else None
        text = texts.visible_page(report.markdown(shown.incident, spec))
        begun, page = rolled_back.begun(progress.stored.status), {REPORT_KEY: text}
        kept = await self.evidence_store.store(self.client, view.incident, evidence.REPORT, page, begun)
        place = kept.places.get(REPORT_KEY)
        stored = StoredReport(config_map=place, digest=texts.digest(text)) if place else None
        told = kept_texts.with_report(view.status, stored, kept.problem, view.now)
        await self.rest(replace(progress, unstored=Unstored()), view.with_status(told))  # the report has told of it

    async def _with_evidence(self, progress: Progress, view: View) -> tuple[Progress, View]:
        """Store the evidence that is not stored yet, and tell in the view where it is; what may be stored later is kept in mind."""
        data = progress.unstored.named_in(view.status)
        begun = rolled_back.begun(progress.stored.status)
        kept = await self.evidence_store.store(self.client, view.incident, evidence.EVIDENCE, data, begun)
        places = {step: kept.places[key] for step in progress.unstored.found if (key := data_key(step)) in kept.places}
        told = kept_texts.with_places(view.status, places, kept.problem, view.now)
        return replace(progress, unstored=progress.unstored.without(kept)), view.with_status(told)

    async def checked(self, progress: Progress, view: View) -> Progress:
        """Return the progress; where evidence tells of acts that the status does not know, these are unknown in it. Raises `ApiError`.

        It is looked at once in a process, before anything is begun, asked, or closed; an Incident whose evidence it has made
        itself needs no look, nor does a new one: no store is restored within its first minute. What is not stored yet is stored first.
        """
        if not isinstance(view.runbook, Pinned) or not rolled_back.can_act(view.status):
            return progress
        if self.evidence_store.is_clean(progress.stored) or _is_new(view):
            return progress
        if progress.unstored.named_in(view.status):
            progress, view = await self._with_evidence(progress, view)
            progress = progress.knowing(view.status)
            if self.evidence_store.is_clean(progress.stored):
                return progress
        told = await self._acts(progress.stored)
        newer = rolled_back.unknown_to(view, {name: attempt for name, (attempt, _) in told.items()})
        if not newer:
            self.evidence_store.cleared(progress.stored)
            return progress
        _log.error("The status is older than its evidence", **_named(progress.stored), acts=dict(newer))
        return progress.knowing(rolled_back.by_evidence(view, {name: told[name] for name in newer}))

    async def _acts(self, incident: Incident) -> Mapping[str, tuple[int, str]]:
        """Return the acts that the evidence tells of; none where it is refused, which stops nothing. Raises `kube.Unavailable`."""
        try:
            return await self.evidence_store.acts(self.client, incident)
        except kube.Unavailable:
            raise
        except kube.ApiError as error:
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
