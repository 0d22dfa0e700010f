"""Which Runbook is in force for an Incident: the pinned revision, or the present one while nothing has been done.

Each version of a spec is kept in an immutable ControllerRevision, shared by its Incidents.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from incident_operator.api.incident import RUNBOOK_LABEL, Incident, incident_labels
from incident_operator.api.meta import ObjectKey, ObjectMeta, owner_reference, with_ending
from incident_operator.api.runbook import Runbook, RunbookSpec, RunbookStatus
from incident_operator.core import reasons
from incident_operator.core.action import Actions
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.machine.view import Blocked, Pinned
from incident_operator.core.outcomes import Json
from incident_operator.core.runbooks import reading, reviews
from incident_operator.core.runbooks.compiled import Compile, Compiled
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.kubernetes import apiserver, discovery, errors
from incident_operator.kubernetes.state import SPEC_BYTES

_KEPT = 256
"""Revisions remembered; they never change, so a remembered one needs no request."""
_LONGEST = 110
_SHORT = 16
"""Hexadecimal digits of the hash in a name of the version before, which Incidents from then still follow."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a revision holds, and the Runbook that it is."""

    data: Json
    runbook: Runbook


class Altered(Exception):
    """Under the revision's name is another content: somebody planted it there."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"ControllerRevision {revision} does not match the hash in its name; delete it")


def name(kept: Json) -> str:
    """Return the revision's name for its data, `<runbook>-<SHA-256>`: whoever plants another content cannot keep the name."""
    return with_ending(kept["metadata"]["name"], _digest(kept), _LONGEST)


def _digest(kept: Json) -> str:
    meta = kept["metadata"]
    content = json.dumps([meta["uid"], meta["annotations"], kept["spec"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _is_genuine(data: Any, revision: str) -> bool:
    try:
        whole = _digest(data)
        return revision.rpartition("-")[2] in (whole, whole[:_SHORT])
    except (KeyError, TypeError, RecursionError):  # what we keep is never nested that deep
        return False


class Revisions:
    """Creates and reads ControllerRevisions."""

    def __init__(self, client: apiserver.Kube) -> None:
        self._kube = client
        self._known: LRUCache[ObjectKey, _Kept] = LRUCache(_KEPT)
        self._newest: LRUCache[ObjectKey, tuple[str, Json]] = LRUCache(_KEPT)
        """Of each Runbook: the revision of its present version, and its spec."""

    async def keep(self, runbook: Runbook) -> str:
        """Make sure that this version of the Runbook is kept, and return its name.

        Raises `Altered` where something else is kept under that name: a name alone is never believed.
        """
        meta, wrote = runbook.metadata, reviews.kept(reviews.of(runbook))
        kept = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "annotations": wrote}
        data = {"metadata": kept, "spec": runbook.spec.to_json()}
        revision = name(data)
        key = ObjectKey(runbook.metadata.namespace, revision)
        known = self._known.get(key)
        stored = known.data if known is not None else await self._create(runbook, revision, data)
        if stored != data:
            raise Altered(revision)
        if known is None:
            self._known.put(key, _Kept(data, Runbook.model_validate(data)))
        self._newest.put(ObjectKey(key.namespace, runbook.metadata.name), (revision, data["spec"]))
        return revision

    def is_outdated(self, namespace: str, runbook: str, revision: str) -> bool:
        """Tell whether the Runbook's present version, where this process has seen it, says something else than a revision."""
        newest, spec = self._newest.get(ObjectKey(namespace, runbook)) or (revision, None)
        kept = self._known.get(ObjectKey(namespace, revision))
        return newest != revision and (kept is None or kept.data["spec"] != spec)

    async def _create(self, runbook: Runbook, revision: str, data: Json) -> Json:
        """Create the revision, and return what is kept under its name, which another process may have created."""
        meta, namespace = runbook.metadata, runbook.metadata.namespace
        labels = incident_labels({RUNBOOK_LABEL: meta.name})
        owners = [owner_reference("Runbook", meta.name, meta.uid)]
        body = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": revision, "namespace": namespace, "labels": labels, "ownerReferences": owners},
            "revision": meta.generation,
            "data": data,
        }
        try:
            await self._kube.create(discovery.controllerrevisions(namespace), body)
        except apiserver.AlreadyExists:
            return (await self._kube.get(discovery.controllerrevisions(namespace, revision))).get("data")
        return data

    async def read(self, namespace: str, revision: str) -> Runbook | None:
        """Return the Runbook as it was pinned, its editors of then included; None where the revision is gone or altered."""
        known = self._known.get(ObjectKey(namespace, revision))
        if known is not None:
            return known.runbook
        try:
            found = await self._kube.get(discovery.controllerrevisions(namespace, revision))
        except apiserver.NotFound:
            return None
        if not _is_genuine(found.get("data"), revision):
            _log.error(
                "A ControllerRevision does not match the hash in its name; it is not used",
                namespace=namespace,
                name=revision,
            )
            return None
        runbook = Runbook.model_validate(found["data"])
        self._known.put(ObjectKey(namespace, revision), _Kept(found["data"], runbook))
        return runbook


_KEPT_BYTES = 8 * 1024 * 1024
"""Of all compiled Runbooks that are kept, as `_weight` counts them; they take several times as much."""
_PART_BYTES = 32
"""What a part of an expression counts beside the spec that it stands in."""
_MOST_UNDECODED = 4 * reading.SPEC_BYTES
"""Bytes of a spec as the apiserver writes it that are still decoded, so that its size can be told as for `check`."""
_LOOKED_AT = 20
"""Alerts of an Incident without a Runbook that are compared with the Runbooks of other namespaces."""
_DEEPEST = 1000
"""Levels of JSON that are still decoded of a Runbook, so that it can be told where it is too deep."""


class _Parts(msgspec.Struct):
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"{}")


_PARTS = msgspec.json.Decoder(_Parts)


@dataclass(frozen=True, slots=True)
class _Known:
    """A Runbook as it was when it was last read whole."""

    uid: str
    version: str
    pinned: Pinned


class Runbooks:
    """Finds and compiles Runbooks; a version is compiled once.

    Whether a known version is still the present one is asked anew for every Incident that begins. The Connections that it
    names are looked at again when the readiness of the Runbook is; a step reads its own Connection when it runs.
    """

    def __init__(
        self,
        client: apiserver.Kube,
        revisions: Revisions,
        actions: Actions,
        compile_runbook: Compile,
        elsewhere: Callable[[Mapping[str, str]], str] = lambda _: "",
    ) -> None:
        """`actions` are those there are, and `compile_runbook` compiles a Runbook with them.

        `elsewhere` tells which Runbooks match an alert with these labels but for its namespace, and what helps.
        """
        self._kube = client
        self._actions = actions
        self._compile_runbook = compile_runbook
        self._elsewhere = elsewhere
        self._revisions = revisions
        self._pins: LRUCache[ObjectKey, Pinned] = LRUCache(_KEPT, _KEPT_BYTES)
        self._present: LRUCache[ObjectKey, _Known] = LRUCache(_KEPT, _KEPT_BYTES)
        self._reading: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        """Held while a Runbook is read whole, so that a storm of new Incidents reads it once."""

    async def in_force(self, incident: Incident) -> Pinned | Blocked:
        """Return the Runbook that the Incident follows, or why there is none. Raises `kube.Unavailable`."""
        if incident.unread_bytes:
            told = (
                f"Its spec has {incident.unread_bytes} bytes, and at most {SPEC_BYTES} are allowed; nothing was done."
            )
            return Blocked(reasons.INCIDENT_TOO_LARGE, told)
        if incident.status.runbook_revision:
            return await self._pinned(incident)
        if incident.spec.runbook_ref is None:
            return Blocked(reasons.NO_RUNBOOK, self._no_runbook(incident))
        namespace, name = incident.metadata.namespace, incident.spec.runbook_ref.name
        known = await self._known_present(namespace, name)
        if known is not None:
            return known
        async with self._reading.setdefault(ObjectKey(namespace, name), asyncio.Lock()):
            return await self._known_present(namespace, name) or await self._read_present(namespace, name)

    def _no_runbook(self, incident: Incident) -> str:
        spec = incident.spec
        name = spec.common_labels.get("alertname", "this alert")
        told = (self._elsewhere(spec.labels_of(alert)) for alert in spec.alerts[:_LOOKED_AT])
        helps = next(filter(None, told), "Its labels are in spec.commonLabels.")
        return f"No Runbook takes {name}; nothing was done. {helps}"

    async def read(self, namespace: str, name: str) -> Runbook | Malformed | None:
        """Return a Runbook as it is stored now, or what keeps it from being read; None where there is none."""
        try:
            return _runbook(
                discovery.runbooks(namespace, name), await self._kube.text(discovery.runbooks(namespace, name))
            )
        except errors.Unreadable as error:
            problem = Problem("spec", str(error))
            return Malformed(ObjectMeta(name=name, namespace=namespace), RunbookStatus(), problem)
        except apiserver.NotFound:
            return None

    async def compile(self, runbook: Runbook) -> Compiled | tuple[Problem, ...]:
        """Return the Runbook ready to run, or all that is wrong with it, its Connections included.

        One that is not there is not wrong with it: it may be what the alert is about, and the other steps run.
        """
        namespace = runbook.metadata.namespace
        self._present.drop(ObjectKey(namespace, runbook.metadata.name))
        # only what it names: a namespace may have any number of them, and write as much beside each
        types = {name: await self._type(namespace, name) for name in self.connections_of(runbook.spec)}
        return self._compile_runbook(runbook, types)

    def connections_of(self, spec: RunbookSpec) -> frozenset[str]:
        """Return the names of the Connections that a Runbook's steps use."""
        return reading.connections_of(spec, self._actions)

    async def _type(self, namespace: str, connection: str) -> str | None:
        try:
            return str((await self._kube.get(discovery.connections(namespace, connection)))["spec"]["type"])
        except apiserver.NotFound:
            return None

    async def _known_present(self, namespace: str, name: str) -> Pinned | None:
        known = self._present.get(ObjectKey(namespace, name))
        if known is not None and await self._is_current(known, namespace, name):
            return known.pinned
        return None

    async def _read_present(self, namespace: str, name: str) -> Pinned | Blocked:
        runbook = await self.read(namespace, name)
        if runbook is None:
            return Blocked(reasons.RUNBOOK_NOT_FOUND, f"Runbook {name} does not exist; nothing was done.")
        if isinstance(runbook, Malformed):
            return _not_ready(name, runbook.problem)
        return await self._begin(runbook)

    async def _is_current(self, known: _Known, namespace: str, name: str) -> bool:
        try:
            found = (await self._kube.metadata(discovery.runbooks(namespace, name)))["metadata"]
        except apiserver.NotFound:
            return False
        return bool(found["uid"] == known.uid and found["resourceVersion"] == known.version)

    async def _begin(self, runbook: Runbook) -> Pinned | Blocked:
        name = runbook.metadata.name
        if runbook.spec.suspend:
            return Blocked(reasons.RUNBOOK_SUSPENDED, f"Runbook {name} is suspended (spec.suspend); nothing was done.")
        compiled = await self.compile(runbook)
        if not isinstance(compiled, Compiled):
            return _not_ready(name, compiled[0])
        try:
            revision = await self._revisions.keep(runbook)
        except Altered as error:
            return Blocked(reasons.RUNBOOK_NOT_READY, f"Runbook {name} is not ready: {error}; nothing was done.")
        namespace, pinned = runbook.metadata.namespace, Pinned(compiled, revision, reviews.of(runbook))
        weight = _weight(compiled)
        self._pins.put(ObjectKey(namespace, revision), pinned, weight)
        known = _Known(runbook.metadata.uid, runbook.metadata.resource_version, pinned)
        self._present.put(ObjectKey(namespace, name), known, weight)
        return pinned

    async def _pinned(self, incident: Incident) -> Pinned | Blocked:
        found, ref = await self._kept(incident), incident.spec.runbook_ref
        if isinstance(found, Blocked) or ref is None:
            return found
        edited = self._revisions.is_outdated(incident.metadata.namespace, ref.name, found.revision)
        return replace(found, edited=True) if edited else found

    async def _kept(self, incident: Incident) -> Pinned | Blocked:
        namespace, revision = incident.metadata.namespace, incident.status.runbook_revision
        known = self._pins.get(ObjectKey(namespace, revision))
        if known is not None:
            return known
        runbook = await self._revisions.read(namespace, revision)
        if runbook is None:
            return Blocked(
                reasons.RUNBOOK_NOT_FOUND,
                f"ControllerRevision {revision}, the version of the Runbook that this Incident follows, was deleted or changed.",
            )
        compiled = self._compile_runbook(runbook, None)
        if not isinstance(compiled, Compiled):
            return Blocked(reasons.RUNBOOK_NOT_READY, f"Revision {revision}: {compiled[0].path}: {compiled[0].message}")
        pinned = Pinned(compiled, revision, reviews.of_kept(runbook.metadata.annotations))
        self._pins.put(ObjectKey(namespace, revision), pinned, _weight(compiled))
        return pinned


def _runbook(path: str, text: bytes) -> Runbook | Malformed:
    """Return the Runbook in an answer; a spec that is far over budget is not even decoded. Raises `api_errors.Unreadable`."""
    try:
        parts = _PARTS.decode(text) if len(text) > _MOST_UNDECODED else _Parts()
    except (msgspec.MsgspecError, RecursionError):
        parts = _Parts()  # nested without end, and told below
    size = len(bytes(parts.spec))
    if size <= _MOST_UNDECODED:
        return reading.runbook_of(errors.decoded("GET", path, text, depth=_DEEPEST))
    beside = {"metadata": parts.metadata, "status": parts.status}
    rest = {name: errors.decoded("GET", path, bytes(part), depth=_DEEPEST) for name, part in beside.items()}
    return reading.malformed(rest, reading.over_budget(size))


def _weight(compiled: Compiled) -> int:
    return len(compiled.spec.to_bytes()) + _PART_BYTES * compiled.parts


def _not_ready(name: str, problem: Problem) -> Blocked:
    told = f"Runbook {name} is not ready: {problem.path}: {problem.message}; nothing was done."
    return Blocked(reasons.RUNBOOK_NOT_READY, told)
