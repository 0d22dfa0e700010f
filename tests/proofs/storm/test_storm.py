"""A sample of `make storm` on the real cluster: nothing lost, nothing doubled, however often the operator is killed."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from demonstration import cluster as clusters

from proofs.storm import storm_namespace
from proofs.storm.rig import Rig
from proofs.storm.scenarios import flood
from proofs.storm.victim import Forks

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The cluster of `make cluster`; the policies are left as the other tests have them."""
    cluster = clusters.up()
    token = storm_namespace.prepare(cluster, policies=False)
    async with Forks() as forks:
        yield Rig(cluster, token, forks, tmp_path, Random(4))
    storm_namespace.clear(cluster)
    storm_namespace.remove(cluster)


async def test_no_alert_is_lost_or_doubled_when_the_operator_is_killed_in_a_storm(rig):
    line = await flood.many_groups(rig, alerts=200, kills=3)
    assert line.kills == 3
    assert (line.balance.sent, line.balance.acknowledged, line.balance.stored) == (200, 200, 200)
    assert line.incidents == 200
    assert line.clean, line
