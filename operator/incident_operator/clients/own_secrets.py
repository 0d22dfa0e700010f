"""Secrets that the operator makes for itself in its own namespace: once, by name, and never over what is there."""

import base64
from collections.abc import Mapping
from contextlib import suppress

from incident_operator.api.annotations import labels
from incident_operator.clients import kube, paths
from incident_operator.core.outcomes import Json

_TRIES = 5
_LABELS = labels({})
"""Nothing that names a release: what applies the chart would take the Secret for a leftover of it, and delete it."""


class SecretError(Exception):
    """An own Secret holds what cannot be used; the message names it, and no value."""


async def made_once(client: kube.Kube, namespace: str, name: str, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return all that the Secret holds, by key. Where it, or a key of `values`, is missing, that is stored first.

    What is there is never overwritten: of processes that begin together, all return the same. Raises `kube.Forbidden`
    with the rights that are missing, or another `ApiError`.
    """
    try:
        for _ in range(_TRIES):
            with suppress(kube.AlreadyExists, kube.Conflict):  # somebody else was quicker: theirs counts
                return _held(await _completed(client, namespace, name, values))
    except kube.Forbidden as error:
        raise _without_rights(namespace, name, error) from error
    raise kube.Conflict(409, "Conflict", f"Secret {namespace}/{name} changes all the time")


async def read(client: kube.Kube, namespace: str, name: str) -> Mapping[str, bytes]:
    """Return what the Secret holds, by key. Raises `kube.NotFound`, or another `ApiError` as `made_once` does."""
    try:
        return _held(await client.get(paths.secrets(namespace, name)))
    except kube.Forbidden as error:
        raise _without_rights(namespace, name, error) from error


async def _completed(client: kube.Kube, namespace: str, name: str, values: Mapping[str, bytes]) -> Json:
    try:
        stored = await client.get(paths.secrets(namespace, name))
    except kube.NotFound:
        return await _create(client, namespace, name, values)
    missing = {key: value for key, value in values.items() if key not in (stored.get("data") or {})}
    return await _add(client, namespace, stored, missing) if missing else stored


async def _create(client: kube.Kube, namespace: str, name: str, values: Mapping[str, bytes]) -> Json:
    meta = {"name": name, "namespace": namespace, "labels": _LABELS}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": _encoded(values)}
    return await client.create(paths.secrets(namespace), body)


async def _add(client: kube.Kube, namespace: str, stored: Json, missing: Mapping[str, bytes]) -> Json:
    """Add keys to exactly the version that was read."""
    data = {**(stored.get("data") or {}), **_encoded(missing)}
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": stored["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/data", "value": data},
    ]
    return await client.json_patch(paths.secrets(namespace, stored["metadata"]["name"]), operations)


def _held(stored: Json) -> Mapping[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (stored.get("data") or {}).items()}


def _encoded(values: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


def _without_rights(namespace: str, name: str, error: kube.Forbidden) -> kube.Forbidden:
    needed = f"a Role in namespace {namespace} has to allow create on secrets, and get and patch on the Secret {name}"
    return kube.Forbidden(error.status, error.reason, f"{error}; {needed}, as the chart's Role …-secrets does")
