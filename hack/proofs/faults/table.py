"""The table of the matrix: for people at a terminal, and for docs/reliability-faults.md."""

import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from demonstration.cluster import REPOSITORY

from proofs import provenance
from proofs.faults import proofs
from proofs.faults.checker import Kind
from proofs.faults.runs import Result

PAGE = REPOSITORY / "docs" / "reliability-faults.md"
_HEAD = ("example", "fault", "runs", "doubled", "lost", "stuck", "other", "ended")
_VERSIONS = ("kopf", "aiohttp", "psycopg", "kubernetes")

Row = tuple[str, ...]


def rows(results: Sequence[Result]) -> list[Row]:
    """One row for each example and fault, and one with the sums."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for each in results:
        groups.setdefault((each.run.example, str(each.run.fault)), []).append(each)
    return [*(_row(*names, group) for names, group in groups.items()), _row("all", "", results)]


def markdown(results: Sequence[Result]) -> str:
    """The table in Markdown."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|---|---|{'--:|' * 5}---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(results))])


def plain(results: Sequence[Result]) -> str:
    """The table for a terminal."""
    listed = [_HEAD, *rows(results)]
    return _aligned(listed)


def proofs_of(results: Iterable[Result]) -> str:
    """What the rows prove, for a terminal."""
    return _aligned([("fault", "proves"), *proofs.told(each.run.fault for each in results)])


def _aligned(listed: Sequence[Row]) -> str:
    widths = [max(len(row[number]) for row in listed) for number in range(len(listed[0]))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in listed)


def write_page(results: Sequence[Result], now: datetime, *, everything: bool) -> None:
    """Write the page; the matrix has to be complete."""
    extent = _EVERYTHING if everything else _SHORTER
    PAGE.write_text(
        _PAGE.format(
            date=now.astimezone(UTC).date(),
            commit=provenance.commit(),
            machine=machine(),
            extent=extent,
            table=markdown(results),
            proofs=_proofs(results),
        )
    )


def _proofs(results: Iterable[Result]) -> str:
    lines = [f"| {row} | {proves} |" for row, proves in proofs.told(each.run.fault for each in results)]
    return "\n".join(["| fault | proves |", "|---|---|", *lines])


def machine() -> str:
    """Return what the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {'.'.join(platform.release().split('.')[:2])}, Python {python}, {versions}"


def _row(example: str, fault: str, results: Sequence[Result]) -> Row:
    kinds = Counter(kind for each in results for kind in {finding.kind for finding in each.findings})
    counts = (str(kinds[kind]) for kind in (Kind.DOUBLED, Kind.LOST, Kind.STUCK, Kind.OTHER))
    return (example, fault, str(len(results)), *counts, _ends(results))


def _ends(results: Iterable[Result]) -> str:
    ended = Counter(each.ended for each in results)
    return ", ".join(f"{phase} {count}" for phase, count in sorted(ended.items()))


_EVERYTHING = "Each call met each fault that its kind can have."
_SHORTER = """Each call was killed before and after, lost its answer, and was sent twice; the first of its kind met each other fault, too, but for
`RB-01`, whose kinds of calls the other examples have. `make faults ALL=1` plays each fault at each call."""
_PAGE = """# Faults at every write

What `make faults` found on {date}, {commit}
({machine}).

The operator runs as a real process against a real apiserver and a real PostgreSQL, behind proxies. Each run plays one example
from its alert to its end, and one thing goes wrong in it, at one call. Afterwards a checker asks witnesses that are not the operator
(the apiserver's audit log, etcd's own versions of objects, triggers in the database, the log of the service that was called)
whether a promise was broken:

- *doubled*: a step key had two effects, or an alert two Incidents;
- *lost*: an alert was acknowledged and there is no Incident; a step is reported as done and has had no effect; an effect is there and reported
  as failed, or comes after it was told as not done; a mitigation is still in place, and nothing says so;
- *stuck*: the run did not come to its end in time;
- *other*: an effect without its intent stored before, out of order, without an approval of the very plan, begun after an abort, there
  after a guard of every act was gone (rows "killed between intent and act"), or an end without a reason.

`NeedsHuman` is an end, too: nobody could know better, and the Incident says what is asked. A person in the runs answers what can
be answered. A run whose fault was not reached counts as no run.
{extent}

{table}

{proofs}

A row "killed between intent and act" or "first request delayed" kills the operator at the very request that is the act: in the first
case it never arrives, in the second it arrives when the next process has told what it found. Then nobody attends to the Incident. A Job
counts from the moment on in which it is not suspended, a change of rows from its commit on. "Policies gone" means that the proxy says so
to the operator under test. What was sent to a service can arrive late whatever is reported: `keyed-call` and `unkeyed` are then reported as
done or `Unknown`.

`make faults` makes this page; interrupted, it continues where it was. One example: `make faults ONLY=quickstart`.
"""
