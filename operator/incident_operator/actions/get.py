"""`get`: reads one Kubernetes object of the Incident's namespace by name, or several by labels (effect: read). Never Secrets."""

from collections.abc import AsyncIterator, Iterator
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
    if spec.name is None and not spec.selector:
        raise Unusable("get needs a name, or a selector with at least one label")
    if spec.name is not None and (spec.selector or not spec.name):
        raise Unusable("get takes either a name or a selector")
    served = await account.kind(spec.api_version, spec.kind)
    if (served.prefix, served.plural) == ("/api/v1", "secrets"):  # whatever they are called here
        raise Unusable("get does not read Secrets; a Connection hands credentials to the actions that need them")
    if spec.name is None:
        selector = {"labelSelector": workloads.selector(spec.selector or {})}
        kept, truncated = await _first(account.list(served.path(call.namespace), params=selector))
        more = ", cut" if truncated else ""
        return Succeeded({"items": kept, "truncated": truncated}, f"{len(kept)} of kind {spec.kind}{more}")
    try:
        path = served.path(call.namespace, spec.name)
    except ValueError as error:
        raise Unusable(str(error)) from error
    found = _readable(await account.get(path))
    size = _size(found)
    if size > _MAX_BYTES:
        message = f"{spec.kind} {spec.name} has {size} bytes; at most {_MAX_BYTES} are read"
        return Failed(reasons.RESPONSE_TOO_LARGE, message, retryable=False)
    return Succeeded({"object": found}, f"{spec.kind} {spec.name}")


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
