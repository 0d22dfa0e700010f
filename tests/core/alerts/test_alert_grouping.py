"""Which alerts belong together, what their Incident is called, and what makes an alert the same one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.api import meta
from incident_operator.api.meta import is_label_value
from incident_operator.core.alerts import merging, received_alerts
from incident_operator.core.alerts.merging import IncidentSequence
from tests.receiver import messages

OBJECT_NAMES = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?){0,4}", fullmatch=True
)
"""Names of Runbooks, as the apiserver takes them."""


def test_alerts_that_agree_in_the_labels_are_one_group():
    one = merging.of("prod", "pack", ["date"], {"date": "2025-10-21", "pod": "a"})
    other = merging.of("prod", "pack", ["date"], {"date": "2025-10-21", "pod": "b"})
    assert one == other
    assert one.values == (("date", "2025-10-21"),)


@pytest.mark.parametrize(
    "other",
    [
        ("test", "pack", ["date"], {"date": "1"}),
        ("prod", "pac", ["date"], {"date": "1"}),
        ("prod", "pack", ["date"], {"date": "2"}),
        ("prod", "pack", ["date", "pod"], {"date": "1"}),
        ("prod", "pack", [], {"date": "1"}),
    ],
)
def test_what_differs_in_namespace_runbook_or_values_is_another_group(other):
    assert merging.of("prod", "pack", ["date"], {"date": "1"}).sequence.digest != merging.of(*other).sequence.digest


def test_an_absent_label_groups_like_an_empty_one():
    assert merging.of("prod", "pack", ["date"], {}) == merging.of("prod", "pack", ["date"], {"date": ""})


def test_values_cannot_be_shifted_from_one_label_to_the_next():
    one = merging.of("prod", "pack", ["a", "b"], {"a": "x,y", "b": "z"})
    other = merging.of("prod", "pack", ["a", "b"], {"a": "x", "b": "y,z"})
    assert one != other


def test_the_name_is_the_runbook_the_hash_and_the_number():
    sequence = merging.of("prod", "pricing-pack", ["date"], {"date": "1"}).sequence
    assert sequence.name(3) == f"pricing-pack-{sequence.digest[:5]}-3"
    assert merging.split_name(sequence.name(3)) == (sequence.stem, 3)


@pytest.mark.parametrize("runbook", ["a" * 253, "a" * 49 + ".-" * 3 + "b", "pack", "a.b-c"])
def test_a_name_is_valid_and_fits_into_a_label_however_long_the_runbooks_is(runbook):
    group = merging.of("prod", runbook, [], {})
    name = group.sequence.name(999_999)
    assert len(name) <= 63
    assert meta.is_object_name(name)
    assert is_label_value(name)
    assert is_label_value(group.sequence.digest)


@given(OBJECT_NAMES, st.text(max_size=9), st.integers(1, 999_999_999))
def test_every_name_that_is_written_is_read_as_what_it_says(runbook, value, number):
    sequence = merging.of("prod", runbook, ["date"], {"date": value}).sequence
    name = sequence.name(number)
    assert meta.is_object_name(name)
    assert merging.split_name(name) == (sequence.stem, number)


@given(OBJECT_NAMES | st.from_regex(r"[a-z0-9.-]{0,20}-[0-9a-f]{4,6}-[0-9]{1,10}", fullmatch=True))
def test_every_name_that_is_read_is_one_that_would_be_written(name):
    read = merging.split_name(name)
    assert read is None or IncidentSequence("prod", read[0], "").name(read[1]) == name


@pytest.mark.parametrize("number", [0, -1, 1_000_000_000])
def test_a_number_that_could_not_be_read_again_is_not_written(number):
    with pytest.raises(ValueError, match="is not the number of an Incident"):
        merging.of("prod", "pack", [], {}).sequence.name(number)


@pytest.mark.parametrize(
    "name",
    [
        *("pack", "pack-12345", "pack-12345-", "pack-12345-x", "-12345-1", "12345-1", "pack-12345-01", "pack-12345-0"),
        *(
            "pack-12345-1234567890",
            "pack-12345-\u0661",
            "pack-1234-1",
            "pack-123456-1",
            "pack-1234g-1",
            "db-down-1",
            "",
        ),
    ],
)
def test_a_name_of_another_form_is_not_taken_apart(name):
    assert merging.split_name(name) is None


def test_alerts_without_a_runbook_are_one_group_for_each_alertname():
    one = merging.unmatched("ops", {"alertname": "A", "pod": "1"})
    other = merging.unmatched("ops", {"alertname": "A", "pod": "2"})
    assert one == other
    assert one.runbook == ""
    assert one.sequence.name(1).startswith("unmatched-")
    assert one.sequence.digest != merging.of("ops", "unmatched", ["alertname"], {"alertname": "A"}).sequence.digest


labels = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(labels, labels, moments, moments)
def test_an_occurrence_is_its_labels_and_its_start(one, other, start, other_start):
    same = received_alerts.identity(one, start) == received_alerts.identity(other, other_start)
    assert same is (one == other and start == other_start)


@given(labels, moments)
def test_an_id_fits_its_field_and_tells_the_fingerprint(given_labels, start):
    found = received_alerts.identity(dict(reversed(given_labels.items())), start)
    assert found == received_alerts.identity(given_labels, start)
    assert len(found) <= 64
    assert received_alerts.fingerprint_of(found) == received_alerts.fingerprint(given_labels)


def test_the_same_moment_in_another_time_zone_is_the_same_occurrence():
    here, there = messages.alert(starts="2025-10-21T00:10:12.5Z"), messages.alert(starts="2025-10-21T02:10:12.5+02:00")
    assert messages.received_id(here) == messages.received_id(there)


def test_of_one_alert_told_twice_that_it_resolved_is_the_later_news():
    firing, ended = messages.received(messages.alert()), messages.received(messages.resolved())
    assert received_alerts.distinct([ended, firing]) == (ended,)
    assert received_alerts.distinct([firing, ended]) == (ended,)
    assert received_alerts.distinct([firing, firing]) == (firing,)
    assert ended.ends_at == datetime(2025, 10, 21, 0, 40, tzinfo=UTC)
    assert firing.ends_at is None
    assert firing.starts_at == datetime(2025, 10, 21, 0, 10, 12, tzinfo=UTC) + timedelta(seconds=0.5)
