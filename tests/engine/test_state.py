"""Storing a status: over exactly the version that was read, and never twice blindly."""

import pytest

from incident_operator.api.incident import Incident, IncidentStatus, Phase
from incident_operator.core.status.present import fitting_status
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.state import Gone, State, Superseded
from tests.engine.fake_cluster import INCIDENT, FakeCluster
from tests.kubernetes.fake_faults import Fault

WANTED = fitting_status(IncidentStatus(phase=Phase.DIAGNOSING, message="reading"))


async def ready(fake_cluster: FakeCluster, pauses: tuple[float, ...] = (0.0, 0.0)) -> tuple[State, Incident]:
    state = State(fake_cluster.client, "me", pauses=pauses)
    return state, await state.read(*INCIDENT)


async def test_a_lost_reply_is_found_by_its_mark_and_written_once(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    stored = await state.store(incident, *WANTED)
    assert (stored.status.message, stored.status.written_by) == ("reading", "me/1")
    assert stored.metadata.resource_version == pack.incident().metadata.resource_version


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.SERVICE_UNAVAILABLE, Fault.TOO_MANY_REQUESTS])
async def test_a_write_that_never_arrived_is_sent_again(pack: FakeCluster, fault: Fault) -> None:
    state, incident = await ready(pack)
    pack.api.inject(fault, method="PATCH", path="/status", times=2)
    assert (await state.store(incident, *WANTED)).status.message == "reading"


async def test_a_foreign_write_in_between_is_superseded_and_stays(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    other = State(pack.client, "other")
    await other.store(incident, *fitting_status(IncidentStatus(message="other")))
    with pytest.raises(Superseded):
        await state.store(incident, *WANTED)
    assert pack.incident().status.message == "other"


async def test_a_foreign_write_after_a_lost_request_is_superseded(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    pack.api.inject(Fault.DROPPED, method="PATCH", path="/status")
    pack.api.interleave(lambda: pack.api.put(foreign(pack)), method="PATCH", path="/status")
    with pytest.raises(Superseded):
        await state.store(incident, *WANTED)


async def test_a_copy_that_took_the_incidents_place_is_not_taken_for_it(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    pack.api.interleave(lambda: restore_from_backup(pack), method="PATCH", path="/status")
    with pytest.raises(Superseded):
        await state.store(incident, *WANTED)
    assert pack.incident().status.message == "reading"


async def test_an_apiserver_that_stays_away_is_told_after_the_last_try(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    pack.api.inject(Fault.SERVICE_UNAVAILABLE, method="PATCH", path="/status", times=9)
    with pytest.raises(apiserver.Unavailable):
        await state.store(incident, *WANTED)
    assert len(pack.api.writes) == 3


async def test_a_deleted_incident_is_gone(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    pack.api.remove(discovery.incidents(*INCIDENT))
    with pytest.raises(Gone):
        await state.store(incident, *WANTED)


async def test_another_incident_of_the_same_name_is_never_written(pack: FakeCluster) -> None:
    state, incident = await ready(pack)
    body = pack.api.object(discovery.incidents(*INCIDENT))
    pack.api.remove(discovery.incidents(*INCIDENT))
    await pack.client.create(
        discovery.incidents("prod"), {**body, "metadata": {"name": INCIDENT.name, "namespace": "prod"}}
    )
    with pytest.raises(Superseded):
        await state.store(incident, *WANTED)
    assert pack.incident().status.message == ""


def foreign(fake_cluster: FakeCluster) -> dict[str, object]:
    body = fake_cluster.api.object(discovery.incidents(*INCIDENT))
    body["metadata"].setdefault("annotations", {})["note"] = "by hand"
    return body


def restore_from_backup(fake_cluster: FakeCluster) -> None:
    body = fake_cluster.api.object(discovery.incidents(*INCIDENT))
    fake_cluster.api.remove(discovery.incidents(*INCIDENT))
    fake_cluster.api.put({**body, "metadata": {**body["metadata"], "uid": "another"}})
