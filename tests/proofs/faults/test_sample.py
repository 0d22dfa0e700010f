"""A sample of `make faults`: every fault once on the quickstart, and those of SQL and of services on every effect, and guards between intent and act."""

import pytest

from proofs.faults.runs import Result
from proofs.faults.shortlist import Playing

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("example", ["quickstart", "every-effect", "between"])
async def test_no_fault_doubles_or_loses_anything(playing: Playing, example: str) -> None:
    results = await playing.samples[example]
    assert [str(each.run) for each in results if not each.sprung] == []
    assert "\n".join(_told(each) for each in results if each.findings) == ""


def _told(result: Result) -> str:
    """A result that somebody can mend something by."""
    return f"{result.run}\n{result.told}"
