"""`get`: reads Kubernetes objects of the Incident's namespace (effect: read). Never Secrets.

The account needs: get (by name) or list (by selector) on the kind.
"""

from collections.abc import Mapping

import orjson

from incident_operator.actions import kube_failures, workloads
from incident_operator.actions.kube_failures import Unusable
from incident_operator.actions.protocol import Call, Preview
from incident_operator.api import actions
from incident_operator.clients import api_errors
from incident_operator.clients.cluster import Account, Cluster
from incident_operator.clients.discovery import ServedKind
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Json, Outcome, Succeeded

_MAX_ITEMS = 500
_MAX_BYTES = 192 * 1024
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Get:
    """Reads one object by name, or several by their labels."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, call: Call) -> Outcome:
        """Return `{object}` or `{items, truncated}` without what only the apiserver needs (managed fields)."""
        spec = _spec(call)
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            _check(spec)
            if spec.name is not None:
                return await _one(account, call, spec, spec.name)
            return await _several(account, call, spec, spec.selector or {})
        except (api_errors.ApiError, Unusable) as error:
            return kube_failures.failed(error, call)

    async def preview(self, call: Call) -> Preview:
        """Say what would be read."""
        spec = _spec(call)
        which = spec.name if spec.name is not None else f"-l {workloads.selector(spec.selector or {})}"
        return Preview(f"get {spec.kind} {which} in {call.namespace}")


async def _one(account: Account, call: Call, spec: actions.Get, name: str) -> Outcome:
    served = await _served(account, spec)
    found = _readable(await account.get(_path(served, call.namespace, name)))
    size = len(orjson.dumps(found))
    if size > _MAX_BYTES:
        message = f"{spec.kind} {name} has {size} bytes; at most {_MAX_BYTES} are read"
        return Failed(reasons.RESPONSE_TOO_LARGE, message, retryable=False)
    return Succeeded({"object": found}, f"{spec.kind} {name}")


async def _several(account: Account, call: Call, spec: actions.Get, labels: Mapping[str, str]) -> Outcome:
    served = await _served(account, spec)
    query = {"labelSelector": workloads.selector(labels), "limit": str(_MAX_ITEMS)}
    page = await account.get(served.path(call.namespace), params=query)
    found = [_readable(item) for item in page.get("items") or []]
    kept = _fitting(found)
    truncated = len(kept) < len(found) or bool(page["metadata"].get("continue"))
    more = ", cut" if truncated else ""
    return Succeeded({"items": kept, "truncated": truncated}, f"{len(kept)} of kind {spec.kind}{more}")


async def _served(account: Account, spec: actions.Get) -> ServedKind:
    """Return how the kind is served. Raises `Unusable` for Secrets, whatever they are called here."""
    served = await account.kind(spec.api_version, spec.kind)
    if (served.prefix, served.plural) == ("/api/v1", "secrets"):
        raise Unusable("get does not read Secrets; a Connection hands credentials to the actions that need them")
    return served


def _check(spec: actions.Get) -> None:
    """Raise `Unusable` for a question that names nothing, or everything."""
    if spec.name is None and not spec.selector:
        raise Unusable("get needs a name, or a selector with at least one label")
    if spec.name is not None and (spec.selector or not spec.name):
        raise Unusable("get takes either a name or a selector")


def _path(served: ServedKind, namespace: str, name: str) -> str:
    try:
        return served.path(namespace, name)
    except ValueError as error:
        raise Unusable(str(error)) from error


def _readable(found: Json) -> Json:
    meta = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != _LAST_APPLIED}
    return {**found, "metadata": meta}


def _fitting(items: list[Json]) -> list[Json]:
    left = _MAX_BYTES
    for position, item in enumerate(items):
        left -= len(orjson.dumps(item))
        if left < 0:
            return items[:position]
    return items


def _spec(call: Call) -> actions.Get:
    if not isinstance(call.spec, actions.Get):
        raise TypeError(f"get was called with {type(call.spec).__name__}")
    return call.spec
