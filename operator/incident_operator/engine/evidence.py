"""Evidence and reports in ConfigMaps that the Incident owns. What counts as evidence is in `core/action.py`.

The account may write ConfigMaps wherever there are Incidents, so each write is guarded by itself: one that another one owns is
neither read nor changed. Names come from the Incident's uid, which nobody can choose.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from incident_operator.api.incident import INCIDENT_LABEL, Incident, IncidentStatus, incident_labels
from incident_operator.api.meta import GROUP, ObjectKey, owner_reference
from incident_operator.core.action import Evidence
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.outcomes import Json
from incident_operator.kubernetes import apiserver, discovery

EVIDENCE, REPORT = "evidence", "report"
REPORT_KEY = "report.md"
MOST = 8
"""ConfigMaps of evidence that one Incident may have."""
ACTS = f"{GROUP}/acts"
"""On a ConfigMap: the acts that the Incident's stored status knew of when it was written, such as `serve/1 rebuild/2`."""
_MAX_BYTES = 1_000_000
"""Of texts in one write; a ConfigMap takes 1 MiB, its keys not counted."""
_REMEMBERED = 4096
"""ConfigMaps of which is remembered that they take nothing more; to learn it again costs two requests."""
_REFUSED_TEST = 422
_SPENT = {
    EVIDENCE: f"and the {MOST - 1} after it are full, or belong to somebody else",
    REPORT: "belongs to somebody else, or the text is too large",
}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unstored:
    """Evidence gathered since the last write; step → evidence."""

    found: Mapping[str, Evidence] = field(default_factory=dict)

    def adding(self, step: str, evidence: Evidence | None) -> "Unstored":
        """The same with one more, if it is worth storing."""
        if evidence is None or not evidence.digest:
            return self
        return Unstored({**self.found, step: evidence})

    def named_in(self, status: IncidentStatus) -> Mapping[str, str]:
        """Return the texts that the status tells of and that are stored nowhere yet, by data key.

        Another one would not be what its digest says; a poll that brings the same once more costs no write.
        """
        digests = {record.name: record.evidence for record in status.steps if record.evidence_in is None}
        return {data_key(step): each.text for step, each in self.found.items() if digests.get(step) == each.digest}

    def without(self, stored: "Stored") -> "Unstored":
        """Return what is worth another try: what could not be stored for a reason that passes."""
        if not stored.passes:
            return Unstored()
        return Unstored({step: each for step, each in self.found.items() if data_key(step) not in stored.places})


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of texts that were to be stored."""

    places: Mapping[str, str] = field(default_factory=dict)
    """Data key → the ConfigMap that holds it."""
    problem: str = ""
    """Why the others are not kept, for people; empty where all are."""
    passes: bool = False
    """Whether they may be stored later."""


def data_key(step: str) -> str:
    """Return the key of a step's result in its ConfigMap."""
    return f"{step}.json"


def configmap_name(uid: str, kind: str, part: int = 1) -> str:
    """Return the name of an Incident's ConfigMap, such as `incident-<20 hex of sha256(uid)>-evidence-2`."""
    return f"incident-{hashlib.sha256(uid.encode()).hexdigest()[:20]}-{kind}{f'-{part}' if part > 1 else ''}"


class _NotTaken(Exception):
    """A ConfigMap takes no text: it is full, or not the Incident's."""


class EvidenceStore:
    """Stores texts in ConfigMaps; in the usual case each write is one request. What does not fit goes into the next one."""

    def __init__(self) -> None:
        self._closed: LRUCache[ObjectKey, Literal[True]] = LRUCache(_REMEMBERED)
        """Those that take nothing more: full, or not ours."""
        self._clean: LRUCache[str, Literal[True]] = LRUCache(_REMEMBERED)
        """Incidents, by uid, whose ConfigMaps tell of nothing that the status does not know; this process has asked, or made the first."""

    def is_clean(self, incident: Incident) -> bool:
        """Tell whether it is known that no evidence of this Incident is newer than its status."""
        return self._clean.get(incident.metadata.uid) is not None

    def cleared(self, incident: Incident) -> None:
        """Remember that the status knows of all that its evidence tells of: from here on this process sees to it."""
        self._clean.put(incident.metadata.uid, True)

    async def acts(self, client: apiserver.Kube, incident: Incident) -> Mapping[str, tuple[int, str]]:
        """Return the acts that the evidence and a report tell of, each with its newest attempt and the ConfigMap. Raises `ApiError`."""
        uid, found = incident.metadata.uid, dict[str, tuple[int, str]]()
        evidence = (configmap_name(uid, EVIDENCE, part) for part in range(1, MOST + 1))
        for names in ([configmap_name(uid, REPORT)], evidence):
            for name in names:
                try:
                    told = await _acts_in(client, incident, name)
                except (apiserver.NotFound, apiserver.Conflict):
                    break  # there is none, or somebody else's
                for step, attempt in told:
                    found[step] = max(found.get(step, (0, "")), (attempt, name))
        return found

    async def store(
        self,
        client: apiserver.Kube,
        incident: Incident,
        kind: str,
        data: Mapping[str, str],
        begun: Mapping[str, int] | None = None,
    ) -> Stored:
        """Put texts into the Incident's ConfigMaps of that kind, and return where they are. Refusals stop nothing.

        `begun` are the acts that the Incident's status knows of as it is stored.
        """
        places: dict[str, str] = {}
        # after the one that was written last, as far as the Incident tells
        told_of, uid = {record.evidence_in for record in incident.status.steps}, incident.metadata.uid
        part = next((part for part in range(MOST, 1, -1) if configmap_name(uid, kind, part) in told_of), 1)
        for portion in _portions(data):
            try:
                taken = await self._part_for(client, incident, kind, portion, part, begun or {})
            except apiserver.ApiError as error:
                told = {"namespace": incident.metadata.namespace, "incident": incident.metadata.name}
                _log.warning(f"The {kind} was not stored", **told, error=str(error))
                return Stored(places, str(error), passes=error.retryable)
            places |= dict.fromkeys(portion, configmap_name(incident.metadata.uid, kind, taken))
            part = taken + 1  # a portion ends where nothing more fits
        return Stored(places)

    async def _part_for(
        self,
        client: apiserver.Kube,
        incident: Incident,
        kind: str,
        portion: Mapping[str, str],
        first: int,
        begun: Mapping[str, int],
    ) -> int:
        """Store a portion in the first ConfigMap that takes it, and return which. Raises `ApiError`."""
        meta = incident.metadata
        for part in range(first, (MOST if kind == EVIDENCE else 1) + 1):
            name = configmap_name(meta.uid, kind, part)
            if self._closed.get(ObjectKey(meta.namespace, name)):
                continue
            # until it is known that they tell of nothing newer, what they tell of acts stays as it is
            acts = " ".join(f"{step}/{attempt}" for step, attempt in begun.items())
            text = _Text(portion, acts, changes=self.is_clean(incident))
            try:
                made = await _write(client, incident, name, text)
            except _NotTaken as refusal:
                _log.warning(str(refusal), namespace=meta.namespace, incident=meta.name, name=name)
                self._closed.put(ObjectKey(meta.namespace, name), True)
            else:
                if made and kind == EVIDENCE and part == 1:
                    self.cleared(incident)
                return part
        raise apiserver.Invalid(0, "Invalid", f"no ConfigMap has room: {configmap_name(meta.uid, kind)} {_SPENT[kind]}")


@dataclass(frozen=True, slots=True)
class _Text:
    """What goes into a ConfigMap."""

    data: Mapping[str, str]
    acts: str
    changes: bool
    """Whether one that is there already is told of the acts."""


async def _write(client: apiserver.Kube, incident: Incident, name: str, text: _Text) -> bool:
    """Store the texts in the ConfigMap of that name, and return whether it was made.

    Raises `_NotTaken`, or `ApiError` for what says nothing of the ConfigMap.
    """
    try:
        if any(record.evidence_in == name for record in incident.status.steps):
            with contextlib.suppress(apiserver.NotFound):  # somebody deleted it
                await _add(client, incident, name, text)
                return False
        return await _create_or_add(client, incident, name, text)
    except apiserver.Unavailable as error:
        if not error.maybe_applied:
            raise
        return await _create_or_add(client, incident, name, text)  # the same text once more changes nothing


async def _create_or_add(client: apiserver.Kube, incident: Incident, name: str, text: _Text) -> bool:
    meta = incident.metadata
    body: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": incident_labels({INCIDENT_LABEL: meta.name}),
            "annotations": {ACTS: text.acts},
            "ownerReferences": [owner_reference("Incident", meta.name, meta.uid)],
        },
        "data": dict(text.data),
    }
    try:
        await client.create(discovery.configmaps(meta.namespace), body)
    except apiserver.AlreadyExists:
        await _add(client, incident, name, text)
        return False
    except apiserver.Invalid as error:
        raise _NotTaken(f"A ConfigMap is refused: {error}") from error
    return True


async def _add(client: apiserver.Kube, incident: Incident, name: str, text: _Text) -> None:
    """Add to a ConfigMap, only while it is the Incident's: whoever made it under this name keeps it as it is."""
    path = discovery.configmaps(incident.metadata.namespace, name)
    texts = [{"op": "add", "path": f"/data/{key}", "value": value} for key, value in text.data.items()]
    # the whole map: one of an older version has none, and nobody else has anything to say there
    told = [{"op": "add", "path": "/metadata/annotations", "value": {ACTS: text.acts}}] if text.changes else []
    try:
        await client.json_patched(path, [_owned(incident), *told, *texts])
    except apiserver.Invalid as error:
        raise _NotTaken(f"A ConfigMap cannot be written to any more: {error}") from error
    except apiserver.Conflict as error:
        if error.status != _REFUSED_TEST:
            raise  # somebody else wrote at the same moment
        raise _NotTaken("A ConfigMap does not belong to this Incident and is left alone") from error


def _owned(incident: Incident) -> Mapping[str, str]:
    return {"op": "test", "path": "/metadata/ownerReferences/0/uid", "value": incident.metadata.uid}


async def _acts_in(client: apiserver.Kube, incident: Incident, name: str) -> Sequence[tuple[str, int]]:
    """Return the acts that a ConfigMap tells of. Raises `ApiError`.

    One of an older version tells by its keys alone, which are read by a dry run: the operator may not get ConfigMaps.
    """
    path = discovery.configmaps(incident.metadata.namespace, name)
    told = ((await client.metadata_if(path, [_owned(incident)]))["metadata"].get("annotations") or {}).get(ACTS)
    if told is None:
        data = (await client.json_patch(path, [_owned(incident)], dry_run=True)).get("data") or {}
        return [(key.removesuffix(".json"), 1) for key in data]
    pairs = (word.rpartition("/") for word in told.split())
    return [(step, int(attempt)) for step, _, attempt in pairs if step and attempt.isdecimal()]


def _portions(data: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the texts in as few portions as fit one ConfigMap each, in their order."""
    portion: dict[str, str] = {}
    free = _MAX_BYTES
    for key, text in data.items():
        size = len(text.encode())
        if portion and size > free:
            yield portion
            portion, free = {}, _MAX_BYTES
        portion[key] = text
        free -= size
    if portion:
        yield portion
