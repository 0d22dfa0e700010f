"""What a run says: what people are told, what was seen, and what is a finding."""

import math
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proofs.siege import judge, play, report
from proofs.siege.judge import Limits, Row
from proofs.siege.report import Report
from proofs.siege.told import Told, of_incident, of_runbook
from proofs.siege.witnesses import Pod, Seen, pods_of

LIMITS = Limits(memory=512 << 20, alone=(0.1, 0.2, 0.1), writes=(0.01, 0.02, 0.01))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RIGHT = Seen(slowest=0.2, looks=10, memory=100 << 20, helpers=20 << 20, holders=["one"], writes=[0.01])


def row(seen: Seen = RIGHT, **changes: Any) -> Row:
    accept = frozenset({Told.REFUSED, Told.INVALID})
    right = Row("sixty", "60 Runbooks", Counter({Told.INVALID: 60}), accept, 12.0, (0.1, 0.2, 0.3), seen, 0)
    return replace(right, **changes)


def runbook(status: dict[str, Any], generation: int = 2) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": status}


def ready(status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}],
    }


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({}, Told.NOTHING),
        ({"observedGeneration": 2}, Told.NOTHING),
        ({**ready("False", "Invalid"), "observedGeneration": 1}, Told.NOTHING),
        (ready("False", "Invalid", "too large"), Told.INVALID),
        (ready("False", "ConnectionNotReady"), Told.NOT_READY),
        (ready("True", "Ready"), Told.READY),
        (ready("True", "Ready", "timeout: at most 1h in the next release"), Told.WARNED),
    ],
)
def test_what_a_runbook_tells(status: dict[str, Any], told: Told) -> None:
    assert of_runbook(runbook(status)) is told


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, Told.NOTHING),
        ({"phase": "Pending"}, Told.NOTHING),
        ({"phase": "Diagnosing", "steps": [{"state": "Running"}]}, Told.NOTHING),
        ({"phase": "Diagnosing", "steps": [{"state": "Failed"}]}, Told.FAILED),
        ({"phase": "NeedsHuman", "steps": [{"state": "Failed"}]}, Told.NEEDS_HUMAN),
        ({"phase": "AwaitingApproval"}, Told.ASKED),
        ({"phase": "Resolved", "steps": [{"state": "Succeeded"}]}, Told.DONE),
    ],
)
def test_what_an_incident_tells(status: dict[str, Any] | None, told: Told) -> None:
    assert of_incident({"status": status}) is told


def test_of_several_incidents_nothing_is_told_while_one_is_silent() -> None:
    assert play.together([]) is Told.NOTHING
    assert play.together([Told.DONE, Told.NOTHING]) is Told.NOTHING
    assert play.together([Told.DONE, Told.NEEDS_HUMAN, Told.FAILED]) is Told.NEEDS_HUMAN


def test_an_attack_that_nobody_else_notices_has_no_finding() -> None:
    assert judge.findings(row(), LIMITS) == []
    assert judge.findings(row(told=Counter(), accept=None), LIMITS) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (row(failed="the apiserver is away"), "the apiserver is away"),
        (row(told=Counter({Told.READY: 1, Told.INVALID: 59})), "told of them: 1 x Ready; it may be Invalid, refused"),
        (row(told=Counter({Told.NOTHING: 3})), "told of them: 3 x nothing; it may be Invalid, refused"),
        (row(replace(RIGHT, memory=512 << 20)), "512 MiB, and the container may have 512"),
        (row(replace(RIGHT, memory=0)), "nobody saw its memory"),
        (row(replace(RIGHT, looks=0)), "nobody saw /healthz"),
        (row(replace(RIGHT, holders=[])), "nobody saw the Lease"),
        (
            row(replace(RIGHT, writes=[])),
            "nobody saw the apiserver",
        ),
        (row(restarts=2, why="OOMKilled"), "2 restarts (OOMKilled)"),
        (row(replace(RIGHT, unanswered=4)), "/healthz did not answer 4 times"),
        (row(replace(RIGHT, holders=["one", "two"])), "the Lease went from one to another: one → two"),
        (row(replace(RIGHT, lapses=1)), "the Lease was over 1 times"),
        (
            row(waits=(0.1, 0.4, 0.5)),
            "another namespace's P0 waits 4.0 x its time alone, while the apiserver takes 1.0 x its own",
        ),
        (
            row(waits=(0.1, math.inf, math.inf)),
            "another namespace's P0 waits inf x its time alone, while the apiserver takes 1.0 x its own",
        ),
        (row(waits=()), "no P0 alert of another namespace came to its first act"),
    ],
)
def test_whatever_anybody_else_notices_is_a_finding(found: Row, told: str) -> None:
    assert judge.findings(found, LIMITS) == [told]
    assert Report(LIMITS, 2, (row(), found)).problems == [f"sixty: {told}"]


def test_a_p0_at_three_times_its_time_alone_is_in_time() -> None:
    assert judge.findings(row(waits=(0.3,)), replace(LIMITS, alone=(0.1,))) == []


def test_a_p0_may_wait_longer_where_the_apiserver_makes_everybody_wait() -> None:
    slow = replace(RIGHT, writes=[0.02, 0.02])
    assert judge.findings(row(slow, waits=(0.6,)), LIMITS) == []
    assert judge.findings(row(slow, waits=(0.61,)), LIMITS) != []
    fast = replace(RIGHT, writes=[0.001])
    assert judge.findings(row(fast, waits=(0.3,)), LIMITS) == [], "one that is faster than it was takes nothing away"


def test_health_is_seen_at_its_worst() -> None:
    seen = Seen()
    for seconds, status in ((0.1, 200), (2.0, 200), (5.0, None), (0.1, 500)):
        seen.answered(seconds, status)
    assert (seen.looks, seen.slowest, seen.unanswered) == (4, 5.0, 2)


def test_memory_is_that_of_the_process_and_its_helpers_together() -> None:
    seen = Seen()
    for line in ('{"1": 100}', '{"1": 90, "7": 40, "8": 10}', '{"1": 1', ""):
        seen.sampled(line)
    assert (seen.memory, seen.helpers) == (140, 50)


def test_the_lease_is_seen_to_change_hands_and_to_be_over() -> None:
    seen = Seen()
    for holder, age in (("", 0), ("one", 1), ("one", 14), ("one", 16), ("two", 1), ("", 0)):
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "renewTime": (NOW - timedelta(seconds=age)).isoformat(),
        }
        seen.held({"spec": spec}, NOW)
    assert (seen.holders, seen.lapses) == (["one", "two", ""], 1)


def test_restarts_are_counted_from_one_attack_to_the_next() -> None:
    ended = {"lastState": {"terminated": {"reason": "OOMKilled"}}}
    listed = {
        "items": [
            {
                "metadata": {"name": "a"},
                "status": {"podIP": "10.0.0.1", "containerStatuses": [{"restartCount": 3, **ended}]},
            },
            {"metadata": {"name": "b"}, "status": {}},
            {"metadata": {"name": "c", "deletionTimestamp": "now"}, "status": {}},
        ]
    }
    pods = pods_of(listed)
    assert pods == (Pod("a", "10.0.0.1", 3, "OOMKilled"), Pod("b", "", 0, ""))
    assert play.restarted([Pod("a", "", 1, "")], pods) == (2, "OOMKilled")
    assert play.restarted(pods, pods) == (0, "")


def test_the_page_tells_limits_figures_and_findings() -> None:
    bad = row(replace(RIGHT, memory=600 << 20, unanswered=3), waits=(math.inf,))
    written = report.page(Report(LIMITS, 2, (row(), bad)), "2026-01-01", "commit 75f5b63", "2 cores")
    assert "on 2026-01-01, commit 75f5b63 (2 cores)" in written
    assert "in 2 Pods with the chart's own limits (512 MiB of memory each)" in written
    assert "alone, one waits 100 ms" in written
    assert "| 60 Runbooks | 60 x Invalid | 12 s | 2.0 | 1.0 | 200 ms | 100 MiB | 20 MiB | 0 |" in re.sub(
        " +", " ", written
    )
    assert "- sixty: 600 MiB, and the container may have 512" in written
    assert max(len(line) for line in written.splitlines() if not line.startswith(("|", "-"))) <= 150


def test_a_page_without_findings_says_so() -> None:
    assert "Nothing was found." in report.page(Report(LIMITS, 2, (row(),)), "2026-01-01", "commit 75f5b63", "2 cores")
