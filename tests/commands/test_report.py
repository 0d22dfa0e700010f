"""`report` tells what the Incident's status tells, whatever the ConfigMaps beside it hold by now."""

import asyncio
import hashlib
from typing import Any

import pytest
from click.testing import CliRunner, Result

from incident_operator import cli
from incident_operator.kubernetes import discovery
from tests.kubernetes.fake_apiserver import FakeApiserver

EVIDENCE, REPORT = "incident-0123456789abcdef0123-evidence", "incident-0123456789abcdef0123-report"
FOUND, WRITTEN = '{"rows": [1]}', "# pack-1\n"
FORGED = "# pack-1\n\n## Approvals\n\n- root@example.com approved everything\x1b[2J\u202e\n"


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def step(name: str, place: str | None = EVIDENCE) -> dict[str, Any]:
    record = {"name": name, "stage": "diagnose", "action": "sqlQuery", "state": "Succeeded", "evidence": digest(FOUND)}
    return record | ({"evidenceIn": place} if place else {})


@pytest.fixture
def closed(api: FakeApiserver) -> FakeApiserver:
    """A closed Incident with evidence and report, all as it was recorded."""
    status = {
        "phase": "Resolved",
        "steps": [step("packs"), step("queries"), step("lost", None)],
        "report": {"configMap": REPORT, "digest": digest(WRITTEN)},
    }
    metadata = {"name": "pack-1", "namespace": "prod"}
    spec = {"severity": "P1", "commonLabels": {"alertname": "PackFailed"}, "alerts": []}
    api.put(
        {
            "apiVersion": "incidents.dev/v1alpha1",
            "kind": "Incident",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }
    )
    plant(api, EVIDENCE, {"packs.json": FOUND, "queries.json": FOUND})
    plant(api, REPORT, {"report.md": WRITTEN})
    return api


def plant(api: FakeApiserver, name: str, data: Any) -> None:
    metadata = {"name": name, "namespace": "prod"}
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


async def report(kubeconfig: str, name: str = "pack-1", *options: str) -> Result:
    arguments = ["report", name, "-n", "prod", "--kubeconfig", kubeconfig, *options]
    return await asyncio.to_thread(CliRunner(env={"KUBECONFIG": None}).invoke, cli.main, arguments)


async def test_a_report_whose_record_is_untouched_says_where_everything_is(
    closed: FakeApiserver, kubeconfig: str
) -> None:
    told = (await report(kubeconfig)).stdout
    assert f"- packs: `packs.json` in ConfigMap `{EVIDENCE}`\n" in told
    assert "- lost: not kept\n" in told
    assert "sha256:" not in told
    told = (await report(kubeconfig, "pack-1", "--digests")).stdout
    assert f"- packs: `packs.json` in ConfigMap `{EVIDENCE}`, `{digest(FOUND)}`\n" in told
    assert f"- lost: not kept, `{digest(FOUND)}`\n" in told
    assert "since it was recorded" not in told


async def test_a_forged_report_is_told_of_and_not_printed(closed: FakeApiserver, kubeconfig: str) -> None:
    before = (await report(kubeconfig)).stdout
    for name in (REPORT, "pack-1-report"):
        plant(closed, name, {"report.md": FORGED})
    result = await report(kubeconfig)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "root@example.com" not in result.stdout
    note = f"The report in ConfigMap `{REPORT}` is changed since it was recorded; this one is from the Incident itself."
    assert result.stdout.rstrip() == f"{before.rstrip()}\n\n{note}"


async def test_evidence_that_was_changed_or_deleted_is_told_step_by_step(
    closed: FakeApiserver, kubeconfig: str
) -> None:
    plant(closed, EVIDENCE, {"packs.json": FORGED})
    told = (await report(kubeconfig)).stdout
    assert "\nChanged since it was recorded: packs.\n" in told
    assert "\nGone since it was recorded: queries.\n" in told


async def test_a_record_whose_configmaps_are_gone_is_told_as_that(closed: FakeApiserver, kubeconfig: str) -> None:
    for name in (EVIDENCE, REPORT):
        closed.remove(discovery.configmaps("prod", name))
    told = await report(kubeconfig)
    assert told.exit_code == 0
    assert "\nGone since it was recorded: packs, queries.\n" in told.stdout
    assert f"The report in ConfigMap `{REPORT}` is gone since it was recorded" in told.stdout


async def test_who_may_not_read_configmaps_gets_the_report_all_the_same(closed: FakeApiserver, kubeconfig: str) -> None:
    plant(closed, REPORT, {"report.md": FORGED})
    closed.forbid("", "get", "configmaps")
    result = await report(kubeconfig)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\nNot compared, since this account may not read it: packs, queries.\n" in result.stdout
    assert "since it was recorded" not in result.stdout


async def test_nothing_that_the_report_prints_steers_a_terminal(closed: FakeApiserver, kubeconfig: str) -> None:
    body = closed.object(discovery.incidents("prod", "pack-1"))
    hostile = {"alertname": "\x1b[2J\u202eevil\x9b31m\u2066\u200b"}
    closed.put({**body, "spec": {**body["spec"], "commonLabels": hostile}})
    told = (await report(kubeconfig)).stdout
    assert "evil" in told
    assert not {"\x1b", "\u202e", "\x9b", "\u2066", "\u200b"} & set(told)
