"""The baseline of a workload: the replicas that it had before Incidents scaled it, and which of them still hold it. Pure.

It is kept on the workload itself, in one annotation, and changes in the same patch as the replicas. Each holder says what it wants;
what the workload has is what they want together, one after the other. So whoever lets go changes only what is its own: the
last gives back the baseline. Whoever may write the workload may write this too; what it says counts only within bounds.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from incident_operator.actions import kube_patches
from incident_operator.api.meta import GROUP
from incident_operator.core import texts
from incident_operator.core.outcomes import Json

BASELINE = f"{GROUP}/baseline"
"""The annotation in which a workload keeps it."""
MOST_HOLDERS = 20
"""Steps that may hold one workload at a time."""
_MOST_REPLICAS = 100_000
_MOST_CHARACTERS = 16_384
_MOST_OF_A_NAME = 253
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """A step of an open Incident that has scaled the workload, and has not taken that back."""

    incident: str
    uid: str
    """Of the Incident."""
    step: str
    replicas: int
    """What it wants."""
    floor: bool
    """Whether it wants so many at least; else exactly so many."""

    def is_of(self, other: "Holder") -> bool:
        """Return whether it is the same step of the same Incident."""
        return (self.uid, self.step) == (other.uid, other.step)

    def after(self, replicas: int) -> int:
        """Return what it makes of so many replicas."""
        return max(replicas, self.replicas) if self.floor else self.replicas


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the annotation says."""

    replicas: int
    """What the workload had before the first holder."""
    holders: Sequence[Holder] = field(default_factory=tuple)
    """The oldest first."""

    @property
    def wanted(self) -> int:
        """The replicas that all holders together want."""
        found = self.replicas
        for holder in self.holders:
            found = holder.after(found)
        return found

    def holder(self, me: Holder) -> Holder | None:
        """Return what is recorded of a step; None where it holds nothing."""
        return next((each for each in self.holders if each.is_of(me)), None)

    def without(self, me: Holder) -> "Baseline":
        """Return it once a step has let go."""
        return replace(self, holders=tuple(each for each in self.holders if not each.is_of(me)))

    def held_by(self, me: Holder) -> "Baseline":
        """Return it with a step as its newest holder."""
        return replace(self, holders=(*self.without(me).holders, me))


def of(workload: Json) -> Baseline | None:
    """Return what a workload keeps; None where there is none, or where it is not what the operator writes."""
    text = kube_patches.annotations(workload).get(BASELINE, "")
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    try:
        found = json.loads(text)
        kept = Baseline(_number(found["replicas"]), tuple(_holder(each) for each in found["holders"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return kept if 0 < len(kept.holders) <= MOST_HOLDERS else None


def written(kept: Baseline) -> str | None:
    """Return the annotation's text; None where nobody holds the workload any more, so that it goes."""
    if not kept.holders:
        return None
    found = {"replicas": kept.replicas, "holders": [asdict(each) for each in kept.holders]}
    return json.dumps(found, separators=(",", ":"))


def told(holders: Iterable[Holder]) -> str:
    """Name the holders for people, e.g. `Incident web-5f2c1-1 (step scale-up)`; empty where there is none."""
    names = [f"Incident {texts.unmistakable(each.incident)} (step {texts.unmistakable(each.step)})" for each in holders]
    more = [f"{len(names) - _TOLD} more"] if len(names) > _TOLD else []
    return " and ".join(filter(None, [", ".join(names[:_TOLD]), *more]))


def _holder(entry: Any) -> Holder:
    if not isinstance(entry["floor"], bool):
        raise TypeError("floor is true or false")
    return Holder(
        _name(entry["incident"]), _name(entry["uid"]), _name(entry["step"]), _number(entry["replicas"]), entry["floor"]
    )


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_OF_A_NAME:
        raise TypeError("a name is a short text")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_REPLICAS:
        raise TypeError("replicas are a whole number")
    return value
