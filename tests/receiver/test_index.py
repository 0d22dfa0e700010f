"""What is remembered of stored Incidents and Runbooks."""

import json
import tracemalloc
import uuid

import pytest

from incident_operator.core.alerts import merging
from incident_operator.core.alerts.merging import IncidentSequence
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.routing import Candidate, RunbookIndex
from tests.receiver import messages
from tests.receiver.receiver_setup import EVERYWHERE

SERIES = IncidentSequence("prod", "pack-12345", "12345" * 8)
A = messages.received_id(messages.alert("A"))
HOLDS_A = messages.fingerprint(messages.alert("A"))


def incident(
    number=1, *, version=10, generation=1, phase="", firing=(A,), resolved=(), sequence=SERIES, name=None, uid=""
):
    alerts = [{"id": each, "startsAt": messages.STARTED, "status": "firing"} for each in firing]
    alerts += [{"id": each, "startsAt": messages.STARTED, "status": "resolved"} for each in resolved]
    metadata = {
        "namespace": sequence.namespace,
        "name": name or sequence.name(number),
        "uid": uid or f"6c7e1a52-0000-4000-8000-{number:012}",
        "resourceVersion": str(version),
        "generation": generation,
        "labels": {"incidents.dev/group": sequence.digest},
    }
    spec = {"runbookRef": {"name": sequence.stem[:-6]}, "alerts": alerts}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase} if phase else {}}


def index_of(*incidents) -> IncidentIndex:
    index = IncidentIndex()
    for each in incidents:
        index.note(each)
    return index


def test_an_incident_is_remembered_and_forgotten():
    index = index_of(incident())
    (episode,) = index.episodes(SERIES)
    assert (episode.number, episode.group, episode.open, episode.firing) == (1, SERIES.digest, True, (A,))
    assert index.holders(HOLDS_A) == (SERIES,)
    index.forget(incident(version=11))
    assert index.episodes(SERIES) == ()
    assert index.holders(HOLDS_A) == ()


@pytest.mark.parametrize("phase", ["Resolved", "Failed", "Suppressed"])
def test_a_closed_incident_takes_nothing_in(phase):
    (episode,) = index_of(incident(phase=phase)).episodes(SERIES)
    assert not episode.open


@pytest.mark.parametrize("phase", ["", "Pending", "NeedsHuman", "Verifying", "AwaitingApproval"])
def test_any_other_is_open(phase):
    (episode,) = index_of(incident(phase=phase)).episodes(SERIES)
    assert episode.open


def test_one_that_is_being_deleted_takes_nothing_in():
    going = incident()
    going["metadata"]["deletionTimestamp"] = messages.ENDED
    (episode,) = index_of(going).episodes(SERIES)
    assert not episode.open


def test_an_older_state_that_arrives_later_is_ignored():
    index = index_of(incident(version=12, generation=2, firing=(), resolved=(A,)), incident(version=11))
    (episode,) = index.episodes(SERIES)
    assert episode.resolved == (A,)
    assert index.holders(HOLDS_A) == ()


def test_a_late_deletion_does_not_drop_a_newer_incident_of_that_name():
    index = index_of(incident(version=20))
    index.forget(incident(version=15))
    assert len(index.episodes(SERIES)) == 1


def test_a_status_patch_changes_the_phase_and_keeps_the_alerts():
    index = index_of(incident(version=10), incident(version=11, phase="Resolved", firing=()))
    (episode,) = index.episodes(SERIES)
    assert not episode.open
    assert episode.firing == (A,), "the generation is the same, so the spec was not looked at"


@pytest.mark.parametrize("how", [{"uid": "another"}, {"generation": 2}])
def test_alerts_of_an_incident_that_was_made_again_or_changed_are_looked_at(how):
    index = index_of(incident(version=10), incident(version=15, firing=(), **how))
    assert index.holders(HOLDS_A) == ()


def test_alerts_of_an_incident_without_a_generation_are_always_looked_at():
    index = index_of(incident(generation=0, version=10), incident(generation=0, version=11, firing=()))
    assert index.holders(HOLDS_A) == ()


def test_several_incidents_of_a_sequence_are_told_apart():
    index = index_of(incident(1, phase="Resolved"), incident(2))
    assert sorted((each.number, each.open) for each in index.episodes(SERIES)) == [(1, False), (2, True)]
    assert index.holders(HOLDS_A) == (SERIES,)
    index.forget_name(SERIES, 2)
    assert [each.number for each in index.episodes(SERIES)] == [1]
    assert index.holders(HOLDS_A) == (SERIES,)


def test_incidents_that_people_name_are_no_concern():
    index = index_of(incident(name="my-own"))
    index.forget(incident(name="my-own"))
    assert index.holders(HOLDS_A) == ()


def by_hand(made):
    made["metadata"]["annotations"] = {"incidents.dev/opened-by": "mallory@example.com"}


def without_a_runbook(made):
    del made["spec"]["runbookRef"]


def of_another_runbook(made):
    made["spec"]["runbookRef"] = {"name": "another"}


def of_another_group(made):
    made["metadata"]["labels"]["incidents.dev/group"] = "54321" * 8


def of_no_group(made):
    made["metadata"]["labels"] = None


@pytest.mark.parametrize("bend", [by_hand, without_a_runbook, of_another_runbook, of_another_group, of_no_group])
def test_of_an_incident_that_the_operator_did_not_make_only_the_name_is_known(bend):
    made = incident()
    bend(made)
    index = index_of(made)
    assert index.holders(HOLDS_A) == ()
    (episode,) = index.episodes(SERIES)
    assert (episode.number, episode.own, episode.open, episode.group, episode.firing) == (1, False, False, "", ())


def test_one_that_is_believed_no_longer_gives_its_alerts_back():
    relabelled = incident(version=11)
    of_another_group(relabelled)
    index = index_of(incident(version=10), relabelled)
    assert index.holders(HOLDS_A) == ()
    index.note(incident(version=12))
    assert index.holders(HOLDS_A) == (SERIES,)


def test_neither_index_is_ready_before_it_is_told_so():
    for index in (IncidentIndex(), RunbookIndex()):
        assert not index.ready
        index.mark_ready()
        assert index.ready


def test_a_remembered_incident_takes_little_memory():
    listed = [json.dumps(stored_for(number)) for number in range(1000)]
    tracemalloc.start()
    index = IncidentIndex()
    for text in listed:
        index.note(json.loads(text))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.episodes(SERIES) == ()
    assert taken / 1000 < 1100, "bytes: 10,000 Incidents take 11 MB"


def stored_for(number: int):
    made = messages.alert("A", pod=str(number))
    sequence = merging.of("prod", "pack", ["pod"], made["labels"]).sequence
    return incident(firing=(messages.received_id(made),), sequence=sequence, uid=str(uuid.uuid4()))


def test_every_runbook_whose_matchers_hold_answers():
    index = RunbookIndex(EVERYWHERE)
    for name, matcher in (("a", 'alertname="PackFailed"'), ("b", 'alertname=~"Pack.*"'), ("c", "alertname=Other")):
        index.note(messages.runbook(name, match=(matcher,)))
    found = index.matching({"alertname": "PackFailed"})
    assert sorted(each.name for each in found) == ["a", "b"]
    assert found[0] == Candidate("prod", "a", "P1", ("pack_date",))
    index.forget(messages.runbook("a"))
    assert [each.name for each in index.matching({"alertname": "PackFailed"})] == ["b"]


def test_a_runbook_whose_matchers_became_unreadable_matches_nothing():
    index = RunbookIndex(EVERYWHERE)
    index.note(messages.runbook())
    index.note(messages.runbook(match=('alertname="PackFailed"', 'severity=~"("')))
    assert index.matching({"alertname": "PackFailed"}) == []
