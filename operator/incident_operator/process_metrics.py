"""What the process tells of itself beside its own series: processor time, memory, files, garbage, and which build it is."""

import importlib.metadata
import platform

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)


def registry() -> CollectorRegistry:
    """Return a registry with the series that dashboards expect of every process; none has a twin that tells when it was made."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    GCCollector(registry=made)
    PlatformCollector(registry=made)
    build = Info("incident_operator_build", "Which build this is; always 1.", registry=made)
    build.info({"version": importlib.metadata.version("incident-operator"), "python": platform.python_version()})
    return made
