"""Operators that are broken on purpose: a run of the matrix catches every one of them, by the rule that is meant for it."""

import pytest

from proofs.faults.broken import ENGINES
from proofs.faults.shortlist import CAUGHT, Playing

pytestmark = pytest.mark.cluster


def test_every_broken_engine_has_a_run_that_catches_it() -> None:
    assert CAUGHT.keys() == ENGINES.keys()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", CAUGHT)
async def test_a_broken_engine_is_caught_and_a_whole_one_is_not(playing: Playing, name: str) -> None:
    catch = CAUGHT[name]
    whole, found = (await playing.broken[catch.make])[name]
    assert whole.sprung
    assert [finding for finding in whole.findings if finding.rule == catch.rule] == [], whole.told
    assert catch.rule in {finding.rule for finding in found.findings}, f"{found}\n{found.told}"
