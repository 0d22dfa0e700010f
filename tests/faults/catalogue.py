"""The examples, and how each of them is disturbed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from faults import runs
from faults.arena import Make
from faults.every_effect import EveryEffect
from faults.quickstart import Quickstart
from faults.rb01 import Rb01
from faults.runs import Run
from faults.troubles import Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue."""

    name: str
    make: Make
    disturbance: Fault = Fault.NONE
    """Set where not the machinery fails, but a person interferes at every write."""
    most_lanes: int = 6

    def matrix(self, seen: Mapping[str, int], watched: Mapping[str, tuple[Fault, ...]]) -> Iterator[Run]:
        """Return the runs that follow from a golden one."""
        if self.disturbance is Fault.NONE:
            return runs.matrix(self.name, seen, watched)
        return runs.disturbed(self.name, seen, self.disturbance)


_LISTED = (
    Entry("quickstart", Quickstart),
    Entry("every-effect", EveryEffect),
    Entry("RB-01", Rb01, most_lanes=2),
    Entry("aborted", EveryEffect, Fault.ABORTED),
    Entry("meddled", EveryEffect, Fault.MEDDLED),
    Entry("meddled-quickstart", Quickstart, Fault.MEDDLED),
)
ALL = {entry.name: entry for entry in _LISTED}
