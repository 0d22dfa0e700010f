"""The text of kubeconfig files. JSON is YAML, and every client reads it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

NAME = "incident-operator"


def by_path(server: str, authority: Path, certificate: Path, key: Path) -> str:
    """Return a kubeconfig that names certificate files, for the cluster's own components."""
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    return _document({"server": server, "certificate-authority": str(authority)}, "component", user)


def embedded(server: str, authority: bytes, user: str, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig that holds the certificates (PEM) itself, so that it may be copied and mounted."""
    credentials = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    return _document({"server": server, "certificate-authority-data": _encoded(authority)}, user, credentials)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _document(cluster: dict[str, str], user: str, credentials: dict[str, str]) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": user}}],
        "current-context": NAME,
    }
    return json.dumps(document, indent=2) + "\n"
