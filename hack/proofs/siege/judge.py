"""What is a finding. Pure: it reads what was told and seen, and nothing else."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from proofs.siege.told import Told
from proofs.siege.witnesses import Seen

MUST = 3.0
"""How much another namespace's P0 may wait: times what it waits when nothing else is going on.

Where the apiserver itself is kept busy, so that it makes everybody wait, also those whom the operator does not serve, the P0 may wait so
many times longer: an apiserver's own priority and fairness is not the operator's to give."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack, and what came of it."""

    name: str
    what: str
    told: Counter[Told]
    """What people are told of each of its hostile objects."""
    accept: frozenset[Told] | None
    """What they may be told; None where nothing has to be."""
    seconds: float
    """Until all of them were told of, or nobody waited any longer."""
    waits: tuple[float, ...]
    """Seconds from a P0 alert of another namespace to its first act."""
    seen: Seen
    restarts: int
    """Of the operator's containers since the attack before."""
    why: str = ""
    """Why they ended."""
    failed: str = ""
    """What kept the attack itself from being carried out; empty where nothing did."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rows are held to."""

    memory: int
    """Bytes, as the chart limits the container."""
    alone: tuple[float, ...]
    """What P0 alerts waited before the first attack."""
    writes: tuple[float, ...]
    """What a bystander's writes took meanwhile."""

    def ratio(self, waits: Sequence[float]) -> float:
        """Median ÷ median alone."""
        return median(waits) / median(self.alone)

    def apiserver(self, writes: Sequence[float]) -> float:
        """How much slower the apiserver is than it was alone: infinite where it took no write at all."""
        return median(writes) / median(self.writes) if writes else math.inf


def findings(row: Row, limits: Limits) -> list[str]:
    """Return everything that must not be."""
    seen = row.seen
    return [
        *([row.failed] if row.failed else []),
        *_not_told(row),
        *(
            [f"{seen.memory >> 20} MiB, and the container may have {limits.memory >> 20}"]
            if seen.memory >= limits.memory
            else []
        ),
        *_unseen(seen),
        *([f"{row.restarts} restarts ({row.why})"] if row.restarts else []),
        *([f"/healthz did not answer {seen.unanswered} times"] if seen.unanswered else []),
        *([f"the Lease went from one to another: {' → '.join(seen.holders)}"] if len(seen.holders) > 1 else []),
        *([f"the Lease was over {seen.lapses} times"] if seen.lapses else []),
        *_late(row, limits),
    ]


def _unseen(seen: Seen) -> list[str]:
    """A witness that saw nothing proves nothing."""
    witnesses = {
        "/healthz": seen.looks,
        "its memory": seen.memory,
        "the Lease": len(seen.holders),
        "the apiserver": len(seen.writes),
    }
    return [f"nobody saw {what}" for what, count in witnesses.items() if not count]


def _not_told(row: Row) -> list[str]:
    if row.accept is None:
        return []
    wrong = {what: count for what, count in row.told.items() if what not in row.accept}
    told = ", ".join(f"{count} x {what}" for what, count in wrong.items())
    return [f"told of them: {told}; it may be {', '.join(sorted(row.accept))}"] if wrong else []


def _late(row: Row, limits: Limits) -> list[str]:
    if not row.waits:
        return ["no P0 alert of another namespace came to its first act"]
    ratio, apiserver = limits.ratio(row.waits), limits.apiserver(row.seen.writes)
    if ratio <= MUST * max(1.0, apiserver):
        return []
    return [
        f"another namespace's P0 waits {ratio:.1f} x its time alone, while the apiserver takes {apiserver:.1f} x its own"
    ]
