"""The table of what was played, for the terminal and for the page."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from proofs.rounds.judge import Result
from proofs.rounds.plan import Interruption

_HEAD = ("what happens to the leader", "rounds", "doubled", "lost", "overwritten", "failover ÷ Lease", "hand-over, s")


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return one row for each way to lose the leader, and one for all."""
    by_interruption: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_interruption[result.interruption].append(result)
    told = [
        _row(interruption.value, by_interruption[interruption.value])
        for interruption in Interruption
        if by_interruption[interruption.value]
    ]
    return [_HEAD, *told, _row("all", results)]


def text(results: Sequence[Result]) -> str:
    """Return the table for a terminal."""
    table = rows(results)
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)


def markdown(results: Sequence[Result]) -> str:
    """Return the table for a page."""
    head, *others = rows(results)
    lines = [head, tuple("---" for _ in head), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    counts = (
        len(results),
        *(sum(getattr(each, what) for each in results) for what in ("doubled", "lost", "overwritten")),
    )
    failover = [each.failover for each in results if each.failover is not None]
    handover = [each.handover for each in results if each.handover is not None]
    return (name, *(str(number) for number in counts), _spread(failover), _spread(handover))


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"
