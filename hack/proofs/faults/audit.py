"""Reads the apiserver's audit log as it grows: who changed an Incident, when, and what it was afterwards."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from proofs.faults.history import Moment

_WRITES = frozenset({"create", "update", "patch"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A change of an Incident that was applied."""

    by: str
    name: str
    subresource: str
    verb: str
    moment: Moment
    after: Mapping[str, Any]
    """The Incident as it was then."""


class AuditLog:
    """Follows the log; entries are kept per namespace until they are taken away."""

    def __init__(self, path: Path, namespaces: Iterable[str]) -> None:
        self._path = path
        self._marks = tuple(f'"namespace":"{namespace}"'.encode() for namespace in namespaces)
        self._kept: dict[str, list[Entry]] = defaultdict(list)
        self._file: BinaryIO = path.open("rb")
        self._file.seek(0, 2)
        self._rest = b""

    def close(self) -> None:
        """Stop following."""
        self._file.close()

    def entries(self, namespace: str) -> list[Entry]:
        """Return what has been written since the namespace was last cleared, oldest first by etcd's count."""
        self._read()
        return list(_whole(sorted(self._kept[namespace], key=lambda entry: entry.moment.revision)))

    def clear(self, namespace: str) -> None:
        """Forget what was written so far."""
        self._read()
        self._kept[namespace].clear()

    def _read(self) -> None:
        while chunk := self._file.read():
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for line in whole:
                self._take(line)
        if self._path.stat().st_ino != _inode(self._file):  # it was rotated; what is left of the old one was read
            self._file.close()
            self._file = self._path.open("rb")
            self._rest = b""
            self._read()

    def _take(self, line: bytes) -> None:
        if b'"resource":"incidents"' not in line or not any(mark in line for mark in self._marks):
            return
        found = orjson.loads(line)
        if _is_applied(found):
            self._kept[found["objectRef"]["namespace"]].append(_entry(found))


def seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _is_applied(found: Mapping[str, Any]) -> bool:
    written = found["verb"] in _WRITES and found["objectRef"].get("apiGroup") == "incidents.dev"
    return written and found["responseStatus"]["code"] < 300 and "dryRun=" not in found["requestURI"]


def _whole(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Complete what was answered as metadata alone: a patch of the status leaves the spec as it was."""
    specs: dict[str, Any] = {}
    for entry in entries:
        spec = entry.after.get("spec") or specs.get(entry.name, {})
        specs[entry.name] = spec
        yield replace(entry, after={**entry.after, "spec": spec})


def _after(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the Incident as it was answered; where only metadata was asked for, with the status that was sent."""
    answered: Mapping[str, Any] = found["responseObject"]
    if answered["kind"] != "PartialObjectMetadata":
        return answered
    changes = found["requestObject"]
    sent = [change["value"] for change in changes if change["path"] == "/status"] if isinstance(changes, list) else []
    return {"metadata": answered["metadata"], **({"status": sent[-1]} if sent else {})}


def _entry(found: Mapping[str, Any]) -> Entry:
    after = _after(found)
    moment = Moment(seconds(found["requestReceivedTimestamp"]), int(after["metadata"]["resourceVersion"]))
    reference = found["objectRef"]
    name = after["metadata"]["name"]
    return Entry(found["user"]["username"], name, reference.get("subresource", ""), found["verb"], moment, after)


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
