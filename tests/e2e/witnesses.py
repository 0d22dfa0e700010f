"""Independent witnesses: the database's own tables, the objects, the apiserver's audit log. Never the operator's word."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from demonstration import manifests, platform
from demonstration.cluster import Cluster

from tests.e2e import phases
from tests.e2e.audit_lines import AuditLines
from tests.kubernetes.garbage_collector import AS_COLLECTOR

OPERATOR = "system:serviceaccount:incident-operator-system:incident-operator"
T = TypeVar("T")
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class MissingPack:
    """One day without a pack in the sample's database, and what became of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.today = datetime.now(UTC).date()
        self.pack = f"PP-{self.today}"
        self.yesterday = f"PP-{self.today - timedelta(days=1)}"

    def begin(self) -> None:
        """No pack is fresh, tonight's does not exist, nothing has been done about it."""
        self.end()
        self.sql(
            f"DELETE FROM pricing_pack WHERE id = '{self.pack}'; UPDATE pricing_pack SET is_fresh = FALSE;"
            "DELETE FROM incident_operator.incident_operator_effects"
        )

    def end(self) -> None:
        """Remove the Incidents, and their Jobs with them."""
        namespace = ("-n", manifests.NAMESPACE)
        self.cluster.kubectl("delete", "incidents", "--all", "--wait=true", *namespace, *AS_COLLECTOR)
        self.cluster.kubectl("delete", "jobs", "--all", "--wait=true", *namespace)

    def sql(self, statement: str) -> str:
        """What the database answers its administrator."""
        return platform.query(self.cluster, statement)

    def build_by_hand(self) -> None:
        """Somebody built tonight's pack and gave it to users."""
        columns = f"('{self.pack}', '{self.today}', TRUE, 'by hand')"
        self.sql(
            "UPDATE pricing_pack SET is_fresh = FALSE;"
            f"INSERT INTO pricing_pack (id, date, is_fresh, hash) VALUES {columns}"
        )

    def fresh(self) -> list[str]:
        """Which packs users are served from."""
        return self.sql("SELECT id FROM pricing_pack WHERE is_fresh ORDER BY id").split()

    def effects(self) -> list[str]:
        """Steps whose change of data was committed, in order; a doubled effect would stand there twice."""
        done = "FROM incident_operator.incident_operator_effects WHERE rows_changed IS NOT NULL"
        return self.sql(f"SELECT step {done} ORDER BY applied_at").split()

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs that were let run; one that was withdrawn before it began stays suspended."""
        found = self.cluster.get("jobs", "-n", manifests.NAMESPACE) or {}
        return [job for job in found.get("items", []) if not job["spec"].get("suspend")]

    def wait_for(self, phase: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the only Incident is in a phase, and return it."""
        return phases.wait_for(self.cluster, manifests.NAMESPACE, phase, seconds)


def until(look: Callable[[], T | None], seconds: float, wanted: Callable[[], str]) -> T:
    """Look until there is something, in bounded time."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f}s: {wanted()}")
        time.sleep(0.2)
    return found


class AuditLog:
    """What the apiserver wrote down about the operator from a moment on: everywhere, or in one namespace.

    Operators of other tests may be at work on the same cluster, under the same name and elsewhere.
    """

    def __init__(self, cluster: Cluster, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._lines = AuditLines(Path(cluster.kubeconfig).parent / "logs" / "audit.log")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Everything that the operator asked for since then, under its own name or as a service account."""
        for line in self._lines:
            entry = json.loads(line)
            if entry["user"]["username"] == OPERATOR and entry["stage"] == "ResponseComplete" and self._is_here(entry):
                yield entry

    def _is_here(self, entry: dict[str, Any]) -> bool:
        return self._namespace in {None, entry.get("objectRef", {}).get("namespace")}

    def writes(self, resource: str = "") -> list[dict[str, Any]]:
        """What the operator changed, dry runs left out; `resource` as in `incidents/status`."""
        return [entry for entry in self.entries() if _is_write(entry) and resource in {"", _resource(entry)}]


def _is_write(entry: dict[str, Any]) -> bool:
    applied = entry["responseStatus"]["code"] < 400
    return entry["verb"] in _WRITES and "dryRun=" not in entry["requestURI"] and applied


def _resource(entry: dict[str, Any]) -> str:
    reference = entry.get("objectRef", {})
    subresource = reference.get("subresource", "")
    return f"{reference.get('resource', '')}/{subresource}" if subresource else str(reference.get("resource", ""))
