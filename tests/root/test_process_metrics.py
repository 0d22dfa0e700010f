"""What `/metrics` tells of the process beside the operator's own series."""

import importlib.metadata

import pytest
from prometheus_client import generate_latest

from incident_operator import health
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.receiver.metrics import ReceiverMetrics


@pytest.fixture
def lines() -> list[str]:
    registry = health.registry()
    metrics = EngineMetrics(registry)
    ReceiverMetrics(registry).duration.observe(0.1)
    metrics.phases.labels("NeedsHuman").inc()
    return generate_latest(registry).decode().splitlines()


@pytest.mark.parametrize(
    "name",
    ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds",
     "python_gc_collections_total", "python_info", "incident_operator_phase_changes_total"],
)  # fmt: skip
def test_the_series_that_dashboards_expect_are_there(lines, name):
    assert any(line.startswith((f"{name} ", f"{name}{{")) for line in lines)


def test_which_build_runs_is_told(lines):
    version = importlib.metadata.version("incident-operator")
    (told,) = [line for line in lines if line.startswith("incident_operator_build_info{")]
    assert f'version="{version}"' in told
    assert told.endswith(" 1.0")


def test_no_series_has_a_twin_that_tells_when_it_was_made(lines):
    assert [line for line in lines if "_created" in line] == []
