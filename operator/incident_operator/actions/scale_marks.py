"""The marks by which a workload remembers the scalings that were done to it, the newest ten. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from incident_operator.actions import kube_patches
from incident_operator.api.meta import GROUP
from incident_operator.core.outcomes import Json

SCALED_BY = f"{GROUP}/scaled-by"
"""The annotation in which a workload remembers who scaled it."""
_KEPT = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """One scaling: by which step of which Incident, from what to what."""

    key: str
    incident: str
    step: str
    before: int
    after: int


def added(workload: Json, mark: Mark) -> str:
    """Return the annotation's text with one mark more."""
    marks = [*(_marks(workload) or ()), mark][-_KEPT:]
    return json.dumps([asdict(one) for one in marks], separators=(",", ":"))


def find(workload: Json, key: str) -> Mark | None:
    """Return the mark with a key, if it is there."""
    return next((mark for mark in _marks(workload) or () if mark.key == key), None)


def _marks(workload: Json) -> Sequence[Mark] | None:
    """Return the marks, oldest first; None where somebody else wrote something into the annotation."""
    text = kube_patches.annotations(workload).get(SCALED_BY, "[]")
    try:
        return [_mark(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return None


def _mark(entry: Mapping[str, Any]) -> Mark:
    mark = Mark(**entry)
    kinds = (type(entry["key"]), type(entry["before"]), type(entry["after"]))
    if kinds != (str, int, int):
        raise TypeError("a mark has a key and two numbers of replicas")
    return mark
