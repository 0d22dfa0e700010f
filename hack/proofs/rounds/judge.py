"""What the witnesses say of a round: the database's table, the service's count, the Deployment, the Incident as stored."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from proofs.rounds.interruptions import Taken
from proofs.rounds.plan import Interruption, Round
from proofs.rounds.rig import Rig

ONCE = ("serve", "undo-serve", "mark", "notify")
"""Effects of which there is exactly one in a round."""
_SCALINGS = 2
"""Changes of the Deployment: up, and back."""
LATE = 1.3
"""Lease durations after which somebody else has to lead."""
_GRACE = 1.0
"""Seconds after which somebody else has to lead where the leader had nothing under way and was told to end."""


@dataclass
class Result:
    """One round, judged."""

    number: int
    interruption: str
    stage: str
    doubled: int = 0
    lost: int = 0
    overwritten: int = 0
    failover: float | None = None
    """Lease durations from the interruption to another leader, where the leader could not say good-bye."""
    handover: float | None = None
    """Seconds from SIGTERM to another leader, where no act was under way."""
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


async def judge(
    rig: Rig,
    of: Round,
    run: str,
    before: tuple[int, int],
    notes: Mapping[str, str],
    taken: Taken | None,
    trouble: str,
) -> Result:
    """Hear the witnesses."""
    result = Result(of.number, of.interruption.value, of.stage.value, findings=[trouble] if trouble else [])
    await _count_effects(rig, run, before, result)
    await _read_incident(rig, run, notes, result)
    if taken is None:
        result.findings.append("the leader was never interrupted")
    else:
        _time(of, taken, rig.operators.lease_seconds, result)
    return result


async def _count_effects(rig: Rig, run: str, before: tuple[int, int], result: Result) -> None:
    rows = rig.database.run(f"SELECT step FROM effects WHERE run = '{run}'")
    counted = Counter(step for (step,) in rows)
    counted["notify"] = rig.service.carried_out[run]
    for step in ONCE:
        if counted[step] != 1:
            result.doubled += max(0, counted[step] - 1)
            result.lost += counted[step] == 0
            result.findings.append(f"{step} happened {counted[step]} times")
    generation, replicas = await rig.worker()
    scalings = generation - before[0]
    if (scalings, replicas) != (_SCALINGS, before[1]):
        result.doubled += max(0, scalings - _SCALINGS)
        result.lost += scalings < _SCALINGS
        result.findings.append(f"the Deployment was changed {scalings} times, and has {replicas} replicas")


async def _read_incident(rig: Rig, run: str, notes: Mapping[str, str], result: Result) -> None:
    found = await rig.incidents(run)
    if len(found) != 1:
        result.doubled += max(0, len(found) - 1)
        result.lost += not found
        result.findings.append(f"{len(found)} Incidents")
        return
    status, annotations = found[0].get("status", {}), found[0]["metadata"].get("annotations", {})
    if status.get("phase") != "Resolved":
        result.lost += 1
        result.findings.append(f"{status.get('phase')} ({status.get('reason')}): {status.get('message')}")
    gone = [key for key, value in notes.items() if annotations.get(key) != value]
    result.overwritten += len(gone)
    result.findings += [f"annotation {key} was overwritten" for key in gone]


def _time(of: Round, taken: Taken, lease_seconds: int, result: Result) -> None:
    if taken.exit_code:
        result.findings.append(f"exit code {taken.exit_code} after SIGTERM")
    if of.interruption not in {Interruption.TOLD, Interruption.UPGRADED}:
        result.failover = round(taken.seconds / lease_seconds, 3)
        if result.failover > LATE:
            result.findings.append(f"failover took {result.failover} Lease durations")
    elif not of.stage.acts:
        result.handover = round(taken.seconds, 3)
        if result.handover > _GRACE:
            result.findings.append(f"hand-over took {result.handover} s")
