"""Reading Alertmanager's message: what is taken, what is refused, and that nothing else can happen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident_operator.api.incident import AlertStatus
from incident_operator.core import texts
from incident_operator.core.alerts.received_alerts import LabelLimits
from incident_operator.receiver import json_text
from incident_operator.receiver.alertmanager import Message, read_message
from incident_operator.receiver.refusals import MalformedError
from incident_operator.receiver.server import ReceiverSettings
from tests.receiver import messages


def malformed(body: bytes) -> str:
    with pytest.raises(MalformedError) as error:
        read_message(body, messages.LIMITS)
    return str(error.value)


def changed(**fields: object) -> bytes:
    return json.dumps({**messages.message(messages.alert()), **fields}).encode()


def with_alert(**fields: object) -> bytes:
    return json.dumps(messages.message({**messages.alert(), **fields})).encode()


def without(field: str) -> bytes:
    made = messages.alert()
    del made[field]
    return json.dumps(messages.message(made)).encode()


def refused(body: bytes) -> str:
    message = read_message(body, messages.LIMITS)
    (only,) = message.refused
    assert message.alerts == ()
    return str(only)


def test_a_refusal_repeats_little_of_what_was_sent_and_no_control_characters():
    reason = refused(with_alert(status="\x1b" + "x" * 100_000))
    assert reason.startswith("alerts[0].status: invalid enum value '\\x1bxxx")
    assert len(reason) < 300


def test_a_message_is_read():
    message = messages.read(messages.alert(pod="a"), messages.resolved(pod="b"), truncated=4)
    assert [alert.status for alert in message.alerts] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert message.alerts[0].labels == {"alertname": "PackFailed", "pod": "a"}
    assert message.alerts[0].annotations == {"summary": "PackFailed fires"}
    assert message.truncated == 4
    assert message.refused == ()


def test_fields_of_later_versions_are_not_looked_at():
    assert read_message(changed(notification_reason={"deep": [1, 2.5, None]}), messages.LIMITS).alerts


def test_a_body_full_of_the_shortest_alerts_is_read():
    shortest = {**messages.alert(), "labels": {"alertname": "A"}, "annotations": {}, "generatorURL": ""}
    count = ReceiverSettings().max_body_bytes // len(json.dumps(shortest, separators=(",", ":")))
    body = json.dumps(messages.message(*[shortest] * count), separators=(",", ":")).encode()
    assert read_message(body, messages.LIMITS).alerts == messages.read(shortest).alerts


def test_a_text_may_hold_more_commas_than_a_body_may_hold_elements():
    assert read_message(changed(extra="," * (json_text.ELEMENTS + 1)), messages.LIMITS).alerts


def test_a_message_without_alerts_tells_nothing():
    assert messages.read() == Message((), (), 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: is not JSON: it ends too early, after 0 bytes"),
        (b"{", "body: is not JSON: it ends too early"),
        (b'{"alerts":[{"labels":{"a":"b', "body: is not JSON: it ends too early"),
        (b'{"version":"4"} x', "body: is not JSON: Extra data at byte 16"),
        (b'{"version" "4"}', "body: is not JSON: expected : after a key at byte 11"),
        (b'{"version":"4" "alerts":[]}', "body: is not JSON: expected , or } at byte 15"),
        (b'{"version":,"alerts":[]}', "body: is not JSON: Expecting value at byte 11"),
        (b"{version:4}", "body: is not JSON: expected a key in double quotes at byte 1"),
        (b'{"\\x":4}', "body: is not JSON: a key is not JSON text at byte 1"),
        (b"\xff{}", "body: is not JSON"),
        (b"\xef\xbb\xbf{}", "body: is not JSON"),
        (b"[" * 200_000, "body: expected `object`, got `array`"),
        (b'{"a":' * 400_000, "body: holds more than 300000 lists and objects in one place"),
        (b'{"a":[' + b"[]," * 310_000 + b"[]]}", "body: holds more than"),
        (b'{"alerts":[[' + b"[]," * 310_000 + b"[]]]}", "body: holds more than"),
        (b"{" + b",".join(b'"k%d":0' % number for number in range(1001)) + b"}", "body: holds more than 1000 fields"),
        (b'{"version":"4","version":"4"}', "version: is set twice in one object"),
        (b"null", "body: expected `object`, got `null`"),
        (b"[]", "body: expected `object`, got `array`"),
        (b'"x"', "body: expected `object`, got `str`"),
        (b"{}", "body: object missing required field `alerts`"),
        (changed(alerts={}), "alerts: expected `array`, got `object`"),
        (changed(alerts="x"), "alerts: expected `array`, got `str`"),
        (changed(alerts=1), "alerts: expected `array`, got `number`"),
    ],
    ids=range(24),
)
def test_what_cannot_be_read_is_refused_with_the_field(body, reason):
    assert reason in malformed(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (changed(alerts=["x"]), "alerts[0]: expected `object`, got `str`"),
        (changed(alerts=[None]), "alerts[0]: expected `object`, got `null`"),
        (b'{"alerts":[{"labels":{"a":"b",}}]}', "alerts[0]: is not JSON: "),
        (b'{"alerts":[{"labels":{"severity":"a","severity":"b"}}]}', "alerts[0]: severity: is set twice in one object"),
        (b'{"alerts":[{"x":1e999}]}', "alerts[0]: number 1e999: is too large"),
        (b'{"alerts":[{"x":' + b"9" * 5000 + b"}]}", "has more than 400 digits"),
        (
            b'{"alerts":[{"x":[' + b"0," * 350_000 + b"0]}]}",
            f"alerts[0]: holds more than {json_text.ELEMENTS} lists, objects",
        ),
        (with_alert(x=float("nan")), "alerts[0]: number NaN: is not a JSON number"),
        (with_alert(x=json.loads("[" * 65 + "]" * 65)), "alerts[0]: is nested more than 64 levels deep"),
        (
            with_alert(annotations={"x": "y" * json_text.ALERT_BYTES}),
            f"at most {json_text.ALERT_BYTES} are read of one alert",
        ),
        (with_alert(status="pending"), "alerts[0].status: invalid enum value 'pending'"),
        (with_alert(labels={"a": 1}), "alerts[0].labels[...]: expected `str`, got `int`"),
        (with_alert(labels=["a"]), "alerts[0].labels: expected `object`, got `array`"),
        (with_alert(startsAt="yesterday"), "alerts[0].startsAt: invalid RFC3339 encoded datetime"),
        (with_alert(startsAt="2025-10-21T00:00:00"), "alerts[0].startsAt: expected `datetime` with a timezone"),
        (with_alert(startsAt=1761005412), "alerts[0].startsAt: expected `datetime`, got `int`"),
        (with_alert(startsAt="\udfff"), "alerts[0].startsAt: invalid RFC3339 encoded datetime"),
        (with_alert(annotations="x"), "alerts[0].annotations: expected `object`, got `str`"),
        (without("labels"), "alerts[0]: object missing required field `labels`"),
        (without("startsAt"), "alerts[0]: object missing required field `startsAt`"),
        (without("status"), "alerts[0]: object missing required field `status`"),
        (with_alert(labels={}), "alerts[0].labels: is empty; labels identify an alert"),
        (with_alert(startsAt="0001-01-01T00:00:00Z"), "alerts[0].startsAt: is not between 1970 and 9999"),
        (with_alert(startsAt="0001-01-01T00:00:00+14:00"), "alerts[0].startsAt: is not between 1970 and 9999"),
        (with_alert(startsAt="9999-12-31T23:59:59-14:00"), "alerts[0].startsAt: is not between 1970 and 9999"),
    ],
    ids=range(25),
)
def test_an_alert_that_cannot_be_understood_is_refused_with_the_field(body, reason):
    assert reason in refused(body)


def test_the_other_alerts_of_the_message_are_not_refused():
    bad = {**messages.alert(), "labels": {"a": 1}}
    message = messages.read(messages.alert(pod="a"), bad, messages.alert(pod="b"))
    assert [alert.labels["pod"] for alert in message.alerts] == ["a", "b"]
    assert [rejection.field for rejection in message.refused] == ["alerts[1].labels[...]"]


def test_of_very_many_refusals_the_first_are_named_and_all_are_counted():
    message = read_message(changed(alerts=[{}] * 1000), messages.LIMITS)
    assert (len(message.refused), message.refused_count) == (100, 1000)


@pytest.mark.parametrize("end", ["", ",", "] x", "],}", "]}}", ',{"labels":'])
def test_what_stands_before_the_place_that_is_not_json_is_read(end):
    whole = messages.body(messages.alert(pod="a"))
    message = read_message(whole[: whole.rindex(b"]")] + end.encode(), messages.LIMITS)
    assert [alert.labels["pod"] for alert in message.alerts] == ["a"]
    assert "body: is not JSON" in str(message.refused[0])


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_of_the_beginning_of_a_message_all_whole_alerts_are_read(kept):
    body = messages.body(*(messages.alert(pod=pod) for pod in "abc"))
    places = [at for at in range(len(body)) if body.startswith(b'{"status": "firing", "labels"', at)]
    message = read_message(body[: places[kept] + 100], messages.LIMITS, beginning=True)
    assert [alert.labels["pod"] for alert in message.alerts] == ["a", "b", "c"][:kept]
    assert (message.refused, message.goes_on) == ((), True)


@pytest.mark.parametrize("value", ["'; DROP TABLE pack; --", "$(reboot)", "${steps.a}", "a\nb\tc\r", '"', "🙂", "\\"])
def test_hostile_text_is_text(value):
    (alert,) = messages.read(messages.alert(pod=value)).alerts
    assert alert.labels["pod"] == value


def test_an_end_that_is_no_time_is_none():
    (alert,) = messages.read(messages.resolved(ends=messages.NOT_ENDED)).alerts
    assert alert.ends_at is None


def test_a_text_may_hold_as_many_commas_as_it_likes():
    text = r"[{,\"," * 60_000
    (alert,) = read_message(with_alert(annotations={"rows": text}), messages.LIMITS).alerts
    assert alert.annotations == {"rows": text[:1023] + "…"}


@pytest.mark.parametrize("fraction", ["", ".1", ".12", ".123", ".123000001", ".123499999", ".1239995", ".123999999"])
def test_an_alert_is_the_same_whether_its_start_is_told_in_nanoseconds_or_in_milliseconds(fraction):
    exact = f"2025-10-21T00:10:12{fraction}"
    milliseconds = (exact if fraction else f"{exact}.").ljust(23, "0")[:23]
    webhook, api = (messages.received_id(messages.alert(starts=f"{told}Z")) for told in (exact, milliseconds))
    assert webhook == api


def test_an_alert_that_starts_a_millisecond_later_is_another_one():
    starts = ("2025-10-21T00:10:12.123Z", "2025-10-21T00:10:12.124Z")
    assert len({messages.received_id(messages.alert(starts=told)) for told in starts}) == 2


def test_how_much_is_kept_of_labels_is_a_setting():
    (alert,) = read_message(messages.body(messages.alert(pod="abc")), LabelLimits(count=1, length=9)).alerts
    assert (alert.labels, alert.kept) == ({"alertname": "PackFailed", "pod": "abc"}, {"pod": "abc"})
    (alert,) = read_message(messages.body(messages.alert()), LabelLimits(count=1, length=9)).alerts
    assert alert.kept == {"alertname": "PackFa…"}


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["version", "alerts", "truncatedAlerts", "status", "labels", "annotations", "startsAt", "endsAt"]


def survives(body: bytes) -> None:
    try:
        message = read_message(body, messages.LIMITS)
    except MalformedError as error:
        str(error).encode()
    else:
        json.dumps([dict(alert.labels) for alert in message.alerts], ensure_ascii=False).encode()


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_refused(body):
    survives(body)


def in_the_message(field: str, value: object) -> messages.Json:
    return {**messages.message(messages.alert()), field: value}


def in_the_alert(field: str, value: object) -> messages.Json:
    return messages.message({**messages.alert(), field: value})


@settings(max_examples=400)
@given(st.sampled_from([in_the_message, in_the_alert]), st.sampled_from(FIELDS) | any_text, any_json, st.booleans())
def test_no_value_in_any_place_does_anything_but_be_read_or_refused(place, field, value, ascii_only):
    made = place(field, value)
    survives(json.dumps(made, ensure_ascii=ascii_only).encode(errors="surrogatepass"))


@given(st.integers(0, 600), st.binary(min_size=1, max_size=3))
def test_no_damaged_message_does_anything_but_be_read_or_refused(place, damage):
    body = messages.body(messages.alert(pod="a"), messages.resolved(pod="b"))
    survives(body[:place] + damage + body[place + len(damage) :])


@given(st.dictionaries(any_text, any_text, max_size=4), st.dictionaries(any_text, any_text, max_size=4))
def test_what_is_taken_can_be_stored(labels, annotations):
    body = with_alert(labels=labels, annotations=annotations)
    for alert in read_message(body, messages.LIMITS).alerts:
        json.dumps([dict(alert.kept), dict(alert.annotations)], ensure_ascii=False).encode()
        assert not texts.not_text("".join([*alert.kept, *alert.kept.values(), *alert.annotations.values()]))


def test_an_alert_that_resolved_at_no_told_time_has_no_end():
    made = messages.resolved()
    del made["endsAt"]
    (alert,) = messages.read(made).alerts
    assert (alert.firing, alert.ends_at) == (False, None)
