"""What is counted for `kubectl get runbooks`."""

from datetime import UTC, datetime
from typing import Any

from incident_operator.api.meta import ObjectKey
from incident_operator.api.runbook import LastIncident
from incident_operator.engine.metrics import IncidentCounts

PACK = ObjectKey("prod", "pack")
OLD, NEW = datetime(2025, 10, 20, tzinfo=UTC), datetime(2025, 10, 21, tzinfo=UTC)


def incident(runbook: str = "pack", **status: Any) -> dict[str, Any]:
    return {"spec": {"runbookRef": {"name": runbook}, "severity": "P1"}, "status": status}


def closed(at: datetime, phase: str = "Resolved") -> dict[str, Any]:
    return incident(phase=phase, times={"resolved": at.isoformat()})


def last(name: str, at: datetime) -> LastIncident:
    return LastIncident(name=name, phase="Resolved", at=at)


def test_the_open_ones_of_a_runbook_are_counted_once_each() -> None:
    counts = IncidentCounts()
    changes = [counts.note(ObjectKey("prod", name), incident()) for name in ("a", "b", "a")]
    assert changes == [PACK, PACK, None]
    assert sorted(counts.open_names(PACK)) == ["a", "b"]
    assert counts.note(ObjectKey("prod", "a"), closed(OLD)) == PACK
    assert counts.forget(ObjectKey("prod", "b")) == PACK
    assert counts.forget(ObjectKey("prod", "b")) is None
    assert counts.open(PACK) == 0


def test_one_without_a_runbook_is_open_too() -> None:
    counts = IncidentCounts()
    assert counts.note(ObjectKey("prod", "a"), {"spec": {"severity": "P3"}}) is None
    assert counts.is_open(ObjectKey("prod", "a"))
    assert counts.forget(ObjectKey("prod", "a")) is None
    assert not counts.is_open(ObjectKey("prod", "a"))


def test_the_newest_end_is_the_last_one_in_whatever_order_they_are_told() -> None:
    counts = IncidentCounts()
    assert counts.note(ObjectKey("prod", "new"), closed(NEW)) == PACK
    assert counts.note(ObjectKey("prod", "old"), closed(OLD)) is None
    assert counts.last(PACK) == last("new", NEW)


def test_one_that_was_never_resolved_ended_when_its_success_was_judged() -> None:
    counts = IncidentCounts()
    judged = [{"type": "Succeeded", "lastTransitionTime": "2025-10-21T00:00:00Z"}]
    counts.note(ObjectKey("prod", "a"), incident(phase="Failed", conditions=judged))
    assert counts.last(PACK) == LastIncident(name="a", phase="Failed", at=NEW)


def test_one_of_which_nothing_says_when_it_ended_is_no_last_one() -> None:
    counts = IncidentCounts()
    counts.note(ObjectKey("prod", "a"), incident())
    assert counts.note(ObjectKey("prod", "a"), incident(phase="Suppressed")) == PACK
    assert (counts.open(PACK), counts.last(PACK)) == (0, None)


def test_a_newer_end_that_is_stored_is_not_overwritten_with_an_older_one() -> None:
    counts = IncidentCounts()
    assert counts.last(PACK, last("stored", OLD)) == last("stored", OLD)
    counts.note(ObjectKey("prod", "known"), closed(OLD))
    assert counts.last(PACK, last("stored", NEW)) == last("stored", NEW)
    counts.note(ObjectKey("prod", "known"), closed(NEW))
    assert counts.last(PACK, last("stored", OLD)) == last("known", NEW)
