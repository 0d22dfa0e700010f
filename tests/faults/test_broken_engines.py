"""Operators that are broken on purpose: a run of the matrix catches every one of them, by the rule that is meant for it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from faults.arena import Arena
from faults.broken import ENGINES
from faults.every_effect import EveryEffect
from faults.lane import Lane
from faults.quickstart import Quickstart
from faults.runs import Run
from faults.troubles import Call, Fault, Trouble

pytestmark = pytest.mark.cluster

CAUGHT = {
    "no intent": ("quickstart", None, "intent before effect"),
    "cached read": (
        "quickstart", Trouble(Fault.REPLY_LOST, Call("PATCH deployments", 1)), "ends with a reason",
    ),
    "blind retry": (
        "every-effect", Trouble(Fault.REPLY_LOST, Call("POST /unkeyed", 1)), "one effect per step key",
    ),
    "no marker": (
        "every-effect", Trouble(Fault.KILL_AFTER, Call("SQL COMMIT", 1)), "one effect per step key",
    ),
    "approval not rendered again": (
        "every-effect", Trouble(Fault.MEDDLED, Call("PERSON approves", 2)), "done as approved",
    ),
}  # fmt: skip


class _Hurried(Quickstart):
    """A run whose end is not waited for long: an engine that believes what it read never gets there."""

    bound = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lanes(opened: Arena) -> AsyncIterator[dict[str, Lane]]:
    async with (
        opened.lane("faults-broken-quickstart", _Hurried) as quickstart,
        opened.lane("faults-broken-every-effect", EveryEffect) as every_effect,
    ):
        yield {"quickstart": quickstart, "every-effect": every_effect}


def test_every_broken_engine_has_a_run_that_catches_it() -> None:
    assert CAUGHT.keys() == ENGINES.keys()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", CAUGHT)
async def test_a_broken_engine_is_caught_and_a_whole_one_is_not(lanes: dict[str, Lane], name: str) -> None:
    example, trouble, rule = CAUGHT[name]
    lane = lanes[example]
    whole = await lane.play(Run(example, trouble))
    assert whole.sprung
    assert [finding for finding in whole.findings if finding.rule == rule] == [], whole.told
    await lane.become(name)
    try:
        found = await lane.play(Run(example, trouble))
        assert rule in {finding.rule for finding in found.findings}, f"{found}\n{found.told}"
    finally:
        await lane.become("")
