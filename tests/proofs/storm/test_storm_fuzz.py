"""Messages near the right one, and far from it: never an exception, never an answer that the handler may not give."""

import asyncio
import json
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incident_operator.receiver.alertmanager import read_message
from incident_operator.receiver.refusals import MalformedError
from proofs.storm.abuse import bodies, fuzzing
from proofs.storm.function_handler import FunctionHandler
from tests.receiver import messages

MOMENTS = st.sampled_from(
    [
        "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+14:00", "0001-01-01T00:00:00Z", "1970-01-01T23:59:59Z",
        "9999-12-31T23:59:59.999999999Z", "2026-02-30T00:00:00Z", "2026-01-01", "", "now", "2026-01-01T00:00:00",
    ]
)  # fmt: skip
TEXTS = st.text(max_size=8) | st.sampled_from(["", "a", "\x00", "\ud800", "\u2028", "x" * 1025, "${x}", "a/b"])
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
LABELS = st.dictionaries(st.sampled_from(["alertname", "instance", "job"]) | TEXTS, TEXTS, max_size=5)
NEAR = {
    "status": st.sampled_from(["firing", "resolved"]),
    "labels": LABELS,
    "annotations": LABELS,
    "startsAt": MOMENTS,
    "endsAt": MOMENTS,
    "generatorURL": TEXTS,
}
ALERTS = st.fixed_dictionaries({}, optional={name: near | ODD for name, near in NEAR.items()})
MESSAGES = st.fixed_dictionaries(
    {"version": st.just("4") | ODD, "alerts": st.lists(ALERTS, max_size=4) | ODD},
    optional={"truncatedAlerts": st.integers() | ODD, "groupLabels": ODD, "receiver": ODD},
)
RIGHT_ALERTS = st.fixed_dictionaries(
    {
        **NEAR,
        "labels": st.fixed_dictionaries(
            {"alertname": st.sampled_from("AB")}, optional={"instance": st.sampled_from("123")}
        ),
        "annotations": st.just({}),
        "startsAt": MOMENTS.filter(lambda moment: moment.startswith("2026-01-01T") and len(moment) > 19),
        "generatorURL": st.just(""),
        "endsAt": st.just("2026-01-02T00:00:00Z"),
    }
)
SEVERAL = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


@SEVERAL
@given(message=MESSAGES | ODD)
def test_a_message_is_read_or_refused_and_nothing_else(message):
    try:
        read = read_message(encoded(message), messages.LIMITS)
    except MalformedError as error:
        assert str(error)  # noqa: PT017 # whether it is refused is not known before
    else:
        assert len(read.alerts) + len(read.refused) <= len(message["alerts"] or ())


@pytest.fixture(autouse=True)
def unlogged():
    before = structlog.get_config()
    structlog.configure(processors=[silence])
    yield
    structlog.configure(**before)


def silence(*_: object) -> NoReturn:
    raise structlog.DropEvent


@pytest.fixture(scope="module")
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


@SEVERAL
@given(message=MESSAGES)
def test_the_door_answers_as_alertmanager_understands(tmp_path_factory, loop, message):
    handler = FunctionHandler(tmp_path_factory.getbasetemp(), loop)
    assert loop.run_until_complete(handler.post(encoded(message))) in {200, 400}


@SEVERAL
@given(body=st.binary(max_size=200))
def test_the_door_answers_bytes_of_any_kind(tmp_path_factory, loop, body):
    handler = FunctionHandler(tmp_path_factory.getbasetemp(), loop)
    assert loop.run_until_complete(handler.post(body)) in {200, 400}


@SEVERAL
@given(alerts=st.lists(RIGHT_ALERTS, max_size=5, unique_by=lambda alert: tuple(sorted(alert["labels"].items()))))
def test_the_same_message_twice_costs_no_write(tmp_path_factory, loop, alerts):
    # as in Alertmanager's messages, no two alerts have the same labels
    handler = FunctionHandler(tmp_path_factory.getbasetemp(), loop)
    body = encoded(bodies.valid(alerts=alerts))
    answers = [loop.run_until_complete(handler.post(body))]
    writes, kept = handler.memory.writes, handler.memory.incidents
    answers.append(loop.run_until_complete(handler.post(body)))
    assert answers == [200, 200]
    assert (handler.memory.writes, handler.memory.incidents) == (writes, kept)


SHORT = [each for each in bodies.HOSTILE if not each.name.startswith("4 MiB") and "bomb" not in each.name]


@pytest.mark.parametrize("hostile", SHORT, ids=[each.name for each in SHORT])
def test_a_hostile_message_is_answered_right(tmp_path, loop, hostile):
    answer = loop.run_until_complete(FunctionHandler(tmp_path, loop).post(hostile.make()))
    assert answer in hostile.answers


def test_a_report_of_the_fuzzer_is_read():
    done = "#9 DONE cov: 12 ft: 3\nDone 1234 runs in 61 second(s)\n"
    assert fuzzing.read(done, 0) == fuzzing.Fuzzed(1234, 61, 12)
    failed = " === Uncaught Python exception: ===\nAssertionError: the handler answered 500\n#5 cov: 9\n"
    assert fuzzing.read(failed, 77).failure == "exit 77, AssertionError: the handler answered 500"
    assert fuzzing.read("", 0).failure
