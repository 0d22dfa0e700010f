"""The spec of an Incident: its labels are exact, news are merged, and it stays small."""

from datetime import UTC, datetime, timedelta

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from incident_operator.api.incident import Alert, AlertStatus, IncidentSpec
from incident_operator.api.meta import Severity
from incident_operator.core.alerts import merging, received_alerts
from incident_operator.core.alerts.received_alerts import ReceivedAlert
from tests.receiver import messages

GROUP = merging.of("prod", "pack", [], {})
START = datetime(2025, 10, 21, 0, 10, tzinfo=UTC)


def opened(*changes: ReceivedAlert, truncated: int = 0) -> IncidentSpec:
    return merging.opened(GROUP, Severity.P1, changes, truncated)


def firing(name="A", start=START, **labels) -> ReceivedAlert:
    return received_alerts.of({"alertname": name, **labels}, start)


def ended(name="A", start=START, end=START + timedelta(hours=1), **labels) -> ReceivedAlert:
    return received_alerts.of({"alertname": name, **labels}, start, end, status=AlertStatus.RESOLVED)


def statuses(spec: IncidentSpec) -> list[str]:
    return [alert.status.value for alert in spec.alerts]


def test_a_new_incident_holds_runbook_group_severity_and_the_alert():
    group = merging.of("prod", "pack", ["date"], {"date": "1"})
    spec = merging.opened(group, Severity.P0, [messages.received(messages.alert(date="1"))], 0)
    assert merging.to_json(spec) == {
        "runbookRef": {"name": "pack"},
        "severity": "P0",
        "group": {"date": "1"},
        "commonLabels": {"alertname": "PackFailed", "date": "1"},
        "alerts": [
            {
                "id": messages.received_id(messages.alert(date="1")),
                "startsAt": "2025-10-21T00:10:12Z",
                "status": "firing",
                "summary": "PackFailed fires",
                "generatorURL": "http://prometheus.monitoring:9090/graph?g0.expr=up",
            }
        ],
        "alertsOmitted": 0,
        "truncatedAlerts": 0,
    }


def test_labels_that_a_new_alert_does_not_share_stop_being_common():
    spec = opened(firing(pod="a", zone="z"))
    assert spec.common_labels == {"alertname": "A", "pod": "a", "zone": "z"}
    spec = merging.merged(spec, [firing(pod="b", zone="z")], 0)
    assert spec.common_labels == {"alertname": "A", "zone": "z"}
    assert [alert.labels for alert in spec.alerts] == [{"pod": "a"}, {"pod": "b"}]


label_sets = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["", "x", "y"]), min_size=1), min_size=1, max_size=6
)


@given(st.lists(label_sets, min_size=1, max_size=4))
def test_common_and_own_labels_together_are_exactly_each_alerts_labels(rounds):
    spec, told = IncidentSpec(), {}
    for each_round in rounds:
        changes = received_alerts.distinct(received_alerts.of(labels, START) for labels in each_round)
        spec = merging.merged(spec, changes, 0)
        told.update({each.id: dict(each.labels) for each in changes})
    assert {alert.id: spec.labels_of(alert) for alert in spec.alerts} == told
    for name, value in spec.common_labels.items():
        assert all(labels[name] == value for labels in told.values())
        assert not any(name in alert.labels for alert in spec.alerts)


@given(st.lists(label_sets, min_size=1, max_size=3), st.booleans())
def test_what_is_known_changes_nothing(rounds, resolves):
    changes = received_alerts.distinct(received_alerts.of(labels, START) for each in rounds for labels in each)
    spec = merging.merged(IncidentSpec(), changes, 2)
    if resolves:
        spec = merging.merged(spec, [ended_of(each) for each in changes], 0)
    assert merging.merged(spec, changes, 1) == spec


def ended_of(alert: ReceivedAlert) -> ReceivedAlert:
    end = alert.starts_at + timedelta(minutes=5)
    return received_alerts.of(alert.labels, alert.starts_at, end, status=AlertStatus.RESOLVED)


def test_a_resolved_alert_is_marked_and_fires_never_again():
    spec = merging.merged(opened(firing(pod="a"), firing(pod="b")), [ended(pod="a")], 0)
    assert statuses(spec) == ["resolved", "firing"]
    assert spec.alerts[0].ends_at == START + timedelta(hours=1)
    assert merging.merged(spec, [firing(pod="a")], 0) == spec


def test_an_alert_whose_start_was_moved_still_resolves():
    spec = merging.merged(opened(firing()), [ended(start=START - timedelta(seconds=30))], 0)
    assert statuses(spec) == ["resolved"]


def test_the_end_of_an_earlier_alert_does_not_resolve_a_later_one_of_the_same_labels():
    spec = opened(firing(start=START))
    before = ended(start=START - timedelta(hours=2), end=START - timedelta(hours=1))
    assert merging.merged(spec, [before], 0) == spec


def test_an_alert_that_ends_before_it_began_is_resolved_all_the_same():
    assert statuses(merging.merged(opened(firing()), [ended(end=START - timedelta(hours=1))], 0)) == ["resolved"]


def test_a_resolved_alert_without_an_end_is_resolved():
    assert statuses(merging.merged(opened(firing()), [ended(end=None)], 0)) == ["resolved"]


def test_the_same_labels_at_a_later_start_are_a_second_alert():
    spec = merging.merged(opened(firing()), [ended(), firing(start=START + timedelta(hours=2))], 0)
    assert statuses(spec) == ["resolved", "firing"]


def test_a_resolved_alert_that_was_never_held_is_not_added():
    spec = opened(firing(pod="a"))
    assert merging.merged(spec, [ended(pod="b")], 0) == spec


def test_how_many_alerts_alertmanager_left_out_is_kept_and_never_shrinks():
    spec = opened(firing(), truncated=3)
    assert spec.truncated_alerts == 3
    assert merging.merged(spec, [], 1).truncated_alerts == 3
    assert merging.merged(spec, [], 7).truncated_alerts == 7


def test_texts_are_cut_and_control_characters_do_not_reach_a_terminal():
    annotations = {"summary": "s" * 600, "description": "red \x1b[31m alert", "long": "x" * 5000}
    changes = received_alerts.of(
        {"alertname": "A"}, START, annotations=annotations, generator_url="http://" + "u" * 3000
    )
    (alert,) = opened(changes).alerts
    assert len(alert.summary) == 512
    assert alert.summary.endswith("…")
    assert alert.description == "red \ufffd[31m alert"
    assert len(alert.annotations["long"]) == 1024
    assert alert.generator_url == ""


def many(count: int, **labels: str) -> list[ReceivedAlert]:
    return [
        received_alerts.of(
            {"alertname": "A", "pod": f"pod-{index}", **labels}, START, annotations={"summary": "s" * 400}
        )
        for index in range(count)
    ]


def size(spec: IncidentSpec) -> int:
    return len(orjson.dumps(merging.to_json(spec)))


def test_a_group_of_any_size_stays_small_and_what_is_left_out_is_counted():
    spec = opened(*many(2500))
    assert size(spec) < 200 * 1024
    assert len(spec.alerts) == merging.LISTED_ALERTS
    assert spec.alerts_omitted == 1500
    assert spec.alerts[0].summary
    assert spec.labels_of(spec.alerts[0]) == {"alertname": "A", "pod": "pod-0"}
    assert spec.alerts[-1] == Alert(id=many(1000)[-1].id, starts_at=START)
    assert merging.merged(spec, many(2500), 0) == spec


def test_a_compact_alert_still_resolves():
    spec = opened(*many(1000))
    last = many(1000)[-1]
    spec = merging.merged(spec, [ended_of(last)], 0)
    assert statuses(spec).count("resolved") == 1
    assert spec.alerts[-1].status is AlertStatus.RESOLVED


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_order_of_news_makes_an_incident_large_or_loses_a_listed_alert(data):
    spec = opened(firing(big="<" * 900, **{f"label{index}": "&" * 300 for index in range(20)}))
    listed: list[str] = [alert.id for alert in spec.alerts]
    for round_number in range(3):
        big = data.draw(st.text("<&ä ", min_size=0, max_size=900))
        changes = many(data.draw(st.integers(0, 600)), big=big, round=str(round_number))
        spec = merging.merged(spec, changes, 0)
        assert [alert.id for alert in spec.alerts][: len(listed)] == listed
        listed = [alert.id for alert in spec.alerts]
        assert merging.stored_size(merging.to_json(spec)) < 240 * 1024


def test_an_end_that_arrives_late_does_not_end_the_next_alert_of_the_same_second():
    again = firing(start=START + timedelta(seconds=12.7))
    late = ended(start=START, end=START + timedelta(seconds=12.4))
    spec = merging.merged(opened(again), [late], 0)
    assert statuses(spec) == ["firing"]
