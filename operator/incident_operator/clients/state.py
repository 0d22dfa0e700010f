"""The only writer of an Incident's status: guarded by uid and resourceVersion, and never sent twice blindly."""

import itertools
from collections.abc import Sequence

from incident_operator.api.incident import Incident, IncidentStatus
from incident_operator.clients import kube, paths
from incident_operator.core.outcomes import Json


class Gone(Exception):
    """The Incident was deleted, or replaced by another of the same name."""


class Superseded(Exception):
    """Somebody else changed the Incident in between; it has to be read and decided again."""


class State:
    """Reads Incidents live and stores their status. `writer` names this process, unique among all of them."""

    def __init__(self, client: kube.Kube, writer: str) -> None:
        self._kube = client
        self._writer = writer
        self._writes = itertools.count(1)

    async def read(self, namespace: str, name: str) -> Incident:
        """Return the Incident as it is stored now. Raises `Gone`, or `kube.Unavailable`."""
        try:
            return Incident.model_validate(await self._kube.get(paths.incidents(namespace, name)))
        except kube.NotFound as error:
            raise Gone(name) from error

    async def store(self, incident: Incident, status: IncidentStatus) -> Incident:
        """Store a status over exactly the version that was read, and return the Incident with its new version.

        Raises `Superseded` when that version is no longer the newest, `Gone`, or `kube.Unavailable` when it is
        certain that nothing was stored. When the reply was lost the Incident is read, and our own mark looked for.
        """
        marked = status.model_copy(update={"written_by": f"{self._writer}/{next(self._writes)}"})
        try:
            answer = await self._kube.json_patch(_path(incident), _operations(incident, marked))
        except kube.NotFound as error:
            raise Gone(incident.metadata.name) from error
        except kube.Conflict as error:
            raise Superseded(incident.metadata.name) from error
        except kube.Unavailable as error:
            if not error.sent:
                raise
            return await self._look_for(incident, marked, error)
        return Incident.model_validate(answer)

    async def _look_for(self, incident: Incident, marked: IncidentStatus, lost: kube.Unavailable) -> Incident:
        found = await self.read(incident.metadata.namespace, incident.metadata.name)
        if found.metadata.uid != incident.metadata.uid:
            raise Gone(incident.metadata.name)
        if found.status.written_by == marked.written_by:
            return found
        if found.metadata.resource_version == incident.metadata.resource_version:
            raise kube.Unavailable(0, "NotStored", "the status was not stored", sent=False) from lost
        raise Superseded(incident.metadata.name) from lost


def _path(incident: Incident) -> str:
    return paths.incidents(incident.metadata.namespace, incident.metadata.name, "status")


def _operations(incident: Incident, status: IncidentStatus) -> Sequence[Json]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": incident.metadata.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": incident.metadata.resource_version},
        {"op": "add", "path": "/status", "value": status.to_json()},
    ]
