"""The table, for the terminal and for docs/siege.md. Pure."""

from dataclasses import dataclass
from statistics import median

from proofs.siege import judge
from proofs.siege.judge import MUST, Limits, Row

_HEADS = (
    "attack",
    "told",
    "after",
    "P0 ÷ alone",
    "apiserver ÷ alone",
    "slowest /healthz",
    "peak memory",
    "of it helpers",
    "restarts",
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run found out."""

    limits: Limits
    replicas: int
    rows: tuple[Row, ...] = ()

    @property
    def problems(self) -> list[str]:
        """What must not be; empty where the promises hold."""
        return [f"{row.name}: {told}" for row in self.rows for told in judge.findings(row, self.limits)]


def cells(row: Row, limits: Limits) -> list[str]:
    """One attack as a row of the table."""
    seen = row.seen
    told = ", ".join(f"{count} x {what}" for what, count in row.told.items()) or "-"
    return [
        row.what,
        told,
        f"{row.seconds:.0f} s",
        f"{limits.ratio(row.waits):.1f}" if row.waits else "never",
        f"{limits.apiserver(seen.writes):.1f}",
        f"{seen.slowest * 1000:.0f} ms" if not seen.unanswered else f"{seen.unanswered} x unanswered",
        f"{seen.memory >> 20} MiB",
        f"{seen.helpers >> 20} MiB",
        f"{row.restarts} ({row.why})" if row.restarts else "0",
    ]


def table(report: Report) -> str:
    """A Markdown table, in columns that line up on a terminal too."""
    rows = [list(_HEADS), *(cells(row, report.limits) for row in report.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def alone(limits: Limits) -> str:
    """What a P0 alert waits when nothing else is going on, in words."""
    return f"{1000 * median(limits.alone):.0f} ms"


def page(report: Report, date: str, commit: str, machine: str) -> str:
    """docs/siege.md."""
    found = report.problems
    told = "Nothing was found." if not found else "Found:\n\n" + "\n".join(f"- {problem}" for problem in found)
    limit, wait = f"{report.limits.memory >> 20} MiB", alone(report.limits)
    return _PAGE.format(
        date=date,
        commit=commit,
        machine=machine,
        replicas=report.replicas,
        limit=limit,
        alone=wait,
        table=table(report),
        must=MUST,
        found=told,
    )


_PAGE = """# Siege

Written by `make siege` on {date}, {commit} ({machine}).
The operator runs in {replicas} Pods with the chart's own limits ({limit} of memory each). One namespace, `evil`, does all that once stopped
the operator for everybody; what an attack has made stays there while the next ones come, and at the end the operator is restarted among
all of it. Another namespace's P0 alerts go on coming meanwhile: alone, one waits {alone} for its first act.

{table}

{found}

*Told*: what people read of each hostile object: in a Runbook's `Ready`, in an Incident's phase, or in the apiserver's refusal. *P0 ÷ alone*:
median of the waits during the attack ÷ median alone; at most {must:g} is wanted. *Apiserver ÷ alone*: the same of
a bystander who creates an Incident and patches it, in a namespace that the operator does not serve. Whoever may write in a namespace can
keep the apiserver itself busy, here on the same two cores; a P0 may wait so much longer, because the operator cannot change that. *Peak
memory*: most that the Pod's first process ever had since it began, and what its helpers had beside it, read twice a second from inside;
of the Pod that had most. `/healthz` is looked at once a second for each Pod, and has five seconds, as for the kubelet. A finding is whatever is
reported otherwise than it should be, memory at the limit, a restart, a look at `/healthz` without an answer, a Lease that was over or went to
another, and a P0 that waited longer than it may.
"""
