"""The pure parts of the load generator: groups, retries, and the books that say what is lost."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from proofs.storm.alerts import Alert
from proofs.storm.groups import Group
from proofs.storm.ledger import Ledger, balance, stored
from proofs.storm.retrying import Fate, fate, pauses

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=1)


def alert(instance: str = "a", began: datetime = BEGAN) -> Alert:
    return Alert({"alertname": "A", "instance": instance}, began)


def told(group: Group) -> list[str]:
    notification = group.flush()
    assert notification is not None
    assert [each["status"] for each in json.loads(notification.body)["alerts"]] == [
        each.status for each in notification.alerts
    ]
    group.succeeded(notification)
    return [each.status for each in notification.alerts]


def test_a_group_tells_all_of_its_alerts_when_one_changes_and_nothing_when_none_does():
    group = Group({})
    group.insert(alert("a"))
    assert told(group) == ["firing"]
    assert group.flush() is None
    group.insert(alert("b"))
    assert told(group) == ["firing", "firing"]


def test_an_alert_whose_end_was_told_is_forgotten():
    group = Group({})
    group.insert(alert("a"))
    group.insert(alert("b"))
    told(group)
    group.insert(alert("a").resolved(ENDED))
    assert told(group) == ["resolved", "firing"]
    group.insert(alert("c"))
    assert told(group) == ["firing", "firing"]


def test_what_changes_while_a_message_is_under_way_is_told_by_the_next():
    group = Group({})
    group.insert(alert())
    under_way = group.flush()
    assert under_way is not None
    group.insert(alert().resolved(ENDED))
    group.succeeded(under_way)
    assert told(group) == ["resolved"]


def test_an_occurrence_that_begins_anew_takes_the_place_of_the_last():
    group = Group({})
    group.insert(alert())
    group.insert(alert(began=ENDED))
    notification = group.flush()
    assert notification is not None
    assert [each.starts_at for each in notification.alerts] == [ENDED]


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        (200, Fate.TOLD),
        (204, Fate.TOLD),
        (400, Fate.DROPPED),
        (413, Fate.DROPPED),
        (429, Fate.DROPPED),
        (500, Fate.AGAIN),
        (503, Fate.AGAIN),
        (None, Fate.AGAIN),
    ],
)
def test_only_what_alertmanager_retries_is_sent_again(status, becomes):
    assert fate(status) is becomes


def test_pauses_grow_by_half_up_to_a_minute():
    drawn = [list(itertools.islice(pauses(Random(seed)), 20)) for seed in range(200)]
    means = [sum(column) / len(column) for column in zip(*drawn, strict=True)]
    assert means[0] == pytest.approx(0.5, rel=0.1)
    assert means[1] == pytest.approx(0.75, rel=0.1)
    assert means[19] == pytest.approx(60.0, rel=0.1)
    assert max(map(max, drawn)) <= 90.0


def test_pauses_can_be_scaled():
    assert next(pauses(Random(1), 0.1)) == pytest.approx(next(pauses(Random(1))) / 10)


def ledger(*alerts: Alert) -> Ledger:
    made = Ledger()
    made.sending(alerts)
    made.told(alerts)
    return made


def incident(*alerts: Alert, name: str = "storm-1", omitted: int = 0):
    listed = [{"id": each.id, "status": each.status} for each in alerts]
    labels = {"incidents.dev/group": name}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"alerts": listed, "alertsOmitted": omitted}}


def test_what_is_stored_once_is_neither_lost_nor_doubled():
    found = balance(ledger(alert()), stored([incident(alert())]))
    assert found.clean
    assert (found.sent, found.acknowledged, found.stored) == (1, 1, 1)


def test_what_was_acknowledged_and_is_not_there_is_lost():
    assert balance(ledger(alert()), stored([])).lost == (alert().id,)


def test_what_was_sent_and_never_acknowledged_is_not_lost():
    made = Ledger()
    made.sending([alert()])
    assert balance(made, stored([])).clean


def test_what_an_incident_only_counts_is_not_lost():
    made = ledger(alert("a"), alert("b"), alert("c"))
    assert balance(made, stored([incident(alert("a"), omitted=2)])).clean
    assert len(balance(made, stored([incident(alert("a"), omitted=1)])).lost) == 1


@pytest.mark.parametrize(
    "places", [[incident(alert()), incident(alert(), name="storm-2")], [incident(alert(), alert())]]
)
def test_what_stands_in_two_places_is_doubled(places):
    assert balance(ledger(alert()), stored(places)).doubled == (alert().id,)


def test_what_nobody_sent_is_invented():
    assert balance(Ledger(), stored([incident(alert())])).invented == (alert().id,)


def test_an_end_that_was_told_has_to_be_stored():
    over = alert().resolved(ENDED)
    assert balance(ledger(alert(), over), stored([incident(alert())])).wrong == (alert().id,)
    assert balance(ledger(alert(), over), stored([incident(over)])).clean


def test_an_end_that_nobody_told_must_not_be_stored():
    assert balance(ledger(alert()), stored([incident(alert().resolved(ENDED))])).wrong == (alert().id,)


def test_an_end_without_a_beginning_needs_no_incident():
    assert balance(ledger(alert().resolved(ENDED)), stored([])).clean


def test_an_earlier_occurrence_may_stay_as_it_is_while_the_last_one_fires():
    again = alert(began=ENDED + timedelta(seconds=1))
    made = ledger(alert(), alert().resolved(ENDED), again)
    assert balance(made, stored([incident(alert(), again)])).clean
    over = again.resolved(ENDED + timedelta(seconds=9))
    made.told([over])
    assert balance(made, stored([incident(alert(), over)])).wrong == (alert().id,)
