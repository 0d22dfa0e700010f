"""The tables, for the terminal and for docs/storm.md. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from proofs.storm.abuse.fuzzing import Fuzzed
from proofs.storm.abuse.siege import Attacked
from proofs.storm.rig import Line
from proofs.storm.scenarios.urgent import Waits

MUST = 3.0
_SEEN = 4
Rows = Sequence[Sequence[str]]
_STORM = ("scenario", "sent", "acknowledged", "stored", "lost", "doubled", "wrong", "kills", "posts by answer")
_ABUSE = ("attack", "good posts", "all 200", "slowest ÷ median", "peak memory", "the attacker saw")


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run found out."""

    lines: tuple[Line, ...] = ()
    waits: Waits | None = None
    abuse: tuple[Attacked, ...] = ()
    kept: bool = True
    """Whether all alerts of the good clients are stored, each once."""
    fuzzed: Fuzzed | None = None

    @property
    def problems(self) -> list[str]:
        """What must not be; empty where the promises hold. A slow P0 alert is told, but is no loss."""
        return [
            *(f"{line.scenario}: {_wrong(line)}" for line in self.lines if not line.clean),
            *(f"{row.attack}: {_harm(row)}" for row in self.abuse if not row.clean),
            *([] if self.kept else ["abuse: an alert of a good client is lost or doubled"]),
            *([f"fuzzing: {self.fuzzed.failure}"] if self.fuzzed and self.fuzzed.failure else []),
        ]


def storm_row(line: Line) -> list[str]:
    """One scenario as a row."""
    found = line.balance
    told = "; ".join(filter(None, (line.posts, line.note)))
    counts = (found.sent, found.acknowledged, found.stored, len(found.lost), len(found.doubled), len(found.wrong))
    return [line.scenario, *(str(count) for count in counts), str(line.kills), told]


def abuse_row(row: Attacked) -> list[str]:
    """One attack as a row."""
    seen = sorted(row.seen.items(), key=lambda item: -item[1])
    told = ", ".join(f"{count} x {what}" for what, count in seen[:_SEEN])
    posts, all_taken = str(len(row.good.seconds)), "yes" if row.good.all_taken else f"no: {dict(row.good.answers)}"
    slowest = f"{row.slowest:.0f} ({median(row.good.seconds) * 1000:.0f} ms)"
    return [row.attack.replace("_", " "), posts, all_taken, slowest, f"{row.memory >> 20} MiB", told]


def urgency(waits: Waits) -> str:
    """How long a P0 alert waits, in a sentence."""
    verdict = "" if waits.ratio <= MUST else f": more than {MUST:g}, missed"
    return f"P0 alert → first act, in the storm ÷ alone: {waits}{verdict}"


def table(heads: Sequence[str], rows: Rows) -> str:
    """A Markdown table, in columns that line up on a terminal too."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (heads, *rows)
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def tables(report: Report) -> str:
    """Everything, for the end of a run."""
    parts = []
    if report.lines:
        parts.append(table(_STORM, [storm_row(line) for line in report.lines]))
    if report.waits:
        parts.append(urgency(report.waits))
    if report.abuse:
        parts.append(table(_ABUSE, [abuse_row(row) for row in report.abuse]))
    if report.fuzzed:
        parts.append(f"Fuzzed with coverage: {report.fuzzed}")
    return "\n\n".join(parts)


def page(report: Report, date: str, commit: str, machine: str) -> str:
    """docs/storm.md."""
    return _PAGE.format(date=date, commit=commit, machine=machine, tables=tables(report), must=MUST)


def _wrong(line: Line) -> str:
    found = line.balance
    kinds = (("lost", found.lost), ("doubled", found.doubled), ("never sent", found.invented), ("wrong", found.wrong))
    told = [f"{len(which)} {name}, {which[0]} for one" for name, which in kinds if which]
    return "; ".join([*told, *([line.failed] if line.failed else [])])


def _harm(row: Attacked) -> str:
    return f"good posts {dict(row.good.answers)}, {row.memory >> 20} MiB, {', '.join(row.wrong) or 'answers right'}"


_PAGE = """# Storm

Written by `make storm` on {date}, {commit} ({machine}).
The operator is a real process on a real cluster, killed by SIGKILL at random moments; the
load generator behaves as Alertmanager does: it repeats what got no answer or 5xx, drops on 4xx, tells one message at a time for a group, and
there are two of it that do not see each other. *Lost*: acknowledged, and not in etcd. *Doubled*: in more than one place. *Wrong*: stored with
another state than the one told last.

{tables}

*Good posts* are those of four clients that go on posting right alerts during each attack, ten times a second. 503 is not a wrong answer to an
attacker: a sender that means it comes again. *Peak memory* is the operator's, since it was started for the first attack.

How much a P0 alert may wait: {must:g} times what it waits when nothing else is going on.
"""
