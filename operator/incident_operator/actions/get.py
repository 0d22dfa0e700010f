"""`get`: reads one Kubernetes object of the Incident's namespace by name, or several by labels (effect: read). Never Secrets."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, TypedDict

import orjson
from pydantic import ConfigDict, Field

from incident_operator.actions import workloads
from incident_operator.actions.clients import Clients
from incident_operator.api.meta import Model, exactly_one, rule, validations
from incident_operator.core import reasons
from incident_operator.core.action import Action, Call, Selector, Text
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import Effect, Failed, Json, Outcome, Succeeded, Unusable
from incident_operator.core.runbooks import draft
from incident_operator.kubernetes.accounts import Account
from incident_operator.kubernetes.discovery import ServedKind


class Get(Model):
    """Reads Kubernetes objects (effect: read)."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("way to find objects", ["name", "selector"]),
            rule(
                "self.apiVersion != 'v1' || self.kind != 'Secret'",
                "Secrets are never read into an Incident; name them in a Connection's secretRef",
            ),
        )
    )

    api_version: Annotated[str, Field(max_length=253)]
    """Of the objects, e.g. `apps/v1`."""
    kind: Annotated[str, Field(max_length=63)]
    """Of the objects, e.g. `Deployment`."""
    name: Annotated[Text | None, Take.NAME] = None
    """The object; either this or `selector`."""
    selector: Annotated[Selector | None, Take.LABEL] = None
    """Labels of the objects to read."""


class Result(TypedDict):
    """What `result` holds."""

    object: Annotated[dict[str, Any], "by `name`"]
    items: Annotated[list[dict[str, Any]], "by `selector`"]
    truncated: Annotated[bool, "by `selector`"]


def _wrong(spec: Get, path: str) -> Iterator[Problem]:
    yield from draft.one_of(path, {"name": spec.name, "selector": spec.selector})
    yield from draft.selects(path, spec.selector)


_MAX_ITEMS = 500
_MAX_BYTES = 192 * 1024
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def read(call: Call[Get], clients: Clients) -> Outcome:
    """Return `{object}` or `{items, truncated}` without what only the apiserver needs (managed fields)."""
    spec, account = call.spec, clients.account_of(call)
    _check(spec)
    if spec.name is not None:
        return await _one(account, call, spec.name)
    return await _several(account, call, spec.selector or {})


async def _one(account: Account, call: Call[Get], name: str) -> Outcome:
    kind, served = call.spec.kind, await _served(account, call.spec)
    found = _readable(await account.get(_path(served, call.namespace, name)))
    size = _size(found)
    if size > _MAX_BYTES:
        message = f"{kind} {name} has {size} bytes; at most {_MAX_BYTES} are read"
        return Failed(reasons.RESPONSE_TOO_LARGE, message, retryable=False)
    return Succeeded({"object": found}, f"{kind} {name}")


async def _several(account: Account, call: Call[Get], labels: Mapping[str, str]) -> Outcome:
    served = await _served(account, call.spec)
    listed = account.list(served.path(call.namespace), params={"labelSelector": workloads.selector(labels)})
    kept, truncated = await _first(listed)
    more = ", cut" if truncated else ""
    return Succeeded({"items": kept, "truncated": truncated}, f"{len(kept)} of kind {call.spec.kind}{more}")


async def _first(listed: AsyncIterator[Json]) -> tuple[list[Json], bool]:
    """Return the first objects that fit into a result, and whether there are more; no more of them are read."""
    kept: list[Json] = []
    left = _MAX_BYTES
    async for found in listed:
        item = _readable(found)
        left -= _size(item)
        if left < 0 or len(kept) == _MAX_ITEMS:
            return kept, True
        kept.append(item)
    return kept, False


async def _served(account: Account, spec: Get) -> ServedKind:
    """Return how the kind is served. Raises `Unusable` for Secrets, whatever they are called here."""
    served = await account.kind(spec.api_version, spec.kind)
    if (served.prefix, served.plural) == ("/api/v1", "secrets"):
        raise Unusable("get does not read Secrets; a Connection hands credentials to the actions that need them")
    return served


def _check(spec: Get) -> None:
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


def _size(found: Json) -> int:
    return len(orjson.dumps(found))


def _readable(found: Json) -> Json:
    meta = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != _LAST_APPLIED}
    return {**found, "metadata": meta}


ACTION = Action(
    "get", Get, Result, effect=Effect.READ, rights="get or list on the kind; never Secrets", checks=(_wrong,), read=read
)
