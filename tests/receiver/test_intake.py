"""From a message to stored Incidents: nothing lost, nothing twice, nothing written without need."""

import asyncio

import pytest

from incident_operator.core.alerts import merging
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.kubernetes import discovery
from incident_operator.receiver.intake import NotStoredError
from tests.kubernetes.fake_faults import Fault
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert, resolved
from tests.receiver.receiver_setup import Receivers


def ids(incident) -> list[str]:
    return [listed["id"] for listed in incident["spec"]["alerts"]]


def statuses(incident) -> list[str]:
    return [listed["status"] for listed in incident["spec"]["alerts"]]


async def test_an_alert_becomes_an_incident_of_its_runbook(receivers: Receivers):
    receipt = await receivers.one.take(alert(pack_date="2025-10-21"))
    assert str(receipt) == "1 alert: 1 Incident opened"
    incident = receivers.incident()
    group = merging.of("prod", "pack", ["pack_date"], {"pack_date": "2025-10-21"})
    assert incident["metadata"]["name"] == f"pack-{group.sequence.digest[:5]}-1"
    assert incident["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "incident-operator",
        "incidents.dev/runbook": "pack",
        "incidents.dev/severity": "P1",
        "incidents.dev/group": group.sequence.digest,
    }
    assert incident["spec"]["runbookRef"] == {"name": "pack"}
    assert incident["spec"]["group"] == {"pack_date": "2025-10-21"}
    assert "status" not in incident


async def test_a_repeat_asks_the_apiserver_nothing(receivers: Receivers):
    await receivers.one.take(alert(), alert(pod="b"))
    await receivers.one.take(resolved(pod="b"))
    before = len(receivers.api.requests)
    for _ in range(3):
        await receivers.one.take(alert(), resolved(pod="b"))
    assert len(receivers.api.requests) == before


async def test_a_second_alert_of_the_group_joins_the_open_incident(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    await receivers.one.take(alert(pod="a"), alert(pod="b"))
    assert ids(receivers.incident()) == [messages.received_id(alert(pod=pod)) for pod in "ab"]
    assert receivers.incident()["spec"]["commonLabels"] == {"alertname": "PackFailed"}
    assert receivers.writes == ["POST", "PATCH"]


async def test_alerts_of_different_groups_become_incidents_of_their_own(receivers: Receivers):
    await receivers.one.take(alert(pack_date="1"), alert(pack_date="2"), alert(pack_date="1", pod="b"))
    assert sorted(len(ids(incident)) for incident in receivers.incidents()) == [1, 2]
    assert receivers.writes == ["POST", "POST"]


async def test_changes_of_one_message_for_one_incident_are_one_write(receivers: Receivers):
    await receivers.one.take(alert(pod="a"), alert(pod="b"))
    await receivers.one.take(resolved(pod="a"), resolved(pod="b"), alert(pod="c"))
    assert statuses(receivers.incident()) == ["resolved", "resolved", "firing"]
    assert receivers.writes == ["POST", "PATCH"]


async def test_every_runbook_that_matches_gets_an_incident(receivers: Receivers):
    receivers.one.runbooks.note(
        messages.runbook("pages", match=('alertname=~"Pack.*"',), namespace="oncall", severity="P0")
    )
    await receivers.one.take(alert())
    assert [incident["spec"]["severity"] for incident in receivers.incidents("prod")] == ["P1"]
    assert [incident["spec"]["severity"] for incident in receivers.incidents("oncall")] == ["P0"]
    await receivers.one.take(resolved())
    assert statuses(receivers.incidents("prod")[0]) == statuses(receivers.incidents("oncall")[0]) == ["resolved"]


async def test_a_closed_incident_is_followed_by_the_next_number(receivers: Receivers):
    await receivers.one.take(alert())
    first = receivers.incident()
    receivers.close(first)
    await receivers.one.watch()
    await receivers.one.take(alert(starts="2025-10-22T00:00:00Z"))
    names = sorted(incident["metadata"]["name"] for incident in receivers.incidents())
    assert names == [first["metadata"]["name"], first["metadata"]["name"].removesuffix("1") + "2"]


@pytest.mark.parametrize("watched", [True, False])
async def test_a_closed_incident_is_not_opened_again_by_a_repeat(receivers: Receivers, watched):
    await receivers.one.take(alert())
    receivers.close(receivers.incident())
    restarted = receivers.another()
    if watched:
        await restarted.watch()
    await restarted.take(alert())
    assert ids(receivers.incident()) == [messages.received_id(alert())]


@pytest.mark.parametrize("watched", [True, False])
async def test_an_alert_of_a_closed_incident_can_still_resolve(receivers: Receivers, watched):
    await receivers.one.take(alert())
    receivers.close(receivers.incident(), "Failed")
    if watched:
        await receivers.one.watch()
    await receivers.one.take(resolved())
    assert statuses(receivers.incident()) == ["resolved"]
    assert receivers.incident()["status"] == {"phase": "Failed"}


async def test_the_next_number_is_found_at_once_however_many_there_were(receivers: Receivers):
    for day in range(1, 6):
        await receivers.one.take(alert(starts=f"2025-10-0{day}T00:00:00Z"))
        receivers.close(receivers.incidents()[-1])
        await receivers.one.watch()
    requests = len(receivers.api.requests)
    await receivers.another().take(alert(starts="2025-10-06T00:00:00Z"))
    assert [request.method for request in receivers.api.requests[requests:]] == ["POST", "GET", "GET", "POST"]
    assert len(receivers.incidents()) == 6


async def days(receivers: Receivers, count: int) -> list[str]:
    """Store a closed Incident for each of so many days, and return their names."""
    for day in range(1, count + 1):
        await receivers.one.take(alert(starts=f"2025-10-0{day}T00:00:00Z"))
        await receivers.one.watch()
        receivers.close(next(each for each in receivers.incidents() if "status" not in each), "Failed")
        await receivers.one.watch()
    return [incident["metadata"]["name"] for incident in receivers.incidents()]


def delete(receivers: Receivers, *names: str) -> None:
    for name in names:
        receivers.api.remove(discovery.incidents("prod", name))


@pytest.mark.parametrize("gone", [[], [2], [2, 3, 4]])
async def test_an_alert_resolves_whatever_numbers_before_it_are_deleted(receivers: Receivers, gone):
    names = await days(receivers, 5)
    delete(receivers, *(names[number - 1] for number in gone))
    other = receivers.another()
    before = len(receivers.api.requests)
    await other.take(resolved(starts="2025-10-05T00:00:00Z", ends="2025-10-05T01:00:00Z"))
    assert other.counted("alerts_resolved_unknown_total") == 0
    assert statuses(receivers.incidents()[-1]) == ["resolved"]
    assert len(receivers.api.requests) - before == 4 + 2 * (4 - len(gone)), (
        "first, list; GET and PATCH of each that held it"
    )


async def test_an_alert_resolves_in_a_newer_incident_though_the_numbers_between_are_deleted(receivers: Receivers):
    names = await days(receivers, 2)
    other = receivers.another()
    await other.watch()
    await days_after(receivers, names)
    await other.take(resolved(starts="2025-10-09T00:00:00Z", ends="2025-10-09T01:00:00Z"))
    assert other.counted("alerts_resolved_unknown_total") == 0
    assert statuses(receivers.incidents()[-1]) == ["resolved"]


async def days_after(receivers: Receivers, names: list[str]) -> None:
    """Store one Incident more, and another after it, and delete the former."""
    await receivers.one.take(alert(starts="2025-10-08T00:00:00Z"))
    third = receivers.incidents()[-1]
    receivers.close(third)
    await receivers.one.watch()
    await receivers.one.take(alert(starts="2025-10-09T00:00:00Z"))
    delete(receivers, third["metadata"]["name"])
    assert len(receivers.incidents()) == len(names) + 1


async def test_a_resolved_alert_that_nobody_holds_costs_one_request(receivers: Receivers):
    await receivers.one.take(resolved())
    assert [request.method for request in receivers.api.requests] == ["GET"]


async def test_a_first_number_that_was_deleted_is_made_again(receivers: Receivers):
    names = await days(receivers, 3)
    delete(receivers, names[0])
    await receivers.one.watch()
    receivers.one.incidents.forget_name(merging.of("prod", "pack", ["pack_date"], {}).sequence, 1)
    await receivers.one.take(alert(starts="2025-10-08T00:00:00Z"))
    assert [incident["metadata"]["name"] for incident in receivers.incidents()] == names
    restarted = receivers.another()
    await restarted.take(alert(starts="2025-10-02T00:00:00Z"), alert(starts="2025-10-08T00:00:00Z"))
    assert [incident["metadata"]["name"] for incident in receivers.incidents()] == names


async def test_a_receiver_that_saw_only_the_newest_incident_still_learns_what_the_others_hold(receivers: Receivers):
    await days(receivers, 3)
    other = receivers.another()
    other.incidents.note(receivers.incidents()[-1])
    await other.take(alert(starts="2025-10-01T00:00:00Z"))
    assert len(receivers.incidents()) == 3


async def test_another_groups_incident_of_the_same_name_is_left_alone(receivers: Receivers):
    sequence = merging.of("prod", "pack", ["pack_date"], {"pack_date": "1"}).sequence
    taken = {"namespace": "prod", "name": sequence.name(1), "labels": {"incidents.dev/group": "other"}}
    receivers.api.put({"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": taken, "spec": {}})
    await receivers.one.take(alert(pack_date="1"))
    await receivers.another().take(alert(pack_date="1"))
    foreign, own = receivers.incidents()
    assert foreign["spec"] == {}
    assert own["metadata"]["name"] == sequence.name(2)
    assert len(ids(own)) == 1


def planted(sequence, number: int, *, runbook: str = "", opened_by: str = "") -> dict:
    """An Incident under the operator's name for a group, as somebody else would make it."""
    metadata = {
        "namespace": "prod",
        "name": sequence.name(number),
        "labels": {"incidents.dev/group": sequence.digest},
        "annotations": {"incidents.dev/opened-by": opened_by} if opened_by else {},
    }
    spec = {"runbookRef": {"name": runbook}} if runbook else {}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "claims",
    [{}, {"runbook": "another"}, {"runbook": "pack", "opened_by": "mallory@example.com"}],
    ids=["without a Runbook", "with another Runbook", "with its Runbook, by hand"],
)
async def test_an_incident_that_the_operator_did_not_make_takes_no_alert_in(
    receivers: Receivers, claims: dict[str, str]
):
    sequence = merging.of("prod", "pack", ["pack_date"], {"pack_date": "1"}).sequence
    receivers.api.put(planted(sequence, 1, **claims))
    await receivers.one.take(alert(pack_date="1"))
    other = receivers.another()
    await other.take(alert(pack_date="1"), alert(pack_date="1", pod="b"))
    await other.take(resolved(pack_date="1"))
    foreign, own = receivers.incidents()
    assert "alerts" not in foreign["spec"]
    assert own["metadata"]["name"] == sequence.name(2)
    assert statuses(own) == ["resolved", "firing"]


@pytest.mark.parametrize("seen", [True, False], ids=["seen by the watch", "not seen"])
async def test_a_number_that_somebody_else_used_breaks_no_group(receivers: Receivers, seen: bool):
    sequence = merging.of("prod", "pack", ["pack_date"], {"pack_date": "1"}).sequence
    for number in (1, 999_999):
        receivers.api.put(planted(sequence, number, opened_by="mallory@example.com"))
    if seen:
        await receivers.one.watch()
    for _ in range(2):
        await receivers.one.take(alert(pack_date="1"))
    assert (await receivers.one.take(resolved(pack_date="1"))).never_stored == 0
    (own,) = [each for each in receivers.incidents() if each["metadata"]["name"] == sequence.name(2)]
    assert statuses(own) == ["resolved"]
    assert receivers.writes == (["POST", "PATCH"] if seen else ["POST", "POST", "PATCH"])


async def test_two_replicas_meet_in_one_incident(receivers: Receivers):
    other = receivers.another()
    await asyncio.gather(receivers.one.take(alert(), alert(pod="a")), other.take(alert(pod="b"), alert()))
    assert sorted(ids(receivers.incident())) == sorted(
        messages.received_id(each) for each in (alert(), alert(pod="a"), alert(pod="b"))
    )


async def test_an_alert_resolves_though_the_replica_has_not_seen_its_incident_yet(receivers: Receivers):
    await receivers.one.take(alert())
    other = receivers.another()
    await other.take(resolved())
    assert statuses(receivers.incident()) == ["resolved"]
    assert other.counted("alerts_resolved_unknown_total") == 0


async def test_an_alert_resolves_though_another_replica_took_it_in_unseen(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    other = receivers.another()
    await other.watch()
    await receivers.one.take(alert(pod="b"))
    await other.take(resolved(pod="b"))
    assert statuses(receivers.incident()) == ["firing", "resolved"]


async def test_an_alert_resolves_in_the_newest_incident_though_only_an_older_one_was_seen(receivers: Receivers):
    await receivers.one.take(alert(starts="2025-10-21T00:00:00Z"))
    receivers.close(receivers.incident(), "Failed")
    other = receivers.another()
    await other.watch()
    await receivers.one.watch()
    await receivers.one.take(alert(starts="2025-10-22T00:00:00Z"))
    await other.take(resolved(starts="2025-10-22T00:00:00Z", ends="2025-10-22T01:00:00Z"))
    assert [statuses(incident) for incident in receivers.incidents()] == [["resolved"], ["resolved"]]


async def test_an_alert_resolves_with_every_runbook_though_only_one_incident_was_seen(receivers: Receivers):
    other = receivers.another(messages.runbook(), messages.runbook("second"))
    await receivers.one.take(alert())
    await other.watch()
    receivers.one.runbooks.note(messages.runbook("second"))
    await receivers.one.take(alert())
    await other.take(resolved())
    assert [statuses(incident) for incident in receivers.incidents()] == [["resolved"], ["resolved"]]


async def test_an_alert_that_resolved_without_being_stored_is_counted_and_opens_nothing(receivers: Receivers):
    receipt = await receivers.one.take(resolved(), resolved("Unknown"))
    assert receipt.never_stored == 2
    assert "2 resolved, but never stored as firing" in str(receipt)
    assert receivers.writes == []
    assert receivers.one.counted("alerts_resolved_unknown_total") == 2


async def test_a_resolved_alert_finds_its_incident_though_the_runbook_is_gone(receivers: Receivers):
    await receivers.one.take(alert())
    receivers.one.runbooks.forget(messages.runbook())
    await receivers.one.take(resolved())
    assert statuses(receivers.incident()) == ["resolved"]


async def test_a_resolved_alert_finds_its_incident_though_the_grouping_changed(receivers: Receivers):
    await receivers.one.take(alert(pack_date="1", pod="a"))
    receivers.one.runbooks.note(messages.runbook(group_by=("pod",)))
    await receivers.one.take(resolved(pack_date="1", pod="a"))
    assert statuses(receivers.incident()) == ["resolved"]


async def test_an_alert_that_no_runbook_matches_is_counted(receivers: Receivers):
    receipt = await receivers.one.take(alert("Other"))
    assert "1 without a Runbook" in str(receipt)
    assert receivers.incidents() == []
    assert receivers.one.counted("alerts_unmatched_total") == 1


async def test_an_alert_that_no_runbook_matches_becomes_an_incident_where_that_is_asked_for():
    async with receiver_setup.started(unmatched_namespace="ops") as receivers:
        await receivers.one.take(alert("Other", pod="a"), alert("Other", pod="b"))
        (incident,) = receivers.incidents("ops")
        assert "runbookRef" not in incident["spec"]
        assert "incidents.dev/runbook" not in incident["metadata"]["labels"]
        assert incident["metadata"]["name"].startswith("unmatched-")
        assert incident["spec"]["group"] == {"alertname": "Other"}
        await receivers.one.take(resolved("Other", pod="a"))
        assert statuses(receivers.incidents("ops")[0]) == ["resolved", "firing"]
        assert receivers.one.counted("alerts_resolved_unknown_total") == 0


async def test_alerts_that_alertmanager_left_out_are_told_once(receivers: Receivers):
    await receivers.one.take(alert(), truncated=5)
    assert receivers.incident()["spec"]["truncatedAlerts"] == 5
    await receivers.one.take(alert(), truncated=9)
    await receivers.one.take(alert(), truncated=7)
    assert receivers.incident()["spec"]["truncatedAlerts"] == 9
    assert receivers.writes == ["POST", "PATCH"]


async def test_a_repeat_of_more_alerts_than_an_incident_holds_writes_nothing(receivers: Receivers):
    storm = [alert(pod=str(number)) for number in range(1100)]
    await receivers.one.take(*storm)
    await receivers.one.take(*storm)
    assert receivers.incident()["spec"]["alertsOmitted"] == 100
    assert receivers.writes == ["POST"]


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (Fault.REPLY_LOST, True),
        (Fault.DROPPED, False),
        (Fault.TOO_MANY_REQUESTS, False),
        (Fault.INTERNAL_ERROR, False),
        (Fault.SERVICE_UNAVAILABLE, False),
        (Fault.UNAUTHORIZED, False),
    ],
)
async def test_what_could_not_be_stored_is_told_and_stored_once_when_it_comes_again(
    receivers: Receivers, fault, applied
):
    receivers.api.inject(fault, method="POST")
    with pytest.raises(NotStoredError, match="1 of 1 groups are not stored"):
        await receivers.one.take(alert())
    assert len(receivers.incidents()) == int(applied)
    await receivers.one.take(alert())
    assert ids(receivers.incident()) == [messages.received_id(alert())]


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.DROPPED, Fault.INTERNAL_ERROR])
async def test_a_patch_whose_reply_is_lost_is_not_applied_twice(receivers: Receivers, fault):
    await receivers.one.take(alert(pod="a"))
    receivers.api.inject(fault, method="PATCH")
    with pytest.raises(NotStoredError):
        await receivers.one.take(alert(pod="b"))
    await receivers.one.take(alert(pod="b"))
    assert len(ids(receivers.incident())) == 2


async def test_what_is_stored_of_a_message_stays_though_the_rest_failed(receivers: Receivers):
    receivers.api.inject(Fault.INTERNAL_ERROR, method="POST", times=1)
    with pytest.raises(NotStoredError, match="1 of 3 groups are not stored; the first: injected by the test"):
        await receivers.one.take(*(alert(pack_date=date) for date in "123"))
    assert len(receivers.incidents()) == 2
    await receivers.one.take(*(alert(pack_date=date) for date in "123"))
    assert len(receivers.incidents()) == 3
    assert receivers.writes == ["POST"] * 4


async def test_an_incident_that_closes_while_an_alert_comes_is_left_alone(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    first = receivers.incident()
    receivers.api.interleave(lambda: receivers.close(first), method="PATCH")
    await receivers.one.take(alert(pod="b"))
    closed, opened = receivers.incidents()
    assert ids(closed) == [messages.received_id(alert(pod="a"))]
    assert ids(opened) == [messages.received_id(alert(pod="b"))]
    assert closed["status"] == {"phase": "Resolved"}


async def test_an_engine_that_writes_at_the_same_time_is_not_overwritten(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    first = receivers.incident()
    receivers.api.interleave(lambda: receivers.close(first, "Mitigating"), method="PATCH")
    await receivers.one.take(alert(pod="b"))
    assert len(ids(receivers.incident())) == 2
    assert receivers.incident()["status"] == {"phase": "Mitigating"}


async def test_a_deleted_incident_is_opened_anew(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    path = discovery.incidents("prod", receivers.incident()["metadata"]["name"])
    receivers.api.remove(path)
    await receivers.one.take(alert(pod="b"))
    assert ids(receivers.incident()) == [messages.received_id(alert(pod="b"))]


async def test_an_incident_deleted_while_an_alert_comes_is_opened_anew(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    path = discovery.incidents("prod", receivers.incident()["metadata"]["name"])
    receivers.api.interleave(lambda: receivers.api.remove(path), method="PATCH")
    await receivers.one.take(alert(pod="b"))
    assert ids(receivers.incident()) == [messages.received_id(alert(pod="b"))]


async def test_an_incident_that_never_holds_still_is_given_up_after_some_rounds(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    receivers.api.inject(Fault.CONFLICT, method="PATCH", times=100)
    with pytest.raises(NotStoredError, match="changed 10 times"):
        await receivers.one.take(alert(pod="b"))
    assert len(receivers.writes) == 11


async def test_fields_of_a_newer_version_survive_a_merge(receivers: Receivers):
    await receivers.one.take(alert(pod="a"))
    incident = receivers.incident()
    receivers.api.put({**incident, "spec": {**incident["spec"], "later": {"kept": True}}})
    await receivers.one.take(alert(pod="b"))
    assert receivers.incident()["spec"]["later"] == {"kept": True}
    assert len(ids(receivers.incident())) == 2


async def test_fifty_alerts_posted_two_hundred_times_with_lost_replies_are_fifty_incidents(receivers: Receivers):
    replicas = [receivers.one, receivers.another()]
    await asyncio.gather(*(replica.watch() for replica in replicas))
    for fault in (Fault.REPLY_LOST, Fault.DROPPED, Fault.TOO_MANY_REQUESTS, Fault.INTERNAL_ERROR):
        receivers.api.inject(fault, method="POST", times=8)
    posts = [(replicas[turn % 2], str(number)) for turn in range(4) for number in range(50)]
    attempts = await asyncio.gather(*(until_stored(replica, number) for replica, number in posts))
    assert sum(attempts) == 200 + 32
    assert len(receivers.incidents()) == 50
    assert all(len(ids(incident)) == 1 for incident in receivers.incidents())
    assert set(receivers.writes) == {"POST"}
    assert len(receivers.writes) <= 50 + 50 + 32, "each replica tries a name once, and once more for each fault"


async def until_stored(replica: receiver_setup.Replica, number: str) -> int:
    for attempt in range(1, 40):
        try:
            await replica.take(alert(pack_date=number))
        except NotStoredError:
            await asyncio.sleep(0)
        else:
            return attempt
    raise AssertionError("never stored")


async def test_two_thousand_alerts_of_one_group_are_one_write(receivers: Receivers):
    await receivers.one.take(*(alert(pod=str(number)) for number in range(2000)))
    assert receivers.writes == ["POST"]
    spec = receivers.incident()["spec"]
    assert (len(spec["alerts"]), spec["alertsOmitted"]) == (1000, 1000)


async def test_a_defect_met_by_one_group_does_not_keep_the_others_from_being_stored(receivers: Receivers):
    receivers.one.runbooks.note(messages.runbook("other", match=('alertname="Other"',)))
    receivers.api.interleave(lambda: receivers.one.incidents.__setattr__("mark_complete", None), method="POST")
    with pytest.raises(TypeError):
        await receivers.one.take(*(alert(pack_date=date) for date in "123"))
    assert len(receivers.incidents()) == 3


async def test_others_have_their_turn_while_a_long_message_is_looked_at(receivers: Receivers):
    storm = messages.read(*(alert(pack_date=str(number % 50), pod=str(number)) for number in range(2000)))
    await receivers.one.intake.take(storm)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await receivers.one.intake.take(storm)
    counting.cancel()
    assert turns >= 9, "once for 200 alerts"


async def test_what_is_told_is_counted(receivers: Receivers):
    await receivers.one.take(alert(pod="a"), alert(pod="b"), truncated=2)
    await receivers.one.take(resolved(pod="a"))
    assert receivers.one.counted("alerts_received_total", status="firing") == 2
    assert receivers.one.counted("alerts_received_total", status="resolved") == 1
    assert receivers.one.counted("alerts_truncated_total") == 2
    assert receivers.one.counted("intake_writes_total", kind="opened") == 1
    assert receivers.one.counted("intake_writes_total", kind="changed") == 1


async def test_an_alert_that_another_replica_took_in_meanwhile_costs_no_write(receivers: Receivers):
    await receivers.one.take(messages.alert(pod="1"))
    two = receivers.another()
    await two.take(messages.alert(pod="0"))
    await receivers.one.take(messages.alert(pod="2"))
    before = len(receivers.writes)
    receipt = await two.take(messages.alert(pod="2"))
    assert (receipt.opened, receipt.changed, len(receivers.writes)) == (0, 0, before)


async def test_groups_of_one_namespace_are_stored_in_turn_with_those_of_another_however_many_there_are() -> None:
    """One message that holds a storm of one namespace, and an alert of another at its end."""
    mine = ('alertname="PackFailed"', 'pack_date="last"')
    runbooks = messages.runbook("eve", namespace="eve"), messages.runbook("prod", namespace="prod", match=mine)
    async with receiver_setup.started(
        *runbooks, scope=AlertScope(global_namespaces=frozenset({"eve", "prod"}))
    ) as receivers:
        storm = [messages.alert(pack_date=str(number)) for number in range(40)]
        await receivers.one.take(*storm, messages.alert(pack_date="last"))
        created = [request.path.split("/")[-2] for request in receivers.api.writes]
    assert created.index("prod") <= 2
    assert len(created) == 42
