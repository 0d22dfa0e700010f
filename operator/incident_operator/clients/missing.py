"""Whether what a Runbook names is there: its account, and the workloads of its steps. What cannot be told is not told as missing."""

from collections.abc import Iterable

from incident_operator.api.meta import ObjectKey
from incident_operator.clients import api_errors, kube, paths

MOST = 50
"""Workloads of one Runbook that are looked for."""


async def account(client: kube.Kube, namespace: str, name: str) -> str:
    """Say that a service account does not exist; empty where it does, or nobody may tell. Raises `ApiError`."""
    path = paths.serviceaccounts(namespace, name)
    # as itself where the operator may not look: an account that is there may have been granted it
    for reader in (client, client.acting_as(namespace, name)):
        found = await _is_there(reader, path)
        if found is False:
            return f"there is no ServiceAccount {name} in {namespace}: kubectl get serviceaccounts -n {namespace}"
        if found:
            return ""
    return ""


async def workloads(client: kube.Kube, runbook_account: ObjectKey, wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Return those names of (name, path) whose objects do not exist, as far as the account may tell. Raises `ApiError`."""
    reader = client.acting_as(*runbook_account)
    listed = dict(list(wanted)[:MOST])
    return [name for name, path in listed.items() if await _is_there(reader, path) is False]


async def _is_there(reader: kube.Kube, path: str) -> bool | None:
    """Return whether an object exists; None where the reader may not tell."""
    try:
        await reader.metadata(path)
    except (api_errors.Forbidden, api_errors.NotServed):
        return None
    except api_errors.NotFound:
        return False
    return True
