"""A second operator that has nothing to do: one Incident that waits for a person, in a namespace of its own.

Another was aborted there, and was deleted when its time to live was over: from then on there is nothing to delete either.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from demonstration.cluster import Cluster

from tests.e2e.cluster_setup import authority, lease_rights, served, server
from tests.e2e.operator_process import environment_of, free_port, kubeconfig
from tests.e2e.witnesses import AuditLog, until

NAMESPACE = "idle"


class Idle:
    """The operator, and what it writes after it has settled."""

    def __init__(self, cluster: Cluster, token: str, folder: Path) -> None:
        self._cluster = cluster
        self._config = kubeconfig(folder / "kubeconfig", server(cluster), token, authority(cluster))
        self._folder = folder

    def start(self) -> None:
        """Give it its Incident, wait until that waits for a person, and begin to listen."""
        named = {"name": "waits", "namespace": NAMESPACE}
        self._cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
        incident = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": named}
        self._cluster.apply([{**incident, "spec": {"runbookRef": {"name": "none"}}}])
        over = {**incident, "metadata": {**named, "name": "over"}}
        self._cluster.apply([{**over, "spec": {"runbookRef": {"name": "none"}}}])
        self._cluster.apply([*lease_rights(NAMESPACE), *served(NAMESPACE)])
        environment = environment_of(self._folder, NAMESPACE, free_port(), free_port())
        environment["INCIDENT_OPERATOR_CLOSED_TTL"] = "5s"
        environment["INCIDENT_OPERATOR_LEASE_NAMESPACE"] = NAMESPACE
        words = [sys.executable, "-m", "incident_operator", "run", "--kubeconfig", str(self._config)]
        with (self._folder / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        until(lambda: self._waits("waits") and self._waits("over"), 60, lambda: "the Incidents in NeedsHuman")
        person = self._cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").strip()
        self._cluster.kubectl("annotate", "incident", "over", "-n", NAMESPACE, f"incidents.dev/abort=now {person}")
        until(self._is_deleted, 60, lambda: "the end of the aborted Incident's time to live")
        time.sleep(1.0)  # the Event of that phase change
        self._audit, self._began = AuditLog(self._cluster, NAMESPACE), time.monotonic()

    def stop(self) -> None:
        """End it, and remove its namespace."""
        self._process.terminate()
        self._process.wait(timeout=40)
        self._cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")

    def seconds(self) -> float:
        """How long it has been idle."""
        return time.monotonic() - self._began

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def writes(self) -> list[dict[str, Any]]:
        """What it changed while it was idle, beyond its Lease."""
        return [entry for entry in self._audit.writes() if entry["objectRef"]["resource"] != "leases"]

    def _waits(self, name: str) -> bool | None:
        found = self._cluster.get("incident", name, "-n", NAMESPACE) or {}
        return True if found.get("status", {}).get("phase") == "NeedsHuman" else None

    def _is_deleted(self) -> bool | None:
        return True if self._cluster.get("incident", "over", "-n", NAMESPACE) is None else None
