"""Kubernetes Events: at most one per phase change, off the path of the work."""

from datetime import datetime

import structlog

from incident_operator.api import names
from incident_operator.api.incident import Incident, Phase
from incident_operator.api.meta import API_VERSION, ObjectMeta
from incident_operator.clients import kube, paths
from incident_operator.core.outcomes import Json

_WARNING = frozenset({Phase.NEEDS_HUMAN, Phase.FAILED})
_NAME_LIMIT = 253
_NOTE_LIMIT = 1024
"""Bytes, not characters: the apiserver refuses a longer note."""
_NAME_LIMIT = 253
_log = structlog.get_logger()


async def phase_changed(client: kube.Kube, incident: Incident, instance: str, now: datetime) -> None:
    """Tell of an Incident's new phase; an Event that cannot be written is logged and forgotten."""
    try:
        await client.create(paths.events(incident.metadata.namespace), _event(incident, instance, now))
    except kube.ApiError as error:
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
    return f"{names.cut(meta.name, _NAME_LIMIT - len(version) - 1)}.{version}"


def _cut(message: str) -> str:
    return message.encode()[:_NOTE_LIMIT].decode(errors="ignore")
