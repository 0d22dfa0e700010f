"""`check`, `report` and `run` behave as a command line should: one line on stderr, and an exit code that says it."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from incident_operator import cli
from incident_operator.clients import served
from incident_operator.core.runbooks.unasked import UnaskedStep, steps_of
from kube.fake_apiserver import FakeApiserver
from shell.conftest import written

RUNBOOK = """
apiVersion: incidents.dev/v1alpha1
kind: Runbook
metadata: {name: pack, namespace: prod}
spec:
  title: Pack failed
  serviceAccountName: rb
  match: ['alertname="PackFailed"']
  diagnose:
  - {name: packs, sqlQuery: {connection: read, statement: "SELECT 1"}}
"""
CONNECTION = """
apiVersion: incidents.dev/v1alpha1
kind: Connection
metadata: {name: read}
spec: {type: nope}
"""


async def command(*arguments: str, **environment: str) -> Result:
    """Run the command line in a thread of its own, as it starts a loop of its own."""
    named = {f"INCIDENT_OPERATOR_{name}": value for name, value in environment.items()}
    runner = CliRunner(env={"KUBECONFIG": None, **named})
    return await asyncio.to_thread(runner.invoke, cli.main, arguments)


def failed_with(result: Result, told: str) -> None:
    assert (result.exit_code, result.stdout) == (1, "")
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert told in last
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (RUNBOOK.replace("title", "titel"), "spec.titel: Extra inputs are not permitted"),
        (RUNBOOK.replace("{name: pack, namespace: prod}", "[]"), "Runbook ?: metadata: Input should be"),
        ("kind: Runbook", "Runbook ?: spec.title: Field required"),
        (
            RUNBOOK + "---" + CONNECTION,
            "Connection read: spec.type: Input should be 'postgres', 'http', 'prometheus' or 'alertmanager'",
        ),
        (
            RUNBOOK + "  verify: [{name: look, sqlQuery: {connection: read, statment: SELECT 1}}]",
            "spec.verify[0].sqlQuery.statment: Extra inputs are not permitted",
        ),
        (
            RUNBOOK + "  verify: [{name: look, sqlQuerry: {}}]",
            "spec.verify[0].sqlQuerry: Extra inputs are not permitted",
        ),
        (RUNBOOK + f"  verify: [{'[' * 70}{']' * 70}]", "is nested deeper than 64 levels"),
        (RUNBOOK + f"  verify: [{'[' * 900}{']' * 900}]", "is nested too deep"),
        *(
            (RUNBOOK.replace("name: pack,", f'name: "{name}",'), "is not a name of an object")
            for name in ("a, step: x, digest: y} #", "a\\n- {namespace: prod", "\\u202ea")
        ),
        (RUNBOOK.replace("namespace: prod", "namespace: a.b"), '"a.b" is not a name of a namespace'),
        (RUNBOOK + '  "ti\\e[2J\\ntle": x', "spec.ti\ufffd[2J tle: Extra inputs"),
        ("a: [", "no YAML"),
        ("a: !!int b", "no YAML"),
        ("[" * 5000, "nested too deep"),
        ("- 1", "not a Kubernetes object"),
    ],
)
async def test_check_tells_each_problem_with_its_place_and_exits_1(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(text)
    result = await command("check", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert all(line.startswith(f"{file}: ") for line in result.stderr.splitlines())


async def test_check_of_a_good_runbook_says_so_and_exits_0(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(RUNBOOK)
    result = await command("check", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1 file checked: no problem found\n", "")


async def test_check_shows_where_an_expression_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(RUNBOOK.replace('"SELECT 1"}', '"SELECT 1"}, when: "1 +  + 2"'))
    told = (await command("check", str(file))).stderr.splitlines()
    assert (told[0].partition(": ")[0], told[1].strip(), told[2].strip()) == (str(file), "1 +  + 2", "^")


async def test_check_takes_a_date_for_the_text_that_kubectl_makes_of_it(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(RUNBOOK + "  parameters: [{name: day, type: date, default: 2025-10-21}]\n")
    assert (await command("check", str(file))).stdout == "1 file checked: no problem found\n"


async def test_check_prints_the_digest_of_each_step_that_an_administrator_may_let_run_unasked(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    block = {"name": "block", "protective": True, "http": {"connection": "api", "method": "POST", "path": "/block"}}
    runbook = yaml.safe_load(RUNBOOK)
    runbook["metadata"]["namespace"] = "prod"
    runbook["spec"]["mitigate"] = [block]
    file.write_text(yaml.safe_dump(runbook))
    lines = (await command("check", str(file))).stdout.splitlines()
    assert lines[0] == "1 file checked: no problem found"
    (named,) = yaml.safe_load(lines[-1])
    assert steps_of(json.dumps([named])) == {UnaskedStep("prod", runbook["metadata"]["name"], "block", named["digest"])}


async def test_check_prints_digests_of_what_says_no_name(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    block = "{name: block, protective: true, http: {connection: api, method: POST}}"
    file.write_text(RUNBOOK.replace("metadata:", "unread:") + f"  mitigate: [{block}]\n")
    assert "{namespace: default, runbook: ?, step: block" in (await command("check", str(file))).stdout


async def test_check_does_not_praise_what_holds_no_runbook(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(RUNBOOK.replace("kind: Runbook", "kind: Runbok"))
    failed_with(await command("check", str(file)), "no Runbook in what was given")


def incident(**status: Any) -> dict[str, Any]:
    labels = {"alertname": "PackFailed"}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "pack-1", "namespace": "prod"},
        "spec": {"runbookRef": {"name": "pack"}, "severity": "P1", "commonLabels": labels, "alerts": []},
        "status": status,
    }


@pytest.mark.parametrize("name", ["pack-1", "incident/pack-1"])
async def test_report_of_an_open_incident_tells_where_it_stands(api: FakeApiserver, kubeconfig: str, name: str) -> None:
    api.put(incident(phase="Diagnosing"))
    result = await command("report", name, "--kubeconfig", kubeconfig)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("# ")


async def test_report_survives_a_planted_revision(api: FakeApiserver, kubeconfig: str) -> None:
    api.put(incident(phase="Diagnosing", runbookRevision="pack-0000"))
    planted = {"name": "pack-0000", "namespace": "prod"}
    api.put({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": planted, "data": {"spec": 1}})
    result = await command("report", "pack-1", "--kubeconfig", kubeconfig)
    assert result.exit_code == 0
    assert result.stdout.startswith("# ")


@pytest.mark.parametrize(("name", "told"), [("gone", '"gone" not found'), ("a/b", "a/b")])
async def test_report_of_what_is_not_there_fails_with_one_line(kubeconfig: str, name: str, told: str) -> None:
    failed_with(await command("report", name, "--kubeconfig", kubeconfig), told)


async def test_report_with_a_context_that_does_not_exist_fails_with_one_line(kubeconfig: str) -> None:
    failed_with(await command("report", "x", "--kubeconfig", kubeconfig, "--context", "nope"), "nope")


async def test_run_without_its_definitions_says_how_to_install_them(
    kubeconfig: str, api: FakeApiserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "PATIENCE", 0.5)
    api._kinds = [kind for kind in api._kinds if kind.group != "incidents.dev"]
    result = await command("run", "--kubeconfig", kubeconfig, HEALTH_PORT="0", HEALTH_ADDRESS="127.0.0.1")
    failed_with(result, "kubectl apply -f crds/")


async def test_run_without_an_apiserver_fails_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        kubeconfig = written(tmp_path / "config", f"http://127.0.0.1:{taken.getsockname()[1]}")
        failed_with(await command("run", "--kubeconfig", str(kubeconfig)), "the apiserver cannot be reached")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TOKEN_FILES": "/nowhere/token"}, "no bearer token in /nowhere/token"),
        ({"TLS_KEY": "/tls.key"}, "set both or none"),
        ({"TOKEN_FILES": "TOKEN", "TLS_KEY": "/no.key", "TLS_CERT": "/no.crt"}, "cannot use /no.crt"),
        ({"HEALTH_ADDRESS": "127.0.0.1", "HEALTH_PORT": "TAKEN"}, "address already in use"),
    ],
)
async def test_run_with_a_wrong_setting_fails_with_one_line(
    kubeconfig: str, tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    token = tmp_path / "token"
    token.write_text("let-me-in")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        values = {"TOKEN": str(token), "TAKEN": str(taken.getsockname()[1])}
        chosen = {name: values.get(value, value) for name, value in environment.items()}
        failed_with(await command("run", "--kubeconfig", kubeconfig, **chosen), told)


async def test_check_warns_of_what_the_next_release_refuses_and_exits_0(tmp_path: Path) -> None:
    file = tmp_path / "runbook.yaml"
    file.write_text(RUNBOOK.replace('"SELECT 1"}}', '"SELECT 1"}, timeout: 2h}'))
    result = await command("check", str(file))
    assert (result.exit_code, result.stdout) == (0, "1 file checked: no problem found\n")
    told = "spec.diagnose[0].timeout: one attempt of sqlQuery takes 1h at most, and this one 2h; the next release refuses that"
    assert result.stderr == f"warning: {file}: Runbook pack: {told}\n"
