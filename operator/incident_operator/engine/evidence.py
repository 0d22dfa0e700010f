"""Evidence and reports in ConfigMaps, one of each kind per Incident. What counts as evidence is in `core/evidence.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import structlog

from incident_operator.api import annotations
from incident_operator.api.annotations import INCIDENT_LABEL
from incident_operator.api.incident import Incident
from incident_operator.api.meta import ObjectKey, owner_reference
from incident_operator.clients import kube, paths
from incident_operator.core.evidence import Evidence
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.outcomes import Json

_REMEMBERED = 4096
"""ConfigMaps whose existence is remembered; of another one it costs a request more to learn it."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unstored:
    """Evidence gathered since the last write; data key → text."""

    texts: Mapping[str, str] = field(default_factory=dict)

    def adding(self, step: str, evidence: Evidence | None) -> "Unstored":
        """The same with one more, if it is worth storing."""
        if evidence is None or evidence.small:
            return self
        return Unstored({**self.texts, f"{step}.json": evidence.text})


def configmap_name(incident: str, kind: str) -> str:
    """Return the name of an Incident's ConfigMap: `<incident>-evidence` or `<incident>-report`."""
    return f"{incident}-{kind}"


class EvidenceStore:
    """Stores evidence, and remembers which ConfigMaps there are: each is made by one request, and added to by one."""

    def __init__(self) -> None:
        self._there: LRUCache[ObjectKey, Literal[True]] = LRUCache(_REMEMBERED)

    async def store(self, client: kube.Kube, incident: Incident, kind: str, data: Mapping[str, str]) -> bool:
        """Put texts into the Incident's ConfigMap of that kind; False where it was refused, which stops nothing."""
        if not data:
            return True
        meta = incident.metadata
        name = configmap_name(meta.name, kind)
        try:
            await self._create_or_add(client, meta.namespace, name, _manifest(incident, name, data))
        except kube.ApiError as error:
            _log.warning("Evidence was not stored", namespace=meta.namespace, incident=meta.name, error=str(error))
            return False
        self._there.put(ObjectKey(meta.namespace, name), True)
        return True

    async def _create_or_add(self, client: kube.Kube, namespace: str, name: str, manifest: Json) -> None:
        if self._there.get(ObjectKey(namespace, name)) and await _added(client, namespace, name, manifest):
            return
        try:
            await client.create(paths.configmaps(namespace), manifest)
        except kube.AlreadyExists:
            await _added(client, namespace, name, manifest)


async def _added(client: kube.Kube, namespace: str, name: str, manifest: Json) -> bool:
    """Add to a ConfigMap; False where somebody has deleted it."""
    try:
        await client.merge_patch(paths.configmaps(namespace, name), {"data": manifest["data"]})
    except kube.NotFound:
        return False
    return True


def _manifest(incident: Incident, name: str, data: Mapping[str, str]) -> Json:
    meta = incident.metadata
    owner = owner_reference("Incident", meta.name, meta.uid)
    labels = annotations.labels({INCIDENT_LABEL: meta.name})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": meta.namespace, "labels": labels, "ownerReferences": [owner]},
        "data": dict(data),
    }
