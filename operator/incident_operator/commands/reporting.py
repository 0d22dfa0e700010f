"""Fetches an Incident's report, or renders it from what is known so far."""

from incident_operator.api.incident import CLOSED_PHASES, Incident
from incident_operator.api.runbook import RunbookSpec
from incident_operator.clients import access as accesses
from incident_operator.clients import kube, paths
from incident_operator.core.status import report as reports
from incident_operator.engine.revisions import Revisions


async def report(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> str:
    """Return the report as Markdown. Raises `AccessError` or `ApiError`, and `ValueError` for what is no name."""
    access = await accesses.load(kubeconfig, context)
    where = namespace or access.namespace
    async with kube.Kube(access) as client:
        incident = Incident.model_validate(await client.get(paths.incidents(where, name)))
        if incident.status.phase in CLOSED_PHASES and (stored := await _stored(client, where, name)):
            return stored
        return reports.markdown(incident, await _runbook(client, incident))


async def _stored(client: kube.Kube, namespace: str, name: str) -> str:
    try:
        found = await client.get(paths.configmaps(namespace, f"{name}-report"))
    except (kube.NotFound, kube.Forbidden):
        return ""
    return str(found.get("data", {}).get("report.md", ""))


async def _runbook(client: kube.Kube, incident: Incident) -> RunbookSpec | None:
    revision = incident.status.runbook_revision
    if not revision:
        return None
    try:
        found = await Revisions(client).read(incident.metadata.namespace, revision)
    except kube.Forbidden:
        return None
    return found.spec if found is not None else None
