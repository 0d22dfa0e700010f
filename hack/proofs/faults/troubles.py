"""What can go wrong at a numbered call, and how a call is named so that two runs mean the same one by it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """One thing that goes wrong, once."""

    KILL_BEFORE = "killed before it is sent"
    KILL_AFTER = "killed after it is applied"
    REPLY_LOST = "reply lost"
    REPLY_LATE = "reply later than the Lease"
    TWICE = "sent twice"
    CONFLICT = "409"
    INVALID = "422"
    THROTTLED = "429"
    BROKEN = "500"
    WATCH_GONE_STATUS = "watch: 410"
    WATCH_GONE_EVENT = "watch: 410 as an event"
    WATCH_HIDES_ADDED = "watch: ADDED hidden"
    WATCH_HIDES_MODIFIED = "watch: MODIFIED hidden"
    WATCH_REPLAYS = "watch: old state again"
    WATCH_STALLS = "watch: stalled"
    SQL_CUT_BEFORE = "sql: cut before it arrives"
    SQL_CUT_AFTER = "sql: cut before its reply"
    SQL_HANGS = "sql: hangs"
    SQL_SERIALIZATION = "sql: serialization failure"
    THEN_NOTHING = "killed between intent and act, then nothing"
    THEN_ABORTED = "killed between intent and act, then aborted"
    THEN_EXPIRED = "killed between intent and act, then expired"
    THEN_RESOLVED = "killed between intent and act, then the alert resolved"
    THEN_CHANGED = "killed between intent and act, then the plan's world changed"
    THEN_DISTRUSTED = "killed between intent and act, then the policies gone"
    THEN_DELETED = "killed between intent and act, then the Incident deleted"
    DELAYED_INTO = "first request delayed into the look"
    DELAYED = "first request delayed past the look"
    DELAYED_ABORTED = "first request delayed past the abort"
    ABORTED = "aborted"
    MEDDLED = "meddled with"
    NONE = "none"


AT_WRITES = (
    Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.REPLY_LOST, Fault.REPLY_LATE, Fault.TWICE,
    Fault.CONFLICT, Fault.INVALID, Fault.THROTTLED, Fault.BROKEN,
)  # fmt: skip
AT_SERVICES = tuple(fault for fault in AT_WRITES if fault is not Fault.TWICE)
"""A service that honours no key cannot be protected from a network that sends twice, and TCP and TLS do not."""
ON_WATCHES = (
    Fault.WATCH_GONE_STATUS, Fault.WATCH_GONE_EVENT, Fault.WATCH_HIDES_ADDED,
    Fault.WATCH_HIDES_MODIFIED, Fault.WATCH_REPLAYS, Fault.WATCH_STALLS,
)  # fmt: skip
ALWAYS = frozenset({Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.REPLY_LOST, Fault.TWICE, Fault.SQL_CUT_AFTER})
"""What every call meets: killed before and after, the answer lost, sent twice."""
BETWEEN = (
    Fault.THEN_NOTHING, Fault.THEN_ABORTED, Fault.THEN_EXPIRED, Fault.THEN_RESOLVED,
    Fault.THEN_CHANGED, Fault.THEN_DISTRUSTED, Fault.THEN_DELETED,
)  # fmt: skip
"""The process ends before the act is sent, and starts again when something has happened."""
LATE = (Fault.DELAYED_INTO, Fault.DELAYED, Fault.DELAYED_ABORTED)
"""The act is sent, the process ends, and the act arrives when the next process has told what it found."""
HIDING = frozenset({Fault.WATCH_HIDES_ADDED, Fault.WATCH_HIDES_MODIFIED})
AT_STATEMENTS = (Fault.KILL_BEFORE, Fault.SQL_CUT_BEFORE, Fault.SQL_HANGS, Fault.SQL_SERIALIZATION)
AT_COMMITS = (*AT_STATEMENTS, Fault.SQL_CUT_AFTER, Fault.KILL_AFTER)

STATUS_OF = {
    Fault.CONFLICT: (409, "Conflict", "Operation cannot be fulfilled: the object has been modified"),
    Fault.INVALID: (422, "Invalid", "the server rejected our request due to an error in our request"),
    Fault.THROTTLED: (429, "TooManyRequests", "too many requests, please try again later"),
    Fault.BROKEN: (500, "InternalError", "an internal error occurred"),
}
"""Refusals that are made up before anything is applied, in the apiserver's own words."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call among all of a run: what it is, and the how-manieth of its kind. Reads run at the same time, writes do not."""

    kind: str
    """E.g. `PATCH incidents/status`, `COMMIT`, `POST /unkeyed`."""
    occurrence: int

    def __str__(self) -> str:
        return f"{self.kind} #{self.occurrence}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault at a call."""

    fault: Fault
    call: Call


class Switch:
    """Counts the calls of one run, and springs the one fault that the run is about."""

    def __init__(self, trouble: Trouble | None = None) -> None:
        self._trouble = trouble
        self._seen: Counter[str] = Counter()
        self.sprung = False

    def at(self, kind: str) -> Fault:
        """Count a call; return what goes wrong with it."""
        self._seen[kind] += 1
        wanted = self._trouble
        if self.sprung or wanted is None or wanted.call != Call(kind, self._seen[kind]):
            return Fault.NONE
        self.sprung = True
        return wanted.fault

    @property
    def seen(self) -> Mapping[str, int]:
        """How many calls of each kind there were."""
        return dict(self._seen)


def resource(path: str) -> tuple[str, str]:
    """Return `incidents/status` and the namespace of an API path; resource alone where it has no subresource."""
    words = [word for word in path.split("/") if word]
    words = words[2:] if words[:1] == ["api"] else words[3:]
    namespace = ""
    if words[:1] == ["namespaces"] and len(words) > 2:
        namespace, words = words[1], words[2:]
    subresource = words[2:3]
    return "/".join([*words[:1], *subresource]), namespace
