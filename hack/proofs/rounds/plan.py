"""Which rounds are played: every way to lose the leader, in every stage of an Incident, in an order that a seed decides."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Interruption(StrEnum):
    """What happens to the leader."""

    KILLED = "kill -9"
    HALTED = "halted past its Lease, then continues"
    CUT = "cut off from the apiserver, then connected again"
    SKEWED = "clocks 5 min fast and slow, kill -9"
    TOLD = "SIGTERM"
    UPGRADED = "rolling upgrade"


class Stage(StrEnum):
    """When it happens: in the middle of a read, of an act, or of a wait."""

    DIAGNOSING = "diagnosing"
    MITIGATING = "mitigating act under way"
    AWAITING = "awaiting approval"
    UNKEYED = "remediating unkeyed act under way"
    REMEDIATING = "remediating act under way"
    VERIFYING = "verifying"
    RESTORING = "restoring"

    @property
    def acts(self) -> bool:
        """Whether an act is under way."""
        return self in {Stage.MITIGATING, Stage.UNKEYED, Stage.REMEDIATING, Stage.RESTORING}


@dataclass(frozen=True, slots=True)
class Round:
    """One Incident, and what happens to whoever leads in the middle of it."""

    number: int
    interruption: Interruption
    stage: Stage


def rounds(count: int, seed: int) -> Iterator[Round]:
    """Yield rounds 1 to `count`: all kinds before any for the second time, those with wrong clocks one after the other."""
    kinds = _kinds(random.Random(seed))
    for number in range(1, count + 1):
        interruption, stage = next(kinds)
        yield Round(number, interruption, stage)


def _kinds(chance: random.Random) -> Iterator[tuple[Interruption, Stage]]:
    while True:
        kinds = list(itertools.product(Interruption, Stage))
        chance.shuffle(kinds)
        yield from sorted(kinds, key=lambda kind: kind[0] is Interruption.SKEWED)
