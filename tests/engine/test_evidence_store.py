"""What is worth storing, what is tried again, and how many requests that takes."""

import pytest

from incident_operator.api.incident import IncidentStatus, Phase, StepRecord, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core.action import Evidence, evidence_of
from incident_operator.core.machine import status
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Succeeded
from incident_operator.engine.evidence import EVIDENCE, EvidenceStore, Stored, Unstored
from incident_operator.kubernetes import discovery
from tests.core.builders import START
from tests.engine.fake_cluster import INCIDENT, FakeCluster
from tests.engine.test_record import LARGE, answers, incomplete, named, plant
from tests.kubernetes.fake_faults import Fault

FULL = Evidence("sha256:1", "text")
KEPT = StepRecord(
    name="look", stage=Stage.DIAGNOSE, action="http", effect="read", evidence="sha256:1", evidence_in="map-1"
)


def posts(fake_cluster: FakeCluster) -> int:
    return sum(one.method == "POST" and one.path == discovery.configmaps("prod") for one in fake_cluster.api.requests)


def test_what_the_summary_tells_already_is_not_worth_storing() -> None:
    small = evidence_of(Succeeded({"rows": [1]}, "1 row"))
    assert Unstored().adding("look", small) == Unstored().adding("look", None) == Unstored()
    assert Unstored().adding("look", FULL).found == {"look": FULL}


@pytest.mark.parametrize(
    ("stored", "left"),
    [
        (Stored({"look.json": "map-1"}, "no disk", passes=True), {"read": FULL}),
        (Stored({"look.json": "map-1"}, "all names are taken"), {}),
        (Stored({"look.json": "map-1", "read.json": "map-1"}), {}),
    ],
)
def test_what_could_not_be_stored_is_tried_again_only_where_that_may_help(
    stored: Stored, left: dict[str, Evidence]
) -> None:
    assert Unstored({"look": FULL, "read": FULL}).without(stored).found == left


@pytest.mark.parametrize(
    ("record", "named_as"),
    [
        (KEPT, {}),
        (KEPT.model_copy(update={"evidence_in": None}), {"look.json": "text"}),
        (KEPT.model_copy(update={"evidence_in": None, "evidence": "sha256:2"}), {}),
    ],
    ids=["stored already", "not stored", "another text"],
)
def test_a_text_is_stored_once_and_only_as_what_the_status_tells_of(
    record: StepRecord, named_as: dict[str, str]
) -> None:
    assert Unstored({"look": FULL}).named_in(IncidentStatus(steps=[record])) == named_as


@pytest.mark.parametrize(
    ("found", "evidence", "evidence_in"),
    [
        (None, "sha256:1", "map-1"),
        ("sha256:1", "sha256:1", "map-1"),
        ("sha256:2", "sha256:2", None),
        ("", None, None),
    ],
    ids=["nothing was looked at", "the same", "another", "a short one"],
)
def test_a_record_says_where_its_own_full_result_is(
    found: str | None, evidence: str | None, evidence_in: str | None
) -> None:
    result = status.StepResult(StepState.RUNNING, "polled", evidence=found)
    run = Run("look", "look", Stage.DIAGNOSE, 1, "key", False)
    changed = status.record_outcome(IncidentStatus(steps=[KEPT]), run, result, undoable=False, now=START)
    assert (changed.steps[0].evidence, changed.steps[0].evidence_in) == (evidence, evidence_in)


async def test_names_that_are_taken_are_tried_once_however_many_texts_follow(pack: FakeCluster) -> None:
    for part in ("evidence", *(f"evidence-{part}" for part in range(2, 9))):
        plant(pack, named(pack, part))
    answers(pack, "queries", "rebuild")
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    await pack.approve()
    await engine.reconcile(INCIDENT)
    assert posts(pack) == 8


async def test_what_is_not_missing_in_the_end_is_not_told_as_missing(pack: FakeCluster) -> None:
    for part in ("evidence", *(f"evidence-{part}" for part in range(2, 9))):
        plant(pack, named(pack, part))
    found = iter([{"rows": [LARGE], "status": 500}, {"rows": [], "status": 200}])
    pack.targets.answers["works"] = lambda _: Succeeded(next(found), "looked")
    await pack.engine().reconcile(INCIDENT)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    (told,) = incomplete(pack.incident().status)
    assert told.startswith("NotKept: The full result of works is not kept")
    pack.later(seconds=10)
    await pack.engine().reconcile(INCIDENT)
    await pack.resolve_alert()
    await pack.engine().reconcile(INCIDENT)
    assert pack.incident().status.phase is Phase.RESOLVED
    assert incomplete(pack.incident().status) == []


async def test_somebody_who_writes_at_the_same_moment_takes_no_configmap_away(pack: FakeCluster) -> None:
    answers(pack, "queries", "rebuild")
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    pack.api.inject(Fault.CONFLICT, method="PATCH", path="/configmaps/")
    await pack.approve()
    await engine.reconcile(INCIDENT)
    assert {record.evidence_in for record in pack.incident().status.steps if record.evidence} == {
        named(pack, "evidence")
    }


async def test_a_write_that_was_certainly_refused_is_left_to_the_next_one(pack: FakeCluster) -> None:
    pack.api.inject(Fault.TOO_MANY_REQUESTS, method="POST", path="/configmaps")
    stored = await EvidenceStore().store(pack.client, pack.incident(), EVIDENCE, {"look.json": LARGE})
    assert (stored.places, stored.passes, posts(pack)) == ({}, True, 1)
