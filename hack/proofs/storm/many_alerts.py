"""The alerts of a storm, as groups of an Alertmanager that groups by `instance`."""

from collections.abc import Iterator
from datetime import UTC, datetime

from proofs.storm.alerts import Alert, milliseconds
from proofs.storm.groups import Group
from proofs.storm.storm_namespace import STORM


def now() -> datetime:
    """The time, as precise as Prometheus has it."""
    return milliseconds(datetime.now(UTC))


def alert(name: str, instance: str, starts_at: datetime) -> Alert:
    """One alert about an instance."""
    return Alert(
        labels={"alertname": name, "instance": instance, "job": "node", "severity": "page"},
        starts_at=starts_at,
        annotations={"summary": f"{instance} has trouble", "description": "A load test."},
        generator_url="http://prometheus.storm:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    )


def distinct(prefix: str, number: int, starts_at: datetime) -> Iterator[Group]:
    """That many alerts, each in a group of its own; the same for every Alertmanager that is asked."""
    for index in range(number):
        instance = f"{prefix}-{index:06d}"
        group = Group({"instance": instance})
        group.insert(alert(STORM, instance, starts_at))
        yield group


def together(name: str, prefix: str, number: int, starts_at: datetime) -> Group:
    """That many alerts in one group."""
    group = Group({"alertname": name})
    for index in range(number):
        group.insert(alert(name, f"{prefix}-{index:06d}", starts_at))
    return group
