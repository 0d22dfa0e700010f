"""The marker of an attempt: what an effect leaves where it happened, so that whoever looks later knows it was ours.

A `step_key` can be worked out by whoever knows an Incident. A marker cannot: nobody without the key can leave one.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from incident_operator.api.runbook import Stage

KEY_BYTES = 32
_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Markers:
    """Makes markers with one secret key. Raises `ValueError` for a key that is too short to be secret."""

    key: bytes = field(repr=False)
    _keyed: hmac.HMAC = field(init=False, repr=False, compare=False)
    """Of nothing yet. To copy it costs little; to set one up for each marker took 2 % of an Incident's CPU."""

    def __post_init__(self) -> None:
        """Refuse a key that could be guessed."""
        if len(self.key) < KEY_BYTES:
            raise ValueError(f"the key of the markers has {len(self.key)} bytes; {KEY_BYTES} are needed")
        object.__setattr__(self, "_keyed", hmac.new(self.key, digestmod=hashlib.sha256))

    def of(self, incident_uid: str, stage: Stage, step: str, attempt: int) -> str:
        """Return the marker in hex (64 characters): the same for the same attempt, however often it is asked for."""
        made = self._keyed.copy()
        made.update(f"{incident_uid}/{stage}/{step}/{attempt}".encode())
        return made.hexdigest()


def shown(marker: str) -> str:
    """Return what a status may show of a marker: 16 hex characters that tell two apart and lead to none."""
    return hashlib.sha256(marker.encode()).hexdigest()[:_SHOWN]
