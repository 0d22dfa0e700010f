"""Requests to the local cluster's API as its administrator: the few that starting and checking it need."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from devcluster import settings
from devcluster.console import ClusterError

TIMEOUT_SECONDS = 5.0


def ready(config: settings.Settings) -> bool:
    """Tell whether the apiserver says that it is ready."""
    try:
        return _request(config, "/readyz") == "ok"
    except (OSError, http.client.HTTPException, ClusterError):
        return False


def get(config: settings.Settings, path: str) -> dict[str, Any] | None:
    """One object, or None where there is none. Raises ClusterError where the apiserver does not answer."""
    try:
        found = json.loads(_request(config, path))
    except FileNotFoundError:
        return None
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"the apiserver at {config.loopback_url} does not answer: {error}") from None
    return dict(found)


def _request(config: settings.Settings, path: str) -> str:
    pki = config.certificates
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    address, port = "127.0.0.1", config.ports.apiserver  # the way that people's commands take
    connection = http.client.HTTPSConnection(address, port, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status == http.HTTPStatus.NOT_FOUND:
        raise FileNotFoundError(path)
    if response.status != http.HTTPStatus.OK:
        raise ClusterError(f"GET {path}: {response.status} {body[:200]}")
    return body
