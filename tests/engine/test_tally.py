"""What is counted for `kubectl get runbooks`."""

from datetime import UTC, datetime
from typing import Any

from incident_operator.api.runbook import LastIncident
from incident_operator.engine.keys import Key
from incident_operator.engine.tally import Tally

PACK = Key("prod", "pack")
OLD, NEW = datetime(2025, 10, 20, tzinfo=UTC), datetime(2025, 10, 21, tzinfo=UTC)


def incident(runbook: str = "pack", **status: Any) -> dict[str, Any]:
    return {"spec": {"runbookRef": {"name": runbook}, "severity": "P1"}, "status": status}


def closed(at: datetime, phase: str = "Resolved") -> dict[str, Any]:
    return incident(phase=phase, times={"resolved": at.isoformat()})


def last(name: str, at: datetime) -> LastIncident:
    return LastIncident(name=name, phase="Resolved", at=at)


def test_the_open_ones_of_a_runbook_are_counted_once_each() -> None:
    tally = Tally()
    changes = [tally.note(Key("prod", name), incident()) for name in ("a", "b", "a")]
    assert changes == [PACK, PACK, None]
    assert sorted(tally.open_names(PACK)) == ["a", "b"]
    assert tally.note(Key("prod", "a"), closed(OLD)) == PACK
    assert tally.forget(Key("prod", "b")) == PACK
    assert tally.forget(Key("prod", "b")) is None
    assert tally.open(PACK) == 0


def test_one_without_a_runbook_is_open_too() -> None:
    tally = Tally()
    assert tally.note(Key("prod", "a"), {"spec": {"severity": "P3"}}) is None
    assert tally.is_open(Key("prod", "a"))
    assert tally.forget(Key("prod", "a")) is None
    assert not tally.is_open(Key("prod", "a"))


def test_the_newest_end_is_the_last_one_in_whatever_order_they_are_told() -> None:
    tally = Tally()
    assert tally.note(Key("prod", "new"), closed(NEW)) == PACK
    assert tally.note(Key("prod", "old"), closed(OLD)) is None
    assert tally.last(PACK) == last("new", NEW)


def test_one_that_was_never_resolved_ended_when_its_success_was_judged() -> None:
    tally = Tally()
    judged = [{"type": "Succeeded", "lastTransitionTime": "2025-10-21T00:00:00Z"}]
    tally.note(Key("prod", "a"), incident(phase="Failed", conditions=judged))
    assert tally.last(PACK) == LastIncident(name="a", phase="Failed", at=NEW)


def test_one_of_which_nothing_says_when_it_ended_is_no_last_one() -> None:
    tally = Tally()
    tally.note(Key("prod", "a"), incident())
    assert tally.note(Key("prod", "a"), incident(phase="Suppressed")) == PACK
    assert (tally.open(PACK), tally.last(PACK)) == (0, None)


def test_a_newer_end_that_is_stored_is_not_overwritten_with_an_older_one() -> None:
    tally = Tally()
    assert tally.last(PACK, last("stored", OLD)) == last("stored", OLD)
    tally.note(Key("prod", "known"), closed(OLD))
    assert tally.last(PACK, last("stored", NEW)) == last("stored", NEW)
    tally.note(Key("prod", "known"), closed(NEW))
    assert tally.last(PACK, last("stored", OLD)) == last("known", NEW)
