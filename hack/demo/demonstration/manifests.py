"""The objects of examples/dawsos as data, and the Secrets that go with them. Nothing is sent from here."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from demonstration.cluster import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "dawsos"
EFFECTS_SQL = REPOSITORY / "operator" / "incident_operator" / "clients" / "effects.sql"
NAMESPACE = "prod"
SAMPLE = "dawsos-sample"
"""Value of `app.kubernetes.io/part-of` on the sample's namespace: nothing without it is ever deleted."""

Object = dict[str, Any]


def documents(*files: str) -> list[Object]:
    """Every object of these files of examples/dawsos, in order."""
    return [document for file in files for document in _documents(EXAMPLE / file)]


def platform() -> list[Object]:
    """The platform's objects, as they ship."""
    names = ("namespace", "database", "providers", "scheduler", "api", "prometheus", "alertmanager")
    return documents(*(f"platform/{name}.yaml" for name in names))


def credentials(receiver_token: str) -> list[Object]:
    """The Secrets with new random values; `receiver_token` is what the operator's receiver expects."""
    roles = [
        _secret(f"dawsos-{role}", username=f"dawsos_{role}", password=_random()) for role in ("app", "read", "write")
    ]
    tokens = [_secret(name, token=_random()) for name in ("dawsos-api", "polygon", "fmp", "fred")]
    return [*roles, *tokens, _secret("alertmanager-receiver", token=receiver_token)]


def database_sql() -> Object:
    """The ConfigMap with all the SQL that fills a new database; the operator's own table is among it."""
    files = [*sorted((EXAMPLE / "database").glob("*.sql"))]
    data = {path.name: path.read_text() for path in files} | {"30-effects.sql": EFFECTS_SQL.read_text()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata("database-sql"), "data": data}


def _documents(path: Path) -> Iterator[Object]:
    return (document for document in yaml.safe_load_all(path.read_text()) if document)


def _secret(name: str, **values: str) -> Object:
    kind = "kubernetes.io/basic-auth" if "username" in values else "Opaque"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(name), "type": kind, "stringData": values}


def _metadata(name: str) -> dict[str, str]:
    return {"name": name, "namespace": NAMESPACE}


def _random() -> str:
    return secrets.token_urlsafe(24)
