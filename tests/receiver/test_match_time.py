"""What patterns take of the processor is their namespace's: one that takes too much for an alert is put off, the others are not."""

import time
from typing import Any

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.receiver.routing import ALERT_SECONDS, PUT_OFF_SECONDS, MatchTime, RunbookIndex

SLOW = r'l!~".*[!-~][!-~]{600}\x00"'
"""Eight kilobytes, and milliseconds for a long label: each byte may be the one that it begins at."""
USUAL = r'l!~".*payments-(?:api|web|worker)-[0-9]{1,5}.*"'
LONG = "abcdefgh-0" * 100
COUNT = 20


def filled(matcher: str, clock: Any = time.monotonic, *, count: int = COUNT) -> RunbookIndex:
    """Many Runbooks of one namespace, and one of another."""
    index = RunbookIndex(AlertScope(), MatchTime(clock))
    for number in range(count):
        spec = {"match": [matcher] * 20}
        index.note({"metadata": {"namespace": "evil", "name": f"r{number}"}, "spec": spec})
    index.note({"metadata": {"namespace": "prod", "name": "pack"}, "spec": {"match": ['l=~"abc.*"']}})
    return index


def put_off(index: RunbookIndex) -> int:
    told = [index.over_budget(ObjectKey("evil", f"r{number}")) for number in range(COUNT)]
    return sum(each.startswith("spec.match: its patterns take too long") for each in told)


def seconds(index: RunbookIndex, namespace: str) -> float:
    began = time.thread_time()
    index.matching({"namespace": namespace, "l": LONG})
    return time.thread_time() - began


def test_a_namespace_whose_patterns_take_too_long_for_an_alert_keeps_those_that_do_not() -> None:
    index = filled(SLOW)
    before = seconds(index, "evil")
    assert 0 < COUNT - put_off(index) + 1 < COUNT
    assert seconds(index, "evil") < max(3 * ALERT_SECONDS, before / 4)


def test_another_namespaces_alert_is_matched_by_its_own_all_the_while() -> None:
    index = filled(SLOW)
    alert = {"namespace": "prod", "l": LONG}
    assert [each.name for each in index.matching(alert)] == ["pack"]
    index.elsewhere(alert)
    assert 0 < put_off(index) < COUNT / 2, "the one that takes too long is the last that is asked"
    assert index.elsewhere(alert) == ""
    assert [each.name for each in index.matching(alert)] == ["pack"]
    assert index.over_budget(ObjectKey("prod", "pack")) == ""


def test_who_took_too_long_is_matched_again_after_a_while_and_not_by_being_written_anew() -> None:
    now = [0.0]
    index = filled(SLOW, lambda: now[0])
    index.matching({"namespace": "evil", "l": LONG})
    late = put_off(index)
    for number in range(COUNT):
        index.note({"metadata": {"namespace": "evil", "name": f"r{number}"}, "spec": {"match": ['l=~"abc.*"']}})
    assert put_off(index) == late > 0
    assert len(index.matching({"namespace": "evil", "l": LONG})) == COUNT - late
    now[0] = PUT_OFF_SECONDS + 1
    assert len(index.matching({"namespace": "evil", "l": LONG})) == COUNT
    assert put_off(index) == 0


@pytest.mark.parametrize("label", [LONG, "payments-api-7"])
def test_usual_patterns_are_never_put_off_however_many_there_are(label: str) -> None:
    index = filled(USUAL)
    for _ in range(20):
        index.matching({"namespace": "evil", "l": label})
        index.elsewhere({"namespace": "prod", "l": label})
    assert put_off(index) == 0
