"""The record beside an Incident: evidence and report in ConfigMaps that it owns, and a status that tells which there are."""

import hashlib
from typing import Any

import pytest
import yaml

from incident_operator.api.incident import IncidentStatus, Phase
from incident_operator.core import action
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Outcome, Pending, Succeeded
from incident_operator.kubernetes import discovery
from tests.engine.conftest import RUNBOOK
from tests.engine.fake_cluster import INCIDENT, FakeCluster, fake_cluster, to_approval, to_the_end
from tests.kubernetes.fake_faults import Fault

LARGE = "x" * 300
COLLECTION = discovery.configmaps("prod")


def named(fake_cluster: FakeCluster, kind: str) -> str:
    """The name that follows from the Incident's uid."""
    return f"incident-{hashlib.sha256(fake_cluster.incident().metadata.uid.encode()).hexdigest()[:20]}-{kind}"


def kept(fake_cluster: FakeCluster, kind: str) -> dict[str, str]:
    return fake_cluster.api.object(discovery.configmaps("prod", named(fake_cluster, kind)))["data"]


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def incomplete(status: IncidentStatus) -> list[str]:
    return [f"{each.reason}: {each.message}" for each in status.conditions if each.type == "RecordIncomplete"]


def answers(fake_cluster: FakeCluster, *steps: str, rows: Any = LARGE) -> None:
    for step in steps:
        fake_cluster.targets.answers[step] = lambda _: Succeeded({"rows": [rows]}, "1 row")


def plant(fake_cluster: FakeCluster, name: str, **metadata: Any) -> dict[str, Any]:
    """A ConfigMap that is not the operator's."""
    meta = {"name": name, "namespace": "prod", **metadata}
    return fake_cluster.api.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"app.conf": "mine"}}
    )


def as_recorded(fake_cluster: FakeCluster) -> dict[str, str]:
    """Step → the ConfigMap that holds its full result, each held against its digest."""
    found = {}
    for record in fake_cluster.incident().status.steps:
        if record.evidence and record.evidence_in:
            data = fake_cluster.api.object(discovery.configmaps("prod", record.evidence_in))["data"]
            assert digest(data[f"{record.name}.json"]) == record.evidence, record.name
            found[record.name] = record.evidence_in
    return found


async def test_the_report_is_stored_before_the_incident_closes_and_its_digest_with_the_close(pack: FakeCluster) -> None:
    await to_the_end(pack)
    text = kept(pack, "report")["report.md"]
    assert text.startswith("# Pack failed · P1")
    assert "alice@example.com" in text
    stored = pack.incident().status.report
    assert stored is not None
    assert (stored.config_map, stored.digest) == (named(pack, "report"), digest(text))


async def test_a_result_that_no_database_can_hold_stops_nothing(pack: FakeCluster) -> None:
    answers(pack, "queries", rows="\ud800\x00" * 300)
    await to_approval(pack)
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL
    assert "\ufffd" in kept(pack, "evidence")["queries.json"]


async def test_evidence_is_made_once_and_added_to_by_one_request_each(pack: FakeCluster) -> None:
    answers(pack, "queries", "rebuild")
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    await pack.approve()
    await engine.reconcile(INCIDENT)
    sent = [one.method for one in pack.api.writes if "/configmaps" in one.path]
    assert sent == ["POST", "PATCH"]
    assert set(as_recorded(pack)) == {"queries", "rebuild"}


async def test_evidence_that_somebody_deleted_is_made_again(pack: FakeCluster) -> None:
    answers(pack, "queries", "rebuild")
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    await pack.approve()
    pack.api.remove(discovery.configmaps("prod", named(pack, "evidence")))
    await engine.reconcile(INCIDENT)
    assert set(kept(pack, "evidence")) == {"rebuild.json"}


async def test_evidence_of_another_process_is_added_to(pack: FakeCluster) -> None:
    answers(pack, "queries", "rebuild")
    await to_approval(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    assert as_recorded(pack) == dict.fromkeys(["queries", "rebuild"], named(pack, "evidence"))


@pytest.mark.parametrize("kind", ["report", "evidence"])
async def test_an_application_that_is_named_like_an_incident_keeps_its_configmap(pack: FakeCluster, kind: str) -> None:
    answers(pack, "queries")
    before = plant(pack, f"{INCIDENT.name}-{kind}")
    await to_the_end(pack)
    assert pack.api.object(discovery.configmaps("prod", f"{INCIDENT.name}-{kind}")) == before
    assert pack.incident().status.phase is Phase.RESOLVED


OTHERS = [
    {},
    {"labels": {"incidents.dev/incident": INCIDENT.name}},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "another"}]},
]


@pytest.mark.parametrize("metadata", OTHERS, ids=["nobody's", "labelled", "another owner's"])
async def test_a_configmap_of_somebody_else_under_our_name_is_left_alone(
    pack: FakeCluster, metadata: dict[str, Any]
) -> None:
    answers(pack, "queries")
    before = [plant(pack, named(pack, kind), **metadata) for kind in ("evidence", "report")]
    await to_the_end(pack)
    assert [pack.api.object(discovery.configmaps("prod", each["metadata"]["name"])) for each in before] == before
    status = pack.incident().status
    assert status.phase is Phase.RESOLVED
    assert as_recorded(pack) == {"queries": named(pack, "evidence-2")}
    assert status.report is None
    (told,) = incomplete(status)
    assert told.startswith("NotKept: the report is not kept: no ConfigMap has room")
    assert named(pack, "report") in told


async def test_a_configmap_of_somebody_else_is_told_and_asked_once(
    pack: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(pack, named(pack, "evidence"))
    answers(pack, "queries", "serve", "rebuild")
    engine = pack.engine()
    await engine.reconcile(INCIDENT)
    await pack.approve()
    await engine.reconcile(INCIDENT)
    assert capsys.readouterr().out.count("does not belong to this Incident") == 1
    patched = [one.path for one in pack.api.writes if one.method == "PATCH" and "/configmaps/" in one.path]
    assert patched.count(discovery.configmaps("prod", named(pack, "evidence"))) == 1
    assert set(as_recorded(pack).values()) == {named(pack, "evidence-2")}


async def test_evidence_for_which_every_name_is_taken_is_told_as_not_kept(pack: FakeCluster) -> None:
    for part in ("evidence", *(f"evidence-{part}" for part in range(2, 9))):
        plant(pack, named(pack, part))
    answers(pack, "queries")
    await to_the_end(pack)
    status = pack.incident().status
    assert status.phase is Phase.RESOLVED
    (told,) = incomplete(status)
    assert told.startswith("NotKept: The full result of queries is not kept: no ConfigMap has room")
    report = kept(pack, "report")["report.md"]
    assert "- queries: not kept\n" in report
    assert "in ConfigMap" not in report


async def test_what_somebody_plants_while_the_operator_writes_is_not_written_over(pack: FakeCluster) -> None:
    answers(pack, "queries")
    name = named(pack, "evidence")
    pack.api.interleave(lambda: plant(pack, name), method="POST", path="/configmaps")
    await to_approval(pack)
    assert kept(pack, "evidence") == {"app.conf": "mine"}
    assert as_recorded(pack) == {"queries": named(pack, "evidence-2")}


def many_reads(count: int) -> str:
    spec = yaml.safe_load(RUNBOOK)
    query = {"connection": "read", "statement": "SELECT 2"}
    spec["diagnose"] += [{"name": f"look-{number:02d}", "sqlQuery": query} for number in range(count)]
    return yaml.safe_dump(spec)


async def test_evidence_beyond_one_configmap_goes_into_several() -> None:
    async with fake_cluster(many_reads(18)) as made:
        steps = [f"look-{number:02d}" for number in range(18)]
        answers(made, *steps, rows="y" * 64 * 1024)
        await to_the_end(made)
        places = as_recorded(made)
        assert set(places) == set(steps)
        assert set(places.values()) == {named(made, "evidence"), named(made, "evidence-2")}
        assert incomplete(made.incident().status) == []
        report = kept(made, "report")["report.md"]
        assert f"- look-17: `look-17.json` in ConfigMap `{named(made, 'evidence-2')}`" in report


async def test_a_configmap_that_is_full_is_gone_on_from_by_another_process() -> None:
    async with fake_cluster(many_reads(15)) as made:
        answers(made, *(f"look-{number:02d}" for number in range(15)), "rebuild", "mark", rows="y" * 64 * 1024)
        await to_the_end(made)
        places = as_recorded(made)
        assert {places["rebuild"], places["mark"]} == {named(made, "evidence-2")}
        assert len(places) == 17


@pytest.mark.parametrize("text", ["\U0001f525", '"', "\\"])
async def test_what_is_large_in_bytes_fits_too(text: str) -> None:
    async with fake_cluster(many_reads(18)) as made:
        answers(made, *(f"look-{number:02d}" for number in range(18)), rows=text * 64 * 1024)
        await to_approval(made)
        assert len(as_recorded(made)) == 18


async def test_a_report_points_to_no_configmap_where_none_could_be_written(pack: FakeCluster) -> None:
    for verb in ("create", "patch"):
        pack.api.forbid("", verb, "configmaps")
    answers(pack, "queries")
    await to_the_end(pack)
    status = pack.incident().status
    assert status.phase is Phase.RESOLVED
    assert pack.api.objects(COLLECTION) == []
    assert status.report is None
    assert [record.evidence_in for record in status.steps if record.evidence] == [None]
    (told,) = incomplete(status)
    assert "The full result of queries is not kept" in told
    assert "the report is not kept" in told


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.DROPPED, Fault.INTERNAL_ERROR])
async def test_evidence_whose_write_went_wrong_once_is_kept(pack: FakeCluster, fault: Fault) -> None:
    pack.api.inject(fault, method="POST", path="/configmaps")
    answers(pack, "queries")
    await to_approval(pack)
    assert as_recorded(pack) == {"queries": named(pack, "evidence")}
    assert incomplete(pack.incident().status) == []


async def test_evidence_that_was_refused_for_a_while_is_kept_by_the_next_write(pack: FakeCluster) -> None:
    pack.api.inject(Fault.TOO_MANY_REQUESTS, method="POST", path="/configmaps")
    answers(pack, "queries")
    await to_approval(pack)
    assert as_recorded(pack) == {"queries": named(pack, "evidence")}
    assert incomplete(pack.incident().status) == []


async def test_a_step_whose_result_is_short_has_no_evidence_of_an_earlier_one(pack: FakeCluster) -> None:
    rows = iter([LARGE, "short"])

    def looks(_: Call[Any]) -> Outcome:
        return Succeeded({"rows": [next(rows, "short")], "status": 500}, "1 row")

    pack.targets.answers["works"] = looks
    await to_approval(pack)
    await pack.approve()
    await pack.engine().reconcile(INCIDENT)
    record = next(record for record in pack.incident().status.steps if record.name == "works")
    assert (record.evidence, record.evidence_in) == (
        digest(kept(pack, "evidence")["works.json"]),
        named(pack, "evidence"),
    )
    pack.later(seconds=10)
    await pack.engine().reconcile(INCIDENT)
    record = next(record for record in pack.incident().status.steps if record.name == "works")
    assert (record.evidence, record.evidence_in) == (None, None)


async def test_the_stored_report_steers_no_terminal(pack: FakeCluster) -> None:
    hostile = "\x1b[2J\u202eevil\x9b31m"
    body = pack.api.object(discovery.incidents(*INCIDENT))
    pack.api.put(
        {**body, "spec": {**body["spec"], "commonLabels": {**body["spec"]["commonLabels"], "alertname": hostile}}}
    )
    await to_the_end(pack)
    text = kept(pack, "report")["report.md"]
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)


def test_an_outcome_without_a_result_is_no_evidence() -> None:
    assert action.evidence_of(Succeeded({}, "ok")) is None
    assert action.evidence_of(Pending(5, "running")) is None


def test_the_digest_of_evidence_is_over_what_is_kept_of_it() -> None:
    found = action.evidence_of(Succeeded({"rows": ["x" * 100_000]}, "1 row"))
    assert found is not None
    assert len(found.text) < 66_000
    assert found.digest == digest(found.text)
