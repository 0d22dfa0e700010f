"""Pins a Runbook: each version of its spec is kept in an immutable ControllerRevision, shared by its Incidents."""

import contextlib
import hashlib
import json
from typing import Any

import structlog

from incident_operator.api import annotations
from incident_operator.api.annotations import LAST_EDITOR, RUNBOOK_LABEL
from incident_operator.api.meta import ObjectKey, owner_reference
from incident_operator.api.runbook import Runbook
from incident_operator.clients import kube, paths
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.outcomes import Json

_KEPT = 256
"""Revisions remembered; they never change, so a remembered one needs no request."""
_log = structlog.get_logger()


def name(kept: Json) -> str:
    """Return the revision's name for its data, `<runbook>-<hash>`: whoever plants another content cannot keep the name."""
    meta = kept["metadata"]
    content = json.dumps([meta["uid"], meta["annotations"], kept["spec"]], sort_keys=True)
    return f"{meta['name'][:45].rstrip('.')}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


class Revisions:
    """Creates and reads ControllerRevisions."""

    def __init__(self, client: kube.Kube) -> None:
        self._kube = client
        self._known: LRUCache[ObjectKey, Runbook] = LRUCache(_KEPT)

    async def keep(self, runbook: Runbook) -> str:
        """Make sure that this version of the Runbook is kept, and return its name."""
        data = _data(runbook)
        revision = name(data)
        key = ObjectKey(runbook.metadata.namespace, revision)
        if self._known.get(key) is not None:
            return revision
        with contextlib.suppress(kube.AlreadyExists):
            await self._kube.create(
                paths.controllerrevisions(runbook.metadata.namespace), _manifest(runbook, revision, data)
            )
        self._known.put(key, runbook)
        return revision

    async def read(self, namespace: str, revision: str) -> Runbook | None:
        """Return the Runbook as it was pinned; None where the revision is gone (its Runbook was deleted)."""
        known = self._known.get(ObjectKey(namespace, revision))
        if known is not None:
            return known
        try:
            found = await self._kube.get(paths.controllerrevisions(namespace, revision))
        except kube.NotFound:
            return None
        if not _is_genuine(found.get("data"), revision):
            _log.error(
                "A ControllerRevision is not what its name says; it is not used", namespace=namespace, name=revision
            )
            return None
        runbook = Runbook.model_validate(found["data"])
        self._known.put(ObjectKey(namespace, revision), runbook)
        return runbook


def _is_genuine(data: Any, revision: str) -> bool:
    try:
        return name(data) == revision
    except (KeyError, TypeError, RecursionError):  # what we keep is never nested that deep
        return False


def _data(runbook: Runbook) -> Json:
    meta = runbook.metadata
    editor = {LAST_EDITOR: meta.annotations.get(LAST_EDITOR, "")}
    kept = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "annotations": editor}
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
