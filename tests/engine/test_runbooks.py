"""Which Runbook is in force: read whole once for a storm of Incidents, and anew after an edit."""

import asyncio

from engine.world import World
from incident_operator.clients import paths
from incident_operator.core.machine.view import Pinned
from incident_operator.engine.revisions import Revisions
from incident_operator.engine.runbooks import Runbooks

RUNBOOK = paths.runbooks("prod", "pack")


def _whole_reads(pack: World) -> int:
    """Connections are listed where a Runbook is read whole, and compiled."""
    return sum(request.path == paths.connections("prod") for request in pack.api.requests)


async def _in_force(pack: World, runbooks: Runbooks, times: int) -> set[str]:
    incident = pack.incident()
    found = await asyncio.gather(*(runbooks.in_force(incident) for _ in range(times)))
    return {each.revision for each in found if isinstance(each, Pinned)}


async def test_incidents_that_begin_together_read_their_runbook_once(pack: World) -> None:
    runbooks = Runbooks(pack.client, Revisions(pack.client))
    assert len(await _in_force(pack, runbooks, 20)) == 1
    assert _whole_reads(pack) == 1


async def test_an_edited_runbook_is_read_again(pack: World) -> None:
    runbooks = Runbooks(pack.client, Revisions(pack.client))
    before = await _in_force(pack, runbooks, 2)
    edited = pack.api.object(RUNBOOK)
    pack.api.put({**edited, "spec": {**edited["spec"], "title": "Another"}})
    after = await _in_force(pack, runbooks, 20)
    assert (len(before | after), _whole_reads(pack)) == (2, 2)
