"""`report` and `run` behave as a command line should: one line on stderr, and an exit code that says it."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from incident_operator import cli
from incident_operator.kubernetes import state
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.root.fixtures import written


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
    monkeypatch.setattr(state, "PATIENCE", 0.5)
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
