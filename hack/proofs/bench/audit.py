"""The apiserver's own record of who wrote what."""

import json
from pathlib import Path

from tests.e2e.audit_lines import AuditLines

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_AGENT = "incident-operator"
_OWN = frozenset({"leases", "secrets"})


class Audit:
    """What was written by the operator since this was made."""

    def __init__(self, log: Path) -> None:
        self._lines = AuditLines(log)

    def writes(self, namespace: str) -> list[tuple[str, int]]:
        """Return (verb and resource, status code) of each write of an operator in a namespace, what it keeps for itself and dry runs apart."""
        lines = [json.loads(line) for line in self._lines if namespace.encode() in line]
        return [found for line in lines if (found := _write(line, namespace)) is not None]


def _write(entry: dict[str, object], namespace: str) -> tuple[str, int] | None:
    about, answer = entry.get("objectRef") or {}, entry.get("responseStatus") or {}
    if entry.get("stage") != "ResponseComplete" or about.get("namespace") != namespace or about.get("resource") in _OWN:
        return None
    if entry["verb"] not in _WRITES or entry.get("userAgent") != _AGENT or "dryRun" in entry["requestURI"]:
        return None
    part = f"/{about['subresource']}" if "subresource" in about else ""
    return f"{entry['verb']} {about['resource']}{part}", answer.get("code", 0)
