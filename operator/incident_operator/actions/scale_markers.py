"""The annotation in which a workload remembers who scaled it: what makes a scale happen once. Pure.

It holds the newest few, since another Incident may scale the same workload between a crash and the look afterwards.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from incident_operator.api.meta import GROUP
from incident_operator.core import json_depth
from incident_operator.core.outcomes import Json

ANNOTATION = f"{GROUP}/scaled-by"
_KEPT = 10
_POINTER = f"/metadata/annotations/{ANNOTATION.replace('/', '~1')}"


@dataclass(frozen=True, slots=True)
class Marker:
    """One scaling: by which step of which Incident, from what to what."""

    key: str
    incident: str
    step: str
    before: int
    after: int


def find(workload: Json, key: str) -> Marker | None:
    """Return the marker that a step key left on a workload."""
    return next((marker for marker in _all(workload) if marker.key == key), None)


def added(workload: Json, marker: Marker) -> Sequence[Mapping[str, Any]]:
    """Return the JSON patch operations that add a marker."""
    markers = [*_all(workload), marker][-_KEPT:]
    value = json.dumps([asdict(one) for one in markers], separators=(",", ":"))
    if workload["metadata"].get("annotations"):
        return [{"op": "add", "path": _POINTER, "value": value}]
    return [{"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: value}}]


def _all(workload: Json) -> Sequence[Marker]:
    """Return the markers, oldest first; what somebody else wrote into the annotation counts as none."""
    text = (workload["metadata"].get("annotations") or {}).get(ANNOTATION, "[]")
    try:
        markers = [Marker(**entry) for entry in json_depth.loads(text)]
    except (ValueError, TypeError):
        return []
    return markers if all(map(_is_whole, markers)) else []


def _is_whole(marker: Marker) -> bool:
    numbers, names = (marker.before, marker.after), (marker.key, marker.incident, marker.step)
    return all(type(number) is int for number in numbers) and all(isinstance(name, str) for name in names)
