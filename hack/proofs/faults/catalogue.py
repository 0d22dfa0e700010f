"""The examples, and how each of them is disturbed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from proofs.faults import between, runs
from proofs.faults.between import Between
from proofs.faults.every_effect import EveryEffect
from proofs.faults.first_start import FirstStart
from proofs.faults.quickstart import Quickstart
from proofs.faults.rb01 import Rb01
from proofs.faults.rig import Make
from proofs.faults.runs import Run
from proofs.faults.troubles import Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue."""

    name: str
    make: Make
    disturbance: Fault = Fault.NONE
    """Set where not the machinery fails, but a person interferes at every write."""
    most_workers: int = 6
    only: frozenset[str] = frozenset()
    """The calls at which something goes wrong; all unless given."""
    in_full: bool = True
    """Whether the first call of each kind meets every fault in the shorter matrix; where not, another example has its effects."""
    planned: Callable[[], Iterator[Run]] | None = None
    """The runs, where they do not follow from the calls of a golden one."""

    def matrix(
        self, seen: Mapping[str, int], watched: Mapping[str, tuple[Fault, ...]], *, everything: bool
    ) -> Iterator[Run]:
        """Return the runs that follow from a golden one: everything, or those of the shorter matrix."""
        if self.planned is not None:
            return self.planned()
        seen = {kind: count for kind, count in seen.items() if not self.only or kind in self.only}
        if self.disturbance is Fault.NONE:
            planned = runs.matrix(self.name, seen, watched)
            return (run for run in planned if everything or runs.is_needed(run, in_full=self.in_full))
        return runs.disturbed(self.name, seen, self.disturbance)


_LISTED = (
    Entry("quickstart", Quickstart),
    Entry("every-effect", EveryEffect),
    Entry("first-start", FirstStart, only=frozenset({"POST secrets"})),
    Entry("between", Between, planned=between.matrix),
    Entry("RB-01", Rb01, most_workers=2, in_full=False),
    Entry("aborted", EveryEffect, Fault.ABORTED),
    Entry("meddled", EveryEffect, Fault.MEDDLED),
    Entry("meddled-quickstart", Quickstart, Fault.MEDDLED),
)
ALL = {entry.name: entry for entry in _LISTED}
