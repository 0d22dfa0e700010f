"""What is measured, how, and what it must come to; and what came out."""

import statistics
from dataclasses import dataclass, field

MISSED = "must missed"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    what: str
    how: str
    """What was measured, in one line."""
    must: float
    aim: float
    at_least: bool = False
    why_missed: str = ""
    """What was found to stand in the way where it misses what it must; printed only then."""
    unit: str = ""

    def keeps(self, value: float, limit: float) -> bool:
        """Whether a value is within a limit."""
        return value >= limit if self.at_least else value <= limit


ROWS = {
    row.key: row
    for row in (
        Row("p50", "alert → stored, p50 ÷ bare create", "one POST after another, each a new group; one create after another, at the same pace", 1.5, 1.2),
        Row("p99", "alert → stored, p99 ÷ bare create", "the same", 1.5, 1.2, why_missed="the slowest creates take 20 to 30 ms in the apiserver itself, while the operator sends nothing else and over a connection that is open; it works off about a dozen requests for each of our alerts, so its own housekeeping meets ours more often than a bare create"),
        Row("storm", "storm intake per second ÷ bare create ceiling", "POSTs of one new group each, 32 at a time, while the Incidents are driven; bare creates, 32 at a time", 0.85, 0.95, at_least=True, why_missed="the bare client and the apiserver alone keep both cores busy, so all that the operator needs (3 ms an alert) is missing there; and it writes about 5 at a time, as many as it finds the apiserver to take well, not 32, so that a P0 alert passes: 8 at a time gave 0.57, 16 gave 0.64, and a P0 alert waited 3 and 6 times what it waits alone, not 2"),
        Row("intake", "the same while another replica drives them", "the same, with the Lease held by somebody else", 0.85, 0.95, at_least=True, why_missed="what an alert takes beside its write, 2 ms, is missing to the apiserver on the same two cores"),
        Row("writes", "API writes per Incident ÷ minimum", "the audit log's creates and status patches of Incidents ÷ (1 + 6)", 1.0, 1.0),
        Row("conflicts", "writes that collided", "writes of Incidents that the audit log shows as refused", 0, 0),
        Row("steps", "five no-op steps end to end ÷ the same writes back to back", "POST until the last status is seen by a watch; 1 create and the same 6 patches by the bare client", 1.3, 1.1),
        Row("cpu", "CPU per Incident ÷ textbook kopf", "CPU of the whole process, from /proc, for the same number of Incidents of five durable steps", 0.4, 0.15, why_missed="the profile is flat: a quarter is TLS and sockets, a fifth the telling of status, a twelfth log lines; the textbook checks, receives and tells nothing"),
        Row("existing", "CPU per Incident with many existing ÷ with few", "two operators, one with 10,000 closed Incidents in its namespace, one with 100", 1.1, 1.05),
        Row("start", "start to first act, many closed Incidents ÷ none", "from exec until the first intent of an Incident that waited is stored", 2.0, 1.2),
        Row("closed", "memory with 10,000 closed Incidents", "resident memory after start and a minute's work", 130, 80, unit="MiB"),
        Row("open", "memory with 10,000 open Incidents at rest", "resident memory when all wait for a person", 130, 80, unit="MiB", why_missed="the process takes 105 MiB before the first of them, and about 2.6 KiB for each: 1 KiB in the index, a flow and a deadline, the rest is what the allocator keeps of the burst"),
        Row("idle", "idle writes per minute beyond the Lease", "writes in the audit log during a minute with 10,000 Incidents", 0, 0),
    )
}  # fmt: skip


@dataclass(slots=True)
class Result:
    """What came out for a row."""

    row: Row
    values: list[float] = field(default_factory=list)
    """One for each repetition."""
    beside: str = ""
    """Absolute figures, for orientation only."""

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """From the least to the largest repetition."""
        return f"{min(self.values):.2f} to {max(self.values):.2f}" if len(self.values) > 1 else ""

    @property
    def verdict(self) -> str:
        """Against must and aim."""
        value = round(self.median, 2)
        if not self.row.keeps(value, self.row.must):
            return MISSED
        return "aim met" if self.row.keeps(value, self.row.aim) else "must met, aim missed"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
