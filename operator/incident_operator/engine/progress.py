"""An Incident in the middle of a reconciliation: what is stored, and what is known beyond it."""

from dataclasses import dataclass, field

from incident_operator.api.incident import CLOSED_PHASES, Incident, IncidentStatus, Phase
from incident_operator.engine.evidence import Unstored


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reconciliation has come."""

    stored: Incident
    """As the apiserver has it."""
    working: Incident
    """The same with the outcomes that are not stored yet."""
    unstored: Unstored = field(default_factory=Unstored)
    """Evidence that is not stored yet."""
    told: Phase = Phase.PENDING
    """The phase that people were last told as an Event."""
    before_close: IncidentStatus | None = None
    """What was known before it was decided to close, while the close is not stored."""

    @classmethod
    def of(cls, incident: Incident) -> "Progress":
        """Return where an Incident stands as it was read: whoever stored that phase has told of it."""
        return cls(incident, incident, told=incident.status.phase)

    def knowing(self, current: IncidentStatus) -> "Progress":
        """Return the same with a status that is not stored yet."""
        closes = current.phase in CLOSED_PHASES and self.working.status.phase not in CLOSED_PHASES
        before_close = self.working.status if closes else self.before_close
        working = self.working.model_copy(update={"status": current})
        return Progress(self.stored, working, self.unstored, self.told, before_close)

    def on(self, fresh: Incident) -> "Progress":
        """Return what is known, on a newer version: an alert may have come with it, so whether to close is open again.

        Where somebody else has written the status meanwhile, or the Incident is another one, only what is stored counts.
        """
        if self.is_overtaken_by(fresh):
            return Progress.of(fresh)
        working = fresh.model_copy(update={"status": self.before_close or self.working.status})
        return Progress(fresh, working, self.unstored, self.told)

    def is_overtaken_by(self, fresh: Incident) -> bool:
        """Tell whether another process has written the status since, or the Incident was deleted and made again."""
        known = self.stored
        return fresh.metadata.uid != known.metadata.uid or fresh.status.written_by != known.status.written_by
