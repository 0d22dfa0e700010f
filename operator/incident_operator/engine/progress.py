"""An Incident in the middle of a visit: what is stored, and what is known beyond it."""

from dataclasses import dataclass, field

from incident_operator.api.incident import Incident, IncidentStatus, Phase
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
    told: Phase = Phase.PENDING
    """The phase that people were last told as an Event."""

    @classmethod
    def of(cls, incident: Incident) -> "Progress":
        """Return where an Incident stands as it was read: whoever stored that phase has told of it."""
        return cls(incident, incident, told=incident.status.phase)

    def knowing(self, current: IncidentStatus) -> "Progress":
        """Return the same with a status that is not stored yet."""
        return Progress(self.stored, self.working.model_copy(update={"status": current}), self.unstored, self.told)
