"""The alert rules: Prometheus accepts them, and they fire when RB-01 says so and not before."""

import subprocess

import pytest
import yaml

from incident_operator.api.runbook import Runbook
from incident_operator.core.alerts import matching
from tests.examples import debian_programs, shipped

UNIT_TEST = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series: {series}
  alert_rule_test: {expected}
"""


def config(name, file):
    found = [each for each in shipped.of_kind("ConfigMap") if each["metadata"]["name"] == name]
    return found[0]["data"][file]


def rules():
    return yaml.safe_load(config("prometheus", "rules.yml"))["groups"][0]["rules"]


def quickstart_rules():
    return yaml.safe_load((shipped.EXAMPLES / "quickstart" / "rules.yml").read_text())["groups"][0]["rules"]


@pytest.fixture(scope="module")
def promtool(tmp_path_factory):
    return debian_programs.program("promtool", tmp_path_factory.mktemp("programs"))


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def fires(promtool, tmp_path, series, at, alerts):
    """Whether exactly these alerts fire at that time, by promtool's own unit test."""
    (tmp_path / "rules.yml").write_text(config("prometheus", "rules.yml"))
    expected = [{"eval_time": at, "alertname": "PricingPackBuildFailure", "exp_alerts": alerts}]
    test = tmp_path / "test.yml"
    test.write_text(
        UNIT_TEST.format(
            series=yaml.safe_dump(series, default_flow_style=True),
            expected=yaml.safe_dump(expected, default_flow_style=True),
        )
    )
    return run(promtool, "test", "rules", str(test))


def series(fresh, due, duration=None):
    labels = '{pack_date="2025-10-21"}'
    found = [
        {"series": f"pricing_pack_fresh{labels}", "values": fresh},
        {"series": f"pricing_pack_due_timestamp_seconds{labels}", "values": due},
    ]
    return (
        found if duration is None else [*found, {"series": f"pack_build_duration_seconds{labels}", "values": duration}]
    )


def alert(symptom, summary):
    labels = {"namespace": "prod", "pack_date": "2025-10-21", "severity": "page", "symptom": symptom}
    return {"exp_labels": labels, "exp_annotations": {"summary": summary}}


NOT_FRESH = alert("not-fresh", "Pricing pack 2025-10-21 is not ready; users get 503 on /execute, or older prices.")
SLOW = alert("slow-build", "Building pricing pack 2025-10-21 takes 11m 0s so far.")


@pytest.mark.parametrize(
    ("given", "at", "alerts"),
    [
        # promtool's clock starts at 0, so a pack due at 600 is due after ten minutes
        pytest.param(series("0x60", "600x60"), "10m", [], id="not before it is due"),
        pytest.param(series("0x60", "600x60"), "25m", [], id="not within 15 minutes after it was due"),
        pytest.param(series("0x60", "600x60"), "27m", [NOT_FRESH], id="more than 15 minutes after it was due"),
        pytest.param(series("0x30 1x30", "600x60"), "30m", [NOT_FRESH], id="still, just before the pack is fresh"),
        pytest.param(series("0x30 1x30", "600x60"), "32m", [], id="no longer, once the pack is fresh"),
        pytest.param(series("0x60", "6000x60", "660x60"), "5m", [SLOW], id="at once when the build takes too long"),
        pytest.param(series("1x60", "600x60", "660x60"), "30m", [], id="not for a slow build that is done"),
    ],
)
@pytest.mark.cluster
def test_the_rule_fires(promtool, tmp_path, given, at, alerts):
    done = fires(promtool, tmp_path, given, at, alerts)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "text", [config("prometheus", "rules.yml"), (shipped.EXAMPLES / "quickstart" / "rules.yml").read_text()]
)
@pytest.mark.cluster
def test_prometheus_accepts_the_rules(promtool, tmp_path, text):
    path = tmp_path / "rules.yml"
    path.write_text(text)
    done = run(promtool, "check", "rules", str(path))
    assert done.returncode == 0, done.stderr


def test_the_rule_ships_with_the_timing_of_the_runbook():
    assert [rule["for"] for rule in rules() if rule["labels"]["symptom"] == "not-fresh"] == ["15m"]


@pytest.mark.parametrize(
    ("runbook", "found"), [("pricing-pack-build-failure", rules()), ("scale-on-latency", quickstart_rules())]
)
def test_the_runbook_matches_what_its_rules_fire(runbook, found):
    body = next(each for each in shipped.of_kind("Runbook") if each["metadata"]["name"] == runbook)
    matchers = [matching.parse(text) for text in Runbook.model_validate(body).spec.match]
    for rule in found:
        assert matching.matches(matchers, {"alertname": rule["alert"], **rule["labels"]})
        assert rule["labels"]["namespace"] == body["metadata"]["namespace"], "else it goes to no Runbook"


def test_alertmanager_tells_of_resolution_and_never_follows_redirects_with_its_token():
    hook = yaml.safe_load(config("alertmanager", "alertmanager.yml"))["receivers"][0]["webhook_configs"][0]
    assert hook["send_resolved"] is True
    assert hook["http_config"]["follow_redirects"] is False
    assert hook["http_config"]["authorization"] == {
        "type": "Bearer",
        "credentials_file": "/etc/alertmanager/receiver/token",
    }
