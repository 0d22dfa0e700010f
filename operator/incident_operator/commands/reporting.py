"""`report`: renders an Incident's report from its status, which only the operator can write.

ConfigMaps beside it can be changed by whoever may edit them: each is held against its digest in the status, and a text that differs
is told of, never printed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from incident_operator import logs
from incident_operator.api.incident import Incident
from incident_operator.api.runbook import RunbookSpec
from incident_operator.core import texts
from incident_operator.core.status import report as reports
from incident_operator.engine.evidence import REPORT_KEY, data_key
from incident_operator.engine.runbooks import Revisions
from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.state import SecretError
from incident_operator.receiver.auth import TokenError
from incident_operator.receiver.server import CertificateError

EXPECTED = (
    accesses.AccessError,
    apiserver.ApiError,
    SecretError,
    TokenError,
    CertificateError,
    OSError,
)
"""What can be wrong with what we were given; anything else is a defect and shows its traceback."""


UNREAD = "not compared, since this account may not read it"
CHANGED, GONE = "changed since it was recorded", "gone since it was recorded"


def printed(
    name: str, namespace: str | None, kubeconfig: str | None, context: str | None, *, digests: bool = False
) -> str:
    """Return the report, from a loop of its own. Raises as `report` does."""
    logs.configure("auto")
    return asyncio.run(report(name, namespace, kubeconfig, context, digests=digests))


async def report(
    name: str, namespace: str | None, kubeconfig: str | None, context: str | None, *, digests: bool = False
) -> str:
    """Return the report as Markdown, fit for a terminal; `digests` adds those of plans and evidence.

    Raises `AccessError` or `ApiError`, and `ValueError` for what is not a name.
    """
    access = await accesses.load(kubeconfig, context)
    where = namespace or access.namespace
    async with apiserver.Kube(access) as client:
        incident = Incident.model_validate(await client.get(discovery.incidents(where, name)))
        runbook = await _runbook(client, incident)
        differs = await _differing_evidence(client, incident)
        told = [
            reports.markdown(incident, runbook, differs, digests=digests),
            *await _differing_report(client, incident),
        ]
    return texts.visible_page("\n".join(told))


async def _differing_evidence(client: apiserver.Kube, incident: Incident) -> Mapping[str, str]:
    """Return what became of each step's evidence that is not as it was recorded."""
    kept = [record for record in incident.status.steps if record.evidence and record.evidence_in]
    names = dict.fromkeys(record.evidence_in or "" for record in kept)
    found = {name: await _data(client, incident, name) for name in names}
    told = {r.name: _differs(found[r.evidence_in or ""], data_key(r.name), r.evidence) for r in kept}
    return {step: words for step, words in told.items() if words}


async def _differing_report(client: apiserver.Kube, incident: Incident) -> list[str]:
    """Return a note where the stored report is not as it was recorded."""
    stored = incident.status.report
    if stored is None:
        return []
    words = _differs(await _data(client, incident, stored.config_map), REPORT_KEY, stored.digest)
    if words not in {CHANGED, GONE}:
        return []
    return [f"The report in ConfigMap `{stored.config_map}` is {words}; this one is from the Incident itself.\n"]


def _differs(data: Mapping[str, Any] | None, key: str, digest: str | None) -> str:
    if data is None:
        return UNREAD
    text = data.get(key)
    if not isinstance(text, str):
        return GONE
    return "" if texts.digest(text) == digest else CHANGED


async def _data(client: apiserver.Kube, incident: Incident, name: str) -> Mapping[str, Any] | None:
    """Return what a ConfigMap holds, nothing where it is gone; None where the reader may not look."""
    try:
        found = await client.get(discovery.configmaps(incident.metadata.namespace, name))
    except apiserver.NotFound:
        return {}
    except apiserver.Forbidden:
        return None
    data = found.get("data")
    return data if isinstance(data, dict) else {}


async def _runbook(client: apiserver.Kube, incident: Incident) -> RunbookSpec | None:
    revision = incident.status.runbook_revision
    if not revision:
        return None
    try:
        found = await Revisions(client).read(incident.metadata.namespace, revision)
    except apiserver.Forbidden:
        return None
    return found.spec if found is not None else None
