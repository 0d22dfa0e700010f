"""The matrix itself: how calls are named and counted, which faults they get, and what is kept of results."""

import json
from pathlib import Path

import orjson
import pytest

from proofs.faults import between, proofs, runs, store, troubles
from proofs.faults.checker import Finding, Kind
from proofs.faults.runs import Result, Run
from proofs.faults.sql_line import kind_of
from proofs.faults.troubles import Call, Fault, Switch, Trouble, resource
from proofs.faults.watches import Cut, Spoiler


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/a/pods/b/log", ("pods/log", "a")),
        ("/apis/incidents.dev/v1alpha1/namespaces/a/incidents/b/status", ("incidents/status", "a")),
        ("/apis/incidents.dev/v1alpha1/namespaces/a/incidents", ("incidents", "a")),
        ("/apis/apps/v1/deployments", ("deployments", "")),
        ("/api/v1/namespaces/a", ("namespaces", "")),
        ("/readyz", ("", "")),
    ],
)
def test_a_path_is_named_by_its_resource_and_subresource(path: str, expected: tuple[str, str]) -> None:
    assert resource(path) == expected


def test_a_switch_springs_once_at_its_call_and_counts_the_others() -> None:
    switch = Switch(Trouble(Fault.BROKEN, Call("PATCH incidents/status", 2)))
    sprung = [switch.at(kind) for kind in ("PATCH incidents/status", "POST jobs", *["PATCH incidents/status"] * 2)]
    assert sprung == [Fault.NONE, Fault.NONE, Fault.BROKEN, Fault.NONE]
    assert switch.sprung
    assert switch.seen == {"PATCH incidents/status": 3, "POST jobs": 1}


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (b"COMMIT", "COMMIT"),
        (b"\n insert into incident_operator.incident_operator_effects (a) VALUES ($1)",
         "INSERT into incident_operator.incident_operator_effects"),
        (b"UPDATE counter SET done = 1", "UPDATE counter"),
        (b"DELETE FROM stock WHERE true", "DELETE FROM stock"),
        (b"SELECT 1", None),
        (b"BEGIN", None),
    ],
)  # fmt: skip
def test_statements_that_write_are_counted_by_what_they_write(statement: bytes, kind: str | None) -> None:
    assert kind_of(statement) == kind


def test_every_call_meets_every_fault_that_its_kind_can_have() -> None:
    seen = {
        "PATCH incidents/status": 2,
        "SQL COMMIT": 1,
        "SQL UPDATE counter": 1,
        "POST /unkeyed": 1,
        "PERSON approves": 3,
    }
    planned = list(runs.matrix("e", seen, {"added": (Fault.WATCH_STALLS,)}))
    assert len(planned) == len(set(planned))
    by_kind = {kind: [run for run in planned if run.trouble and run.trouble.call.kind == kind] for kind in seen}
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "PATCH incidents/status": 2 * len(troubles.AT_WRITES),
        "SQL COMMIT": len(troubles.AT_COMMITS),
        "SQL UPDATE counter": len(troubles.AT_STATEMENTS),
        "POST /unkeyed": len(troubles.AT_SERVICES),
        "PERSON approves": 0,
    }
    assert planned[-1] == Run("e", Trouble(Fault.WATCH_STALLS, Call("WATCH added", 1)))


@pytest.mark.parametrize(
    ("fault", "occurrence", "in_full", "needed"),
    [
        (Fault.KILL_AFTER, 7, False, True),
        (Fault.SQL_CUT_AFTER, 3, False, True),
        (Fault.CONFLICT, 1, True, True),
        (Fault.CONFLICT, 2, True, False),
        (Fault.CONFLICT, 1, False, False),
    ],
)
def test_the_shorter_matrix_kills_at_every_call_and_plays_the_rest_once_for_each_kind(
    fault: Fault, occurrence: int, in_full: bool, needed: bool
) -> None:
    run = Run("e", Trouble(fault, Call("PATCH deployments", occurrence)))
    assert runs.is_needed(run, in_full=in_full) is needed


def test_a_person_interferes_at_writes_and_approvals_but_not_inside_of_services() -> None:
    seen = {"PATCH deployments": 1, "POST jobs": 1, "POST /keyed": 1, "SQL COMMIT": 1, "PERSON approves": 2}
    planned = [str(run.trouble.call) for run in runs.disturbed("e", seen, Fault.ABORTED) if run.trouble]
    assert planned == ["PATCH deployments #1", "PERSON approves #1", "PERSON approves #2", "POST jobs #1"]


def test_results_are_kept_and_read_again(tmp_path: Path) -> None:
    run = Run("quickstart", Trouble(Fault.KILL_AFTER, Call("POST incidents", 1)))
    kept = Result(run, "Resolved", True, (Finding(Kind.LOST, "told is done", "nothing"),), 1.5, "around it")
    first = store.Store(tmp_path)
    first.add(kept)
    first.add(Result(Run("quickstart"), "Resolved", True))
    first.keep_golden("quickstart", {"POST incidents": 1})
    again = store.Store(tmp_path)
    assert again.results()[run] == kept
    assert again.golden("quickstart") == {"POST incidents": 1}
    assert again.golden("other") is None


def event(kind: str, version: int) -> bytes:
    """A line of a watch."""
    metadata = {"name": "a", "resourceVersion": str(version)}
    return orjson.dumps({"type": kind, "object": {"metadata": metadata}}) + b"\n"


def second(event: dict[str, dict[str, dict[str, str]]]) -> bool:
    return event["object"]["metadata"]["resourceVersion"] == "2"


def test_every_fault_has_a_sentence_that_says_what_its_row_proves() -> None:
    assert proofs.PROVES.keys() == set(Fault)


def test_each_class_of_effect_meets_each_guard_that_does_not_hold_any_more() -> None:
    planned = [run.trouble for run in between.matrix() if run.trouble]
    for act, call in between.ACTS.items():
        late = between.LATE_SQL if act == "sql" else call
        assert {trouble.fault for trouble in planned if trouble.call == call} >= set(troubles.BETWEEN)
        assert {trouble.fault for trouble in planned if trouble.call == late} >= {Fault.DELAYED, Fault.DELAYED_ABORTED}


async def test_a_hidden_event_is_hidden_once_and_other_resources_are_left_alone() -> None:
    spoiler = Spoiler(Fault.WATCH_HIDES_MODIFIED, second)
    first, changed = event("ADDED", 1), event("MODIFIED", 2)
    assert await spoiler.passing("incidents", first) == [first]
    assert await spoiler.passing("runbooks", changed) == [changed]
    assert await spoiler.passing("incidents", changed) == []
    assert await spoiler.passing("incidents", changed) == [changed]


async def test_an_old_state_comes_again_after_the_new_one() -> None:
    spoiler = Spoiler(Fault.WATCH_REPLAYS, second)
    await spoiler.passing("incidents", event("ADDED", 1))
    passed = await spoiler.passing("incidents", event("MODIFIED", 2))
    versions = [json.loads(line)["object"]["metadata"]["resourceVersion"] for line in passed]
    assert versions == ["2", "1"]


async def test_a_watch_from_too_old_a_version_is_cut_and_the_next_one_refused() -> None:
    spoiler = Spoiler(Fault.WATCH_GONE_STATUS, second)
    with pytest.raises(Cut):
        await spoiler.passing("incidents", event("MODIFIED", 2))
    assert [spoiler.refuses(kind) for kind in ("runbooks", "incidents", "incidents")] == [False, True, False]
