"""Two operators: a sample of the rounds on a real cluster, and the judge, who has to see what it is there to see."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from demonstration import cluster as clusters

from proofs.rounds import table
from proofs.rounds.interruptions import Taken
from proofs.rounds.judge import Result, judge
from proofs.rounds.plan import Interruption, Round, Stage, rounds
from proofs.rounds.play import play
from proofs.rounds.rig import rig

KILLED = Round(1, Interruption.KILLED, Stage.MITIGATING)
TOLD = Round(2, Interruption.TOLD, Stage.AWAITING)


@pytest.mark.cluster
async def test_a_leader_that_is_halted_or_told_to_end_in_the_middle_leaves_each_effect_once(tmp_path: Path) -> None:
    async with rig(clusters.up(), tmp_path) as made:
        for each in (Round(1, Interruption.HALTED, Stage.MITIGATING), TOLD):
            result = await play(made, each)
            assert (result.doubled, result.lost, result.overwritten) == (0, 0, 0), result.findings


def test_every_kind_is_played_once_before_any_is_played_twice() -> None:
    kinds = len(Interruption) * len(Stage)
    planned = list(rounds(2 * kinds, seed=1))
    assert len({(each.interruption, each.stage) for each in planned[:kinds]}) == kinds
    assert set(Counter((each.interruption, each.stage) for each in planned).values()) == {2}
    assert [each.number for each in planned] == list(range(1, 2 * kinds + 1))
    assert planned == list(rounds(2 * kinds, seed=1))


EFFECTS = ["serve", "undo-serve", "mark"]


def heard(**more: Any) -> Any:
    """What witnesses tell of a round in which all went well, but for what is given."""
    told = {
        "effects": EFFECTS,
        "notified": 1,
        "worker": (3, 1),
        "phase": "Resolved",
        "incidents": 1,
        "note": "x",
        **more,
    }
    incident = {"metadata": {"annotations": {"note": told["note"]}}, "status": {"phase": told["phase"]}}

    async def incidents(_: str) -> list[Any]:
        return [incident] * told["incidents"]

    async def worker() -> Any:
        return told["worker"]

    return SimpleNamespace(
        database=SimpleNamespace(run=lambda _: [(step,) for step in told["effects"]]),
        service=SimpleNamespace(carried_out=Counter(run=told["notified"])),
        incidents=incidents,
        worker=worker,
        operators=SimpleNamespace(lease_seconds=2),
    )


async def judged(witnesses: Any, of: Round = KILLED, taken: Taken | None = Taken(2.2)) -> Result:  # noqa: B008 # frozen
    return await judge(witnesses, of, "run", (1, 1), {"note": "x"}, taken, "")


async def test_a_round_in_which_all_went_well_has_no_finding() -> None:
    result = await judged(heard())
    assert (result.findings, result.failover, result.handover) == ([], 1.1, None)


@pytest.mark.parametrize(
    ("told", "doubled", "lost", "overwritten"),
    [
        ({"effects": [*EFFECTS, "mark"]}, 1, 0, 0),
        ({"effects": EFFECTS[:2]}, 0, 1, 0),
        ({"notified": 2}, 1, 0, 0),
        ({"notified": 0}, 0, 1, 0),
        ({"worker": (4, 1)}, 1, 0, 0),
        ({"worker": (2, 3)}, 0, 1, 0),
        ({"incidents": 2}, 1, 0, 0),
        ({"incidents": 0}, 0, 1, 0),
        ({"phase": "NeedsHuman"}, 0, 1, 0),
        ({"note": "y"}, 0, 0, 1),
    ],
)
async def test_what_was_doubled_lost_or_overwritten_is_found(
    told: dict[str, Any], doubled: int, lost: int, overwritten: int
) -> None:
    result = await judged(heard(**told))
    assert (result.doubled, result.lost, result.overwritten) == (doubled, lost, overwritten)
    assert len(result.findings) == 1


@pytest.mark.parametrize(
    ("of", "taken", "told"),
    [
        (KILLED, Taken(2.62), "failover took 1.31 Lease durations"),
        (TOLD, Taken(1.01), "hand-over took 1.01 s"),
        (TOLD, Taken(0.5, exit_code=1), "exit code 1 after SIGTERM"),
        (KILLED, None, "the leader was never interrupted"),
    ],
)
async def test_who_took_over_too_late_is_found(of: Round, taken: Taken | None, told: str) -> None:
    assert (await judged(heard(), of, taken)).findings == [told]


async def test_the_table_has_a_row_for_each_way_to_lose_the_leader_and_one_for_all() -> None:
    results = [await judged(heard()), await judged(heard(notified=2)), await judged(heard(), TOLD, Taken(0.4))]
    assert [row[:5] for row in table.rows(results)[1:]] == [
        ("kill -9", "2", "1", "0", "0"),
        ("SIGTERM", "1", "0", "0", "0"),
        ("all", "3", "1", "0", "0"),
    ]
    assert table.markdown(results).splitlines()[2] == "| kill -9 | 2 | 1 | 0 | 0 | 1.10 / 1.10 / 1.10 | - |"
