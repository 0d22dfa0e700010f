"""What objects of the cluster tell: when a Job or a scaling is an effect, and of which attempt."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from incident_operator.core.action import shown_marker
from proofs.faults import gather
from proofs.faults.audit import Entry
from proofs.faults.history import Intent, Moment, Verdict
from proofs.faults.observer import Seen

MARKER, KEYS = "f" * 64, {shown_marker("f" * 64): "the-step-key"}


def job(version: int, *, suspend: bool, marker: str = MARKER, **annotations: str) -> Mapping[str, Any]:
    """A version of the one Job."""
    meta = {"name": "rebuild-1", "uid": "u", "resourceVersion": str(version), "labels": {"incidents.dev/incident": "i"}}
    marked = {"incidents.dev/step-key": marker, **annotations}
    container = {"image": "web:1", "command": ["build"]}
    spec = {"suspend": suspend, "template": {"spec": {"containers": [container]}}}
    return {"metadata": {**meta, "annotations": marked}, "spec": spec}


def seen_of(*versions: Mapping[str, Any]) -> Seen:
    """What a watch saw of these versions, the first one added."""
    seen = Seen()
    for number, version in enumerate(versions):
        seen.take("jobs", {"type": "MODIFIED" if number else "ADDED", "object": version})
    return seen


def effects(seen: Seen, *pods: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """What happened, at which version, under which key."""
    found = gather.ran(seen.started.values(), seen.jobs.values(), pods, KEYS)
    return [(each.what, each.moment.revision, each.key) for each in found]


def pod(version: int) -> Mapping[str, Any]:
    """A Pod of the Job."""
    return {"metadata": {"name": f"pod-{version}", "resourceVersion": str(version), "ownerReferences": [{"uid": "u"}]}}


def test_a_job_is_an_effect_from_the_version_on_in_which_it_is_not_suspended() -> None:
    seen = seen_of(job(5, suspend=True), job(6, suspend=True), job(8, suspend=False), job(9, suspend=False))
    assert effects(seen, pod(10)) == [("Job rebuild-1", 8, "the-step-key")]


def test_a_job_that_was_withdrawn_before_it_was_started_is_no_effect() -> None:
    withdrawn = {"incidents.dev/withdrawn": "5"}
    assert effects(seen_of(job(5, suspend=True), job(6, suspend=True, **withdrawn))) == []


def test_a_pod_of_a_suspended_job_and_a_second_one_of_a_job_are_effects() -> None:
    assert effects(seen_of(job(5, suspend=True)), pod(7)) == [("Pod pod-7", 7, "the-step-key")]
    started = seen_of(job(5, suspend=False))
    assert effects(started, pod(6), pod(7)) == [("Job rebuild-1", 5, "the-step-key"), ("Pod pod-7", 7, "the-step-key")]


def test_an_effect_whose_marker_no_status_tells_of_belongs_to_no_attempt() -> None:
    assert effects(seen_of(job(5, suspend=False, marker="forged"))) == [("Job rebuild-1", 5, shown_marker("forged"))]


def test_a_listed_job_that_runs_has_been_seen_only_when_its_start_was() -> None:
    listed = {"deployments": [], "pods": [], "jobs": [job(8, suspend=False)]}
    assert not seen_of(job(5, suspend=True)).has(listed)
    assert seen_of(job(5, suspend=True), job(8, suspend=False)).has(listed)


def worker(version: int, replicas: int, *markers: str) -> Mapping[str, Any]:
    """A version of a Deployment that was scaled 1 → 3 under each of these markers."""
    marks = [{"key": marker, "incident": "i", "step": "s", "before": 1, "after": 3} for marker in markers]
    meta = {"name": "worker", "uid": "w", "resourceVersion": str(version)}
    return {
        "metadata": {**meta, "annotations": {"incidents.dev/scaled-by": json.dumps(marks)}},
        "spec": {"replicas": replicas},
    }


def test_a_scaling_is_of_the_attempt_whose_marker_it_left_and_a_withdrawal_is_none() -> None:
    versions = [worker(1, 1), worker(2, 3, MARKER), worker(3, 3, MARKER)]
    found = [(each.moment.revision, each.key) for each in gather.scaled(versions, frozenset(), KEYS)]
    assert found == [(2, "the-step-key")]
    assert [each.key for each in gather.scalings(versions, frozenset(), KEYS)] == ["the-step-key"]


def status(version: int, state: str, key: str, marker: str = "") -> Entry:
    """A status as the audit log tells of it."""
    seen = {"seen": {"marker": marker}} if marker else {}
    step = {"name": "wipe", "state": state, "key": key, "effect": "sql-tx", **seen}
    after = {"metadata": {}, "status": {"steps": [step]}}
    return Entry(gather.OPERATOR, "i", "status", "patch", Moment(float(version), version), after)


def test_an_intent_tells_what_its_effect_is_marked_with() -> None:
    (found,) = gather.intents([status(1, "Running", "k1", "abc"), status(2, "Running", "k1", "abc")])
    assert found == Intent("wipe", "k1", Moment(1.0, 1), "abc")
    assert gather.keys([found]) == {"abc": "k1"}


@pytest.mark.parametrize("state", ["Pending", "Failed", "Skipped"])
def test_what_ran_and_is_told_as_not_done_is_a_verdict_when_that_is_first_told(state: str) -> None:
    entries = [status(1, "Pending", ""), status(2, "Running", "k1"), status(3, state, "k1"), status(4, state, "k1")]
    assert list(gather.verdicts(entries)) == [Verdict("wipe", "k1", state, Moment(3.0, 3))]


@pytest.mark.parametrize("state", ["Succeeded", "Unknown"])
def test_what_was_done_or_may_have_been_is_no_verdict(state: str) -> None:
    assert list(gather.verdicts([status(2, "Running", "k1"), status(3, state, "k1")])) == []
