"""How an Incident looks and changes on the real apiserver, whoever writes it."""

import json
from collections.abc import Iterator

import pytest

from incident_operator.crdgen.schema import DEFAULT_OPERATOR
from tests.crds import live
from tests.crds.objects import incident

pytestmark = pytest.mark.cluster

AS_OPERATOR = (f"--as={DEFAULT_OPERATOR}", "--as-group=system:masters")
SPEC = {"runbookRef": {"name": "rb"}, "severity": "P1", "group": {"job": "a"}}
ALERT = {"id": "9c1f", "startsAt": "2025-10-21T00:30:04Z"}


@pytest.fixture
def name(namespace: str) -> Iterator[str]:
    """An Incident as the operator creates it."""
    document = incident(**SPEC)
    created = live.kubectl("create", "-n", namespace, *AS_OPERATOR, "-f", "-", "-o", "json", stdin=document)
    assert created.returncode == 0, created.stderr
    return json.loads(created.stdout)["metadata"]["name"]


def _get(namespace: str, *arguments: str) -> str:
    return live.kubectl("get", "-n", namespace, *arguments).stdout


def _patch(namespace: str, name: str, patch: object, *arguments: str) -> str:
    """What the apiserver answers to the operator's patch; empty where it takes it."""
    words = ("patch", "-n", namespace, "inc", name, *AS_OPERATOR, "--type=merge", "-p", json.dumps(patch), *arguments)
    told = live.kubectl(*words).stderr.splitlines(keepends=True)
    return "".join(line for line in told if not line.startswith("Warning: "))


def test_a_new_incident_reads_pending_before_anybody_has_written_status(namespace: str, name: str) -> None:
    assert json.loads(_get(namespace, "inc", name, "-o", "json"))["status"] == {
        "phase": "Pending",
        "message": "waiting for the operator",
    }
    assert name in _get(namespace, "inc", "--field-selector=status.phase=Pending")


def test_the_table_shows_what_a_reader_needs_first(namespace: str, name: str) -> None:
    assert _get(namespace, "inc", name).splitlines()[0].split() == [
        "NAME", "SEVERITY", "RUNBOOK", "PHASE", "STEP", "WAITING-FOR", "AGE"]  # fmt: skip
    assert _get(namespace, "inc", name, "-o", "wide").splitlines()[0].split()[7:] == ["ALERTS", "MITIGATED", "MESSAGE"]


def test_all_kinds_answer_to_their_short_names_and_the_category(namespace: str, name: str) -> None:
    for short in ("inc", "rb", "conn"):
        assert live.kubectl("get", "-n", namespace, short).returncode == 0
    assert f"incident.incidents.dev/{name}" in _get(namespace, "incidents,rb", "-o", "name")
    assert f"incident.incidents.dev/{name}" in live.kubectl("get", "incident-operator", "-A", "-o", "name").stdout


def test_incidents_are_found_by_phase_severity_and_runbook(namespace: str, name: str) -> None:
    assert _patch(namespace, name, {"status": {"phase": "Verifying"}}, "--subresource=status") == ""
    selector = "status.phase=Verifying,spec.severity=P1,spec.runbookRef.name=rb"
    assert _get(namespace, "inc", f"--field-selector={selector}", "-o", "name").split() == [
        f"incident.incidents.dev/{name}"
    ]
    assert _get(namespace, "inc", "--field-selector=status.phase=Verifying,spec.severity=P2", "-o", "name") == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runbookRef", {"name": "other"}),
        ("runbookRef", None),
        ("severity", "P3"),
        ("group", {"job": "b"}),
        ("group", None),
    ],
)
def test_what_an_incident_is_about_never_changes(namespace: str, name: str, field: str, value: object) -> None:
    assert f"{field} is immutable" in _patch(namespace, name, {"spec": {field: value}})


def test_alerts_come_and_go(namespace: str, name: str) -> None:
    labels = {"commonLabels": {"alertname": "A"}, "alerts": [ALERT], "truncatedAlerts": 2}
    assert _patch(namespace, name, {"spec": labels}) == ""
    assert _patch(namespace, name, {"spec": {"commonLabels": {}, "alerts": [{**ALERT, "status": "resolved"}]}}) == ""


def test_the_spec_of_an_incident_cannot_be_removed(namespace: str, name: str) -> None:
    assert "spec: Required value" in _patch(namespace, name, {"spec": None})


def test_free_form_status_is_kept_as_it_was_written(namespace: str, name: str) -> None:
    outputs = {"lastGood": "PP-2025-10-20", "rows": [{"a": 1.5}, [True]], "deep": {"x": {"y": "z"}}}
    step = {"name": "packs", "stage": "diagnose", "action": "sqlQuery", "outputs": outputs}
    assert _patch(namespace, name, {"status": {"steps": [step]}}, "--subresource=status") == ""
    stored = json.loads(_get(namespace, "inc", name, "-o", "json"))["status"]["steps"][0]
    assert stored["outputs"] == outputs


def test_two_records_of_one_step_are_refused(namespace: str, name: str) -> None:
    step = {"name": "packs", "stage": "diagnose", "action": "sqlQuery"}
    assert "Duplicate value" in _patch(namespace, name, {"status": {"steps": [step, step]}}, "--subresource=status")


def test_explain_tells_what_a_field_means() -> None:
    assert "Labels of the Pods to read" in live.kubectl("explain", "rb.spec.diagnose.logs.selector").stdout
    assert "for whom, until when" in live.kubectl("explain", "inc.status.message").stdout
