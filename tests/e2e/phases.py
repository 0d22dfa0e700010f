"""Waits for the phase of a namespace's only Incident with a kubectl that watches.

A kubectl for every look costs more than all that the operator does meanwhile.
"""

import math
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from demonstration.cluster import Cluster

_PAUSE = 0.5
"""Seconds between a watch that ended early and the next."""


def wait_for(cluster: Cluster, namespace: str, phase: str, seconds: float = 60) -> dict[str, Any]:
    """Return the only Incident once it is in a phase. Raises `AssertionError` after so many seconds."""
    for seen in _phases(cluster, namespace, seconds):
        if seen == phase and len(found := incidents(cluster, namespace)) == 1 and _phase(found[0]) == phase:
            return found[0]
    told = [f"{_phase(each)}: {each.get('status', {}).get('message')}" for each in incidents(cluster, namespace)]
    raise AssertionError(f"not within {seconds:.0f}s: {phase}; there is {told}")


def incidents(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """The namespace's Incidents as they are now."""
    return list((cluster.get("incidents", "-n", namespace) or {}).get("items", []))


def _phases(cluster: Cluster, namespace: str, seconds: float) -> Iterator[str]:
    """The phase of each Incident, first as it is and then at every change, for so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        yield from _watched(cluster, namespace, math.ceil(left))
        time.sleep(_PAUSE)


def _watched(cluster: Cluster, namespace: str, seconds: int) -> Iterator[str]:
    words = ["get", "incidents", "-n", namespace, "--watch", f"--request-timeout={seconds}s"]
    command = [cluster.program("kubectl"), *words, "-o", 'jsonpath={.status.phase}{"\\n"}']
    with subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True) as kubectl:
        assert kubectl.stdout is not None
        try:
            yield from map(str.strip, kubectl.stdout)
        finally:
            kubectl.kill()


def _phase(incident: dict[str, Any]) -> str:
    return str(incident.get("status", {}).get("phase", ""))
