"""An Incident in the middle of a visit: what is stored, and what is known beyond it."""

from dataclasses import dataclass, field, replace

from incident_operator.api.incident import Incident, IncidentStatus
from incident_operator.engine.evidence import Unstored


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a visit has come."""

    stored: Incident
    """As the apiserver has it."""
    working: Incident
    """The same with the outcomes that are not stored yet."""
    unstored: Unstored = field(default_factory=Unstored)
    """Evidence that is not stored yet."""

    def knowing(self, current: IncidentStatus) -> "Progress":
        """Return the same with a status that is not stored yet."""
        return replace(self, working=self.working.model_copy(update={"status": current}))
