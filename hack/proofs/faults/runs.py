"""One run: which example, and what goes wrong in it; and what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proofs.faults import troubles
from proofs.faults.checker import Finding, Kind
from proofs.faults.troubles import Call, Fault, Trouble

_PERSON = "PERSON"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the matrix; `trouble` is None for the golden one."""

    example: str
    trouble: Trouble | None = None

    def __str__(self) -> str:
        if self.trouble is None:
            return f"{self.example}: golden"
        return f"{self.example}: {self.trouble.call}: {self.trouble.fault}"

    @property
    def fault(self) -> Fault:
        """What goes wrong."""
        return self.trouble.fault if self.trouble else Fault.NONE


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went."""

    run: Run
    ended: str
    """The phase in which the Incident ended."""
    sprung: bool
    """Whether the fault was reached; a run in which it was not proves nothing."""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    told: str = ""
    """The history around a finding."""

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def result(stored: Mapping[str, Any]) -> Result:
    """Return a stored result."""
    run, found = stored["run"], stored["findings"]
    trouble = run["trouble"]
    made = Trouble(Fault(trouble["fault"]), Call(**trouble["call"])) if trouble else None
    findings = tuple(Finding(Kind(one["kind"]), one["rule"], one["told"]) for one in found)
    return Result(
        Run(run["example"], made), stored["ended"], stored["sprung"], findings, stored["seconds"], stored["told"]
    )


def matrix(example: str, seen: Mapping[str, int], moments: Mapping[str, tuple[Fault, ...]]) -> Iterator[Run]:
    """Every call of a golden run with every fault that its kind can have, then what can go wrong at its watches."""
    for kind, count in sorted(seen.items()):
        for occurrence in range(1, count + 1):
            for fault in faults_at(kind):
                yield Run(example, Trouble(fault, Call(kind, occurrence)))
    for moment, possible in moments.items():
        for fault in possible:
            yield Run(example, Trouble(fault, Call(f"WATCH {moment}", 1)))


def disturbed(example: str, seen: Mapping[str, int], fault: Fault) -> Iterator[Run]:
    """A person who interferes at every write."""
    for kind, count in sorted(seen.items()):
        if kind.startswith(("PATCH", "POST", _PERSON)) and not kind.startswith("POST /"):
            for occurrence in range(1, count + 1):
                yield Run(example, Trouble(fault, Call(kind, occurrence)))


def is_needed(run: Run, *, in_full: bool) -> bool:
    """Tell whether the shorter matrix has this run: every call meets what every call has to, and the first of its kind all."""
    if run.trouble is None or run.trouble.call.kind.startswith("WATCH "):
        return True
    return run.fault in troubles.ALWAYS or (in_full and run.trouble.call.occurrence == 1)


def faults_at(kind: str) -> tuple[Fault, ...]:
    """What can go wrong at a call of this kind."""
    if kind == "SQL COMMIT":
        return troubles.AT_COMMITS
    if kind.startswith("SQL "):
        return troubles.AT_STATEMENTS
    if kind.startswith(("POST /", "EXEC ")):
        return troubles.AT_SERVICES
    return () if kind.startswith(_PERSON) else troubles.AT_WRITES
