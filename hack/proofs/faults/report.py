"""What happened around a finding, so that it can be understood and mended."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from proofs.faults.checker import Finding
from proofs.faults.history import History, Moment

_LOG_BYTES = 3000


def around(history: History, findings: Iterable[Finding], log: Path) -> str:
    """Return the findings, everything that witnesses saw in its order, and the end of the operator's log."""
    happened = [
        *((one.moment, f"intent    {one.step} {one.key[:12]}") for one in history.intents),
        *((one.moment, f"effect    {one.what} {one.key[:12]} {dict(one.facts)}") for one in history.effects),
        *((one.moment, f"plan      {one.hashed[:8]} of {', '.join(one.steps)}") for one in history.plans),
        *((one.moment, f"approval  {one.token} by {one.by}") for one in history.approvals),
        *((one, "abort") for one in history.aborts),
        *((one.moment, f"meddling  {one.what}") for one in history.meddling),
    ]
    lines = [f"! {finding}" for finding in findings]
    lines += [f"  {_when(moment)}  {what}" for moment, what in sorted(happened, key=lambda each: _order(each[0]))]
    if history.end is not None:
        lines.append(f"  end: {history.end.phase} ({history.end.reason}): {history.end.message}")
        lines.append(f"  steps: {dict(history.end.steps)}")
    lines.append(_tail(log))
    return "\n".join(lines)


def _order(moment: Moment) -> tuple[float, int]:
    return (moment.at, moment.revision)


def _when(moment: Moment) -> str:
    clock = datetime.fromtimestamp(moment.at, UTC).strftime("%H:%M:%S.%f") if moment.at else "at revision"
    return f"{clock} {moment.revision or ''}".ljust(24)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_BYTES))
        return file.read().decode(errors="replace")
