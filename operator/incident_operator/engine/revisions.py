"""Pins a Runbook: each version of its spec is kept in an immutable ControllerRevision, shared by its Incidents."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import structlog

from incident_operator.api import annotations, names
from incident_operator.api.annotations import RUNBOOK_LABEL
from incident_operator.api.meta import ObjectKey, owner_reference
from incident_operator.api.runbook import Runbook
from incident_operator.clients import kube, paths
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.outcomes import Json
from incident_operator.core.runbooks import editors

_KEPT = 256
"""Revisions remembered; they never change, so a remembered one needs no request."""
_LONGEST = 110
_SHORT = 16
"""Hexadecimal digits of the hash in a name of the version before, which Incidents from then still follow."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a revision holds, and the Runbook that it is."""

    data: Json
    runbook: Runbook


class Altered(Exception):
    """Under the revision's name is another content: somebody planted it there."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"ControllerRevision {revision} does not match the hash in its name; delete it")


def name(kept: Json) -> str:
    """Return the revision's name for its data, `<runbook>-<SHA-256>`: whoever plants another content cannot keep the name."""
    return names.with_ending(kept["metadata"]["name"], _digest(kept), _LONGEST)


def _digest(kept: Json) -> str:
    meta = kept["metadata"]
    content = json.dumps([meta["uid"], meta["annotations"], kept["spec"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class Revisions:
    """Creates and reads ControllerRevisions."""

    def __init__(self, client: kube.Kube) -> None:
        self._kube = client
        self._known: LRUCache[ObjectKey, _Kept] = LRUCache(_KEPT)
        self._newest: LRUCache[ObjectKey, tuple[str, Json]] = LRUCache(_KEPT)
        """Of each Runbook: the revision of its present version, and its spec."""

    async def keep(self, runbook: Runbook) -> str:
        """Make sure that this version of the Runbook is kept, and return its name.

        Raises `Altered` where something else is kept under that name: a name alone is never believed.
        """
        data = _data(runbook)
        revision = name(data)
        key = ObjectKey(runbook.metadata.namespace, revision)
        known = self._known.get(key)
        stored = known.data if known is not None else await self._create(runbook, revision, data)
        if stored != data:
            raise Altered(revision)
        if known is None:
            self._known.put(key, _Kept(data, Runbook.model_validate(data)))
        self._newest.put(ObjectKey(key.namespace, runbook.metadata.name), (revision, data["spec"]))
        return revision

    def is_outdated(self, namespace: str, runbook: str, revision: str) -> bool:
        """Tell whether the Runbook's present version, where this process has seen it, says something else than a revision."""
        newest, spec = self._newest.get(ObjectKey(namespace, runbook)) or (revision, None)
        kept = self._known.get(ObjectKey(namespace, revision))
        return newest != revision and (kept is None or kept.data["spec"] != spec)

    async def _create(self, runbook: Runbook, revision: str, data: Json) -> Json:
        """Create the revision, and return what is kept under its name, which another process may have created."""
        namespace = runbook.metadata.namespace
        try:
            await self._kube.create(paths.controllerrevisions(namespace), _manifest(runbook, revision, data))
        except kube.AlreadyExists:
            return (await self._kube.get(paths.controllerrevisions(namespace, revision))).get("data")
        return data

    async def read(self, namespace: str, revision: str) -> Runbook | None:
        """Return the Runbook as it was pinned, its editors of then included; None where the revision is gone or altered."""
        known = self._known.get(ObjectKey(namespace, revision))
        if known is not None:
            return known.runbook
        try:
            found = await self._kube.get(paths.controllerrevisions(namespace, revision))
        except kube.NotFound:
            return None
        if not _is_genuine(found.get("data"), revision):
            _log.error(
                "A ControllerRevision does not match the hash in its name; it is not used",
                namespace=namespace,
                name=revision,
            )
            return None
        runbook = Runbook.model_validate(found["data"])
        self._known.put(ObjectKey(namespace, revision), _Kept(found["data"], runbook))
        return runbook


def _is_genuine(data: Any, revision: str) -> bool:
    try:
        whole = _digest(data)
        return revision.rpartition("-")[2] in (whole, whole[:_SHORT])
    except (KeyError, TypeError, RecursionError):  # what we keep is never nested that deep
        return False


def _data(runbook: Runbook) -> Json:
    meta = runbook.metadata
    wrote = editors.kept(editors.of(runbook))
    kept = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "annotations": wrote}
    return {"metadata": kept, "spec": runbook.spec.to_json()}


def _manifest(runbook: Runbook, revision: str, data: Json) -> Json:
    meta = runbook.metadata
    owner = owner_reference("Runbook", meta.name, meta.uid)
    labels = annotations.labels({RUNBOOK_LABEL: meta.name})
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": revision, "namespace": meta.namespace, "labels": labels, "ownerReferences": [owner]},
        "revision": meta.generation,
        "data": data,
    }
