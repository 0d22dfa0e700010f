"""What an event sets going, and what it leaves alone."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from incident_operator.api.incident import OPENED_BY, Incident, Verb
from incident_operator.api.meta import ObjectKey
from incident_operator.core.alerts.merging import IncidentSequence
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.recorder import Expectations
from incident_operator.engine.work_queue import WorkQueue
from incident_operator.engine.workers import Wanted
from incident_operator.informers import Inbox
from incident_operator.kubernetes.partial_objects import Annotations
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import RunbookIndex

PACK, INCIDENT = ObjectKey("prod", "pack"), ObjectKey("prod", "pack-5f2c1a2b3c4d-1")


class Noted(WorkQueue):
    """Keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ObjectKey]] = []

    def add(self, key: ObjectKey, severity: str = "", wanted: Wanted | None = None) -> None:
        self.asked.append((severity or "now", key))

    def add_later(self, key: ObjectKey, seconds: float) -> None:
        self.asked.append(("later", key))

    def forget(self, key: ObjectKey) -> None:
        self.asked.append(("forgotten", key))

    def taken(self) -> list[tuple[str, ObjectKey]]:
        taken, self.asked = self.asked, []
        return taken


class Seen:
    """An inbox and what it set going."""

    def __init__(self) -> None:
        self.incidents, self.runbooks = Noted(), Noted()
        indexes = (IncidentIndex(), RunbookIndex())
        self.box = Inbox(self.incidents, self.runbooks, *indexes, IncidentCounts(), Expectations())


@pytest.fixture
def seen() -> Seen:
    return Seen()


def incident(version: str = "5", **status: Any) -> dict[str, Any]:
    spec = {"runbookRef": {"name": "pack"}, "severity": "P1"}
    return {"metadata": meta(INCIDENT.name, version), "spec": spec, "status": status}


def runbook(generation: int = 1, observed: int = 0, version: str = "3") -> dict[str, Any]:
    spec = {"title": "t", "serviceAccountName": "rb", "match": ['alertname="A"']}
    return {"metadata": meta("pack", version, generation), "spec": spec, "status": {"observedGeneration": observed}}


def connection(generation: int = 1) -> dict[str, Any]:
    return {"metadata": meta("read", "4", generation), "spec": {"type": "postgres"}}


def meta(name: str, version: str, generation: int = 1) -> dict[str, Any]:
    return {"namespace": "prod", "name": name, "resourceVersion": version, "uid": name, "generation": generation}


def test_an_incident_is_reconciled_by_its_severity_unless_it_shows_our_own_write(seen: Seen) -> None:
    seen.box.incident(incident("5"))
    seen.box.expectations.expect(INCIDENT, "6")
    seen.box.incident(incident("6"))
    seen.box.incident(incident("7"))
    assert seen.incidents.taken() == [("P1", INCIDENT), ("P1", INCIDENT)]


def test_an_event_that_a_reconciliation_knows_already_wakes_nobody(seen: Seen) -> None:
    seen.box.incident(incident("5"))
    seen.box.expectations.expect(INCIDENT, "7")
    seen.incidents.taken()
    seen.box.incident(incident("6"))
    seen.box.incident(incident("7"))
    assert seen.incidents.taken() == []


def test_a_closed_incident_is_forgotten_and_counted_as_the_last_one(seen: Seen) -> None:
    seen.box.incident(incident(phase="Pending"))
    at = "2025-10-21T01:00:00Z"
    seen.incidents.taken()
    seen.box.incident(incident("6", phase="Resolved", times={"resolved": at}))
    last = seen.box.counts.last(PACK)
    assert seen.incidents.taken() == [("forgotten", INCIDENT)]
    assert seen.box.counts.open(PACK) == 0
    assert last is not None
    assert last.at == datetime(2025, 10, 21, 1, tzinfo=UTC)


def closed_by_us(version: str) -> Incident:
    return Incident.model_validate(incident(version, phase="Failed", times={"resolved": "2025-10-21T01:00:00Z"}))


def test_an_incident_that_left_because_we_closed_it_counts_as_closed(seen: Seen) -> None:
    seen.box.incident(incident("5"))
    seen.box.expectations.closed(closed_by_us("9"))
    assert seen.box.incident_closed(incident("9", phase="Verifying"))
    last = seen.box.counts.last(PACK)
    assert seen.box.counts.open(PACK) == 0
    assert (last.phase, last.at) == ("Failed", datetime(2025, 10, 21, 1, tzinfo=UTC)) if last else False


@pytest.mark.parametrize("body", [incident("10"), {"metadata": meta(INCIDENT.name, "9")}], ids=["later", "name only"])
def test_an_incident_that_left_otherwise_is_not_taken_for_closed(seen: Seen, body: dict[str, Any]) -> None:
    seen.box.incident(incident("5"))
    seen.box.expectations.closed(closed_by_us("9"))
    assert not seen.box.incident_closed(body)
    assert seen.box.counts.open(PACK) == 1


def test_an_answer_that_was_overtaken_does_not_open_again_what_is_closed(seen: Seen) -> None:
    seen.box.incident(incident("5"))
    seen.box.expectations.expect(INCIDENT, "9")
    seen.box.incident(incident("9", phase="Resolved"))
    seen.incidents.taken()
    seen.box.incident(incident("5"))
    assert seen.incidents.taken() == []
    assert seen.box.counts.open(PACK) == 0


def test_an_incident_that_cannot_be_read_is_refused_before_anything_is_noted(seen: Seen) -> None:
    with pytest.raises(ValueError, match="Dreaming"):
        seen.box.incident(incident(phase="Dreaming"))
    assert seen.box.counts.open(PACK) == 0


def test_a_runbook_is_checked_at_first_sight_even_where_its_status_is_current(seen: Seen) -> None:
    seen.box.runbook(runbook(observed=1))
    seen.box.runbook(runbook(observed=1, version="4"))
    assert seen.runbooks.taken() == [("now", PACK)]


@pytest.mark.parametrize("version", ["9", "8"], ids=["what is known", "what is older than that"])
def test_a_runbook_that_is_told_twice_sets_nothing_going(seen: Seen, version: str) -> None:
    seen.box.runbook(runbook(generation=2, version="9"))
    seen.runbooks.taken()
    older = runbook(generation=1, version=version)
    older["spec"] = {**older["spec"], "match": ['alertname="B"']}
    seen.box.runbook(older)
    assert seen.runbooks.taken() == []
    assert seen.box.runbook_index.matching({"alertname": "A", "namespace": "prod"})


def test_an_edited_runbook_is_checked_and_its_open_incidents_look_again(seen: Seen) -> None:
    seen.box.runbook(runbook(observed=1))
    seen.box.incident(incident())
    seen.incidents.taken(), seen.runbooks.taken()
    seen.box.runbook(runbook(generation=2, observed=1, version="4"))
    assert seen.runbooks.taken() == [("now", PACK)]
    assert seen.incidents.taken() == [("now", INCIDENT)]


def test_once_an_edit_is_checked_the_open_incidents_look_once_more(seen: Seen) -> None:
    seen.box.runbook(runbook(observed=1))
    seen.box.incident(incident())
    seen.box.runbook(runbook(generation=2, observed=1, version="6"))
    seen.incidents.taken()
    for version in ("7", "8"):
        seen.box.runbook(runbook(generation=2, observed=2, version=version))
    assert seen.incidents.taken() == [("now", INCIDENT)]


def test_a_connection_that_appears_or_goes_has_runbooks_and_their_incidents_look_again(seen: Seen) -> None:
    seen.box.runbook(runbook(observed=1))
    seen.box.incident(incident())
    for event in (seen.box.connection, seen.box.connection_gone, seen.box.connection):
        seen.incidents.taken(), seen.runbooks.taken()
        event(connection())
        assert seen.runbooks.taken() == [("later", PACK)]
        assert seen.incidents.taken() == [("now", INCIDENT)]


def test_our_own_status_write_of_a_connection_sets_nothing_going(seen: Seen) -> None:
    seen.box.runbook(runbook(observed=1))
    seen.box.connection(connection())
    seen.runbooks.taken()
    seen.box.connection(connection())
    assert seen.runbooks.taken() == []


def test_a_deleted_incident_is_counted_no_more(seen: Seen) -> None:
    seen.box.incident(incident())
    assert seen.box.counts.open(PACK) == 1
    seen.box.incident_gone(incident("9"))
    assert seen.box.counts.open(PACK) == 0
    assert ("later", PACK) in seen.runbooks.taken()


def test_a_deleted_runbook_matches_nothing_and_is_checked_no_more(seen: Seen) -> None:
    seen.box.runbook(runbook())
    seen.box.connection_users.learn("prod", [(PACK.name, "rb-pack", frozenset({"read"}))])
    seen.box.runbook_gone(runbook())
    assert seen.box.connection_users.accounts(ObjectKey("prod", "read")) == []
    assert seen.box.runbook_index.matching({"alertname": "A", "namespace": "prod"}) == []
    assert seen.runbooks.taken()[-1] == ("forgotten", PACK)


async def test_an_abort_is_told_to_whoever_works_on_the_incident_and_one_that_we_know_of_is_not(seen: Seen) -> None:
    loop, in_flight = asyncio.get_running_loop(), seen.box.in_flight
    done, never = loop.create_future(), loop.create_future()
    done.set_result(None)
    in_flight.listen(INCIDENT)
    seen.box.incident(incident("5"))
    assert not await in_flight.aborted_before(INCIDENT, done)
    hears = asyncio.create_task(in_flight.aborted_before(INCIDENT, never))
    await asyncio.sleep(0)
    aborted = incident("6")
    aborted["metadata"]["annotations"] = {Verb.ABORT.annotation: "now carol@example.com"}
    seen.box.incident(aborted)
    assert await asyncio.wait_for(hears, 5)
    assert not await in_flight.aborted_before(INCIDENT, done), "it is told once"
    seen.box.expectations.expect(INCIDENT, "7")
    aborted["metadata"]["resourceVersion"] = "7"
    seen.box.incident(aborted)
    assert not await in_flight.aborted_before(INCIDENT, done)


async def test_an_abort_that_nobody_listens_to_is_left_to_the_next_reconciliation(seen: Seen) -> None:
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    seen.box.in_flight.abort_came(INCIDENT)
    assert not await seen.box.in_flight.aborted_before(INCIDENT, done)
    seen.box.in_flight.abort_came(INCIDENT)
    assert await seen.box.in_flight.aborted_before(INCIDENT, done), "it came at that very moment"
    seen.box.in_flight.leave(INCIDENT)
    assert not await seen.box.in_flight.aborted_before(INCIDENT, done)


def test_the_partial_incident_knows_an_abort_and_who_opened_it() -> None:
    assert set(Annotations.__annotations__) == {Verb.ABORT.annotation, OPENED_BY}


def test_a_runbook_that_goes_takes_the_memory_of_its_namespaces_closed_incidents_with_it(seen: Seen) -> None:
    """Its namespace may be deleted, and made again: closed Incidents are not watched, so nobody tells that they are gone."""
    sequences = [IncidentSequence(namespace, "pack-5f2c1a2b3c4d", "5f2c1" * 8) for namespace in ("prod", "other")]
    for sequence in sequences:
        seen.box.incident_index.mark_complete(sequence)
    seen.box.runbook_gone(runbook())
    assert [seen.box.incident_index.is_complete(each) for each in sequences] == [False, True]


def test_a_runbook_under_another_uid_is_a_new_one_though_nobody_told_that_the_old_one_went(seen: Seen) -> None:
    body = runbook()
    seen.box.runbook({**body, "metadata": {**body["metadata"], "uid": "old"}})
    sequence = IncidentSequence("prod", "pack-5f2c1a2b3c4d", "5f2c1" * 8)
    seen.box.incident_index.mark_complete(sequence)
    again = {**body["metadata"], "uid": "new", "resourceVersion": "900"}
    seen.box.runbook({**body, "metadata": again})
    assert not seen.box.incident_index.is_complete(sequence)


def test_a_connection_under_another_uid_is_looked_at_though_its_generation_is_the_same(seen: Seen) -> None:
    seen.box.runbook(runbook())
    connection = {"metadata": {"namespace": "prod", "name": "db", "generation": 1, "uid": "old"}}
    seen.box.connection(connection)
    seen.runbooks.taken()
    seen.box.connection(connection)
    assert seen.runbooks.taken() == []
    seen.box.connection({"metadata": {**connection["metadata"], "uid": "new"}})
    assert seen.runbooks.taken() == [("later", PACK)]
