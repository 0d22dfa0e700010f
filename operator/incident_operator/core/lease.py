"""Who may lead: judged by what this process saw of the Lease and when it saw it, never by another machine's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

_ACTING = 2 / 3
"""Part of the duration in which the holder may begin something after it asked for the Lease; the rest is distance."""


class Move(Enum):
    """What to do about the Lease now."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Observation:
    """The Lease as it was seen last."""

    version: str
    """Its resourceVersion; a new one is the only sign of life that counts."""
    holder: str
    """Empty where it was released."""
    seconds: float
    """How long the holder says that it counts without being renewed."""
    since: float
    """When this version was seen first, by our own steady clock."""

    @property
    def over_at(self) -> float:
        """When the holder has certainly stopped beginning things, by our own steady clock."""
        return self.since + self.seconds


def observe(lease: Mapping[str, Any], before: Observation | None, now: float, seconds: float) -> Observation:
    """Return what is observed of a Lease as it was just received; `seconds` counts where it names no duration of its own."""
    version, spec = lease["metadata"]["resourceVersion"], lease.get("spec") or {}
    known = before is not None and before.version == version
    return Observation(
        version=version,
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or seconds),
        since=before.since if known and before is not None else now,
    )


def next_move(observation: Observation | None, me: str, now: float) -> Move:
    """Return what the process called `me` does about the Lease; None stands for one that does not exist."""
    if observation is None or not observation.holder:
        return Move.ACQUIRE
    if observation.holder == me:
        return Move.RENEW
    return Move.ACQUIRE if now >= observation.over_at else Move.WAIT


def acting_until(sent_at: float, seconds: float) -> float:
    """Return until when the holder may begin something: counted from before it asked, so earlier than anyone's `over_at`."""
    return sent_at + seconds * _ACTING
