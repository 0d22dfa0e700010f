"""What the fake apiserver keeps: objects with uid, resourceVersion and generation, and the rules for changing them.

Pure state, no HTTP. A rule that is not here (defaulting, validation, admission, garbage collection) the fake does not have.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.kubernetes import json_patch

Object = dict[str, Any]

MAX_DATA = 1024 * 1024
"""Bytes of the texts in a ConfigMap, as in `ValidateConfigMap` of kubernetes/pkg/apis/core/validation."""
CREATED = "2025-10-21T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is served."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    subresources: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As error messages name it, e.g. `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class Where:
    """The address of an object; an empty name is that of a collection."""

    kind: Kind
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch may tell of."""

    version: int
    where: Where
    old: Object | None
    new: Object | None


class RefusedError(Exception):
    """An answer other than success: HTTP status, `Status.reason`, message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Store:
    """The objects. Every read gives a copy, so that nothing changes behind the version counter."""

    def __init__(self) -> None:
        self._objects: dict[Where, Object] = {}
        self.version = 100
        """The resourceVersion of the newest change."""
        self.changes: list[Change] = []
        self.listeners: list[Callable[[Change], None]] = []
        self._born = 0

    def get(self, where: Where) -> Object:
        try:
            return copy.deepcopy(self._objects[where])
        except KeyError:
            raise RefusedError(404, "NotFound", f'{where.kind.resource} "{where.name}" not found') from None

    def __contains__(self, where: Where) -> bool:
        return where in self._objects

    def list(self, where: Where) -> Iterator[Object]:
        for at in sorted(self._objects, key=lambda at: (at.namespace, at.name)):
            if at.kind == where.kind and where.namespace in {"", at.namespace}:
                yield copy.deepcopy(self._objects[at])

    def create(self, where: Where, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        made = self._born_of(where, body)
        at = Where(where.kind, where.namespace, made["metadata"]["name"])
        if at in self._objects:
            raise RefusedError(409, "AlreadyExists", f'{where.kind.resource} "{at.name}" already exists')
        return made if dry_run else self._keep(at, made)

    def change(
        self,
        where: Where,
        edit: Callable[[Object], Object],
        *,
        subresource: str = "",
        dry_run: bool = False,
        manager: str = "",
    ) -> Object:
        """Apply an edit to the live object; `edit` sees all of it, and what it may not touch is put back."""
        old = self.get(where)
        try:
            wanted = edit(copy.deepcopy(old))
        except json_patch.PatchError:
            message = "the server rejected our request due to an error in our request"
            raise RefusedError(422, "Invalid", message) from None
        _guard(where, old, wanted)
        new = _allowed(where.kind, subresource, old, wanted)
        if new == old:
            return old
        if manager and _replicas(new) != _replicas(old):
            new["metadata"]["managedFields"] = _owned_by(manager, new["metadata"].get("managedFields", []))
        return new if dry_run else self._keep(where, new)

    def delete(self, where: Where, preconditions: Mapping[str, str] | None = None) -> Object:
        gone = self.get(where)
        _guard(where, gone, {"metadata": preconditions or {}})
        if gone["metadata"].get("finalizers"):
            gone["metadata"].setdefault("deletionTimestamp", CREATED)
            return self._keep(where, gone)
        self.version += 1
        self._changed(where, self._objects.pop(where), None)
        return gone

    def _born_of(self, where: Where, body: Mapping[str, Any]) -> Object:
        made = copy.deepcopy(dict(body))
        meta = made.setdefault("metadata", {})
        self._born += 1
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{self._born:05d}"
        if not meta.get("name"):
            raise RefusedError(
                422, "Invalid", f'{where.kind.kind}.{where.kind.group} "" is invalid: metadata.name: Required'
            )
        if "status" in where.kind.subresources:
            made.pop("status", None)
        made |= {"apiVersion": where.kind.api_version, "kind": where.kind.kind}
        meta |= {"uid": f"00000000-0000-4000-8000-{self._born:012d}", "generation": 1, "creationTimestamp": CREATED}
        if where.namespace:
            meta["namespace"] = where.namespace
        return made

    def _keep(self, where: Where, made: Object) -> Object:
        _sized(where, made)
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        old = self._objects.get(where)
        if made["metadata"].get("deletionTimestamp") and not made["metadata"].get("finalizers"):
            self._objects.pop(where, None)
            self._changed(where, old, None)
            return made
        self._objects[where] = made
        self._changed(where, old, made)
        return copy.deepcopy(made)

    def _changed(self, where: Where, old: Object | None, new: Object | None) -> None:
        change = Change(self.version, where, old, new)
        self.changes.append(change)
        for listener in self.listeners:
            listener(change)


def _replicas(made: Object) -> Any:
    return (made.get("spec") or {}).get("replicas")


def _owned_by(manager: str, entries: list[Object]) -> list[Object]:
    """Return `managedFields` once a manager wrote other replicas: nobody else owns these any more. Of other fields none is told."""
    others = [copy.deepcopy(entry) for entry in entries if entry["manager"] != manager or entry.get("subresource")]
    for entry in others:
        entry["fieldsV1"].get("f:spec", {}).pop("f:replicas", None)
    fields = {"fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return [*others, {"manager": manager, "operation": "Update", "time": CREATED, **fields}]


def _guard(where: Where, old: Object, wanted: Object) -> None:
    """Refuse a write that names another version or identity of the object than the live one."""
    wanted_meta = wanted.get("metadata", {})
    if wanted_meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
        text = f"Precondition failed: UID in precondition: {wanted_meta['uid']}, UID in object meta: "
        raise _conflict(where, text + str(old["metadata"]["uid"]))
    version = wanted_meta.get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        text = "the object has been modified; please apply your changes to the latest version and try again"
        raise _conflict(where, text)


def _sized(where: Where, made: Object) -> None:
    if where.kind.kind != "ConfigMap":
        return
    if sum(len(text.encode()) for text in made.get("data", {}).values()) > MAX_DATA:
        why = f"[]: Too long: may not be more than {MAX_DATA} bytes"
        raise RefusedError(422, "Invalid", f'ConfigMap "{where.name}" is invalid: {why}')


def _conflict(where: Where, why: str) -> RefusedError:
    what = f'Operation cannot be fulfilled on {where.kind.resource} "{where.name}"'
    return RefusedError(409, "Conflict", f"{what}: {why}")


def _allowed(kind: Kind, subresource: str, old: Object, wanted: Object) -> Object:
    if subresource == "status":
        return {**_without_status(old), **({"status": wanted["status"]} if "status" in wanted else {})}
    if "status" in kind.subresources:
        wanted = {**_without_status(wanted), **({"status": old["status"]} if "status" in old else {})}
    fixed = ("uid", "resourceVersion", "generation", "creationTimestamp", "namespace", "name")
    wanted["metadata"] |= {key: old["metadata"][key] for key in fixed if key in old["metadata"]}
    if _content(wanted) != _content(old):
        wanted["metadata"]["generation"] += 1
    return wanted


def _without_status(made: Object) -> Object:
    return {key: value for key, value in made.items() if key != "status"}


def _content(made: Object) -> Object:
    return {key: value for key, value in made.items() if key not in {"metadata", "status"}}
