"""URL paths of the apiserver for the kinds that the operator uses by name; nothing is discovered here."""

from urllib.parse import quote

from incident_operator.api.meta import API_VERSION

_CORE = "/api/v1"
_OWN = f"/apis/{API_VERSION}"


def of(prefix: str, namespace: str | None, plural: str, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of a collection or an object; without a namespace, that of all namespaces.

    Raises `ValueError` for a name that is not a path segment (the apiserver's own rule: not `.` or `..`, no `/` or `%`).
    """
    where = f"/namespaces/{_segment(namespace)}" if namespace else ""
    what = f"/{_segment(name)}" if name else ""
    part = f"/{subresource}" if subresource else ""
    return f"{prefix}{where}/{plural}{what}{part}"


def incidents(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Incidents."""
    return of(_OWN, namespace, "incidents", name, subresource)


def runbooks(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Runbooks."""
    return of(_OWN, namespace, "runbooks", name, subresource)


def connections(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Connections."""
    return of(_OWN, namespace, "connections", name, subresource)


def configmaps(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ConfigMaps."""
    return of(_CORE, namespace, "configmaps", name)


def secrets(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Secrets."""
    return of(_CORE, namespace, "secrets", name)


def serviceaccounts(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ServiceAccounts."""
    return of(_CORE, namespace, "serviceaccounts", name)


def pods(namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the path of Pods; `subresource` may be `log` or `exec`."""
    return of(_CORE, namespace, "pods", name, subresource)


def namespaces(name: str | None = None) -> str:
    """Return the path of Namespaces."""
    return of(_CORE, None, "namespaces", name)


def events(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Events (`events.k8s.io/v1`)."""
    return of("/apis/events.k8s.io/v1", namespace, "events", name)


def core_events(namespace: str | None) -> str:
    """Return the path of the same Events as `v1` has them: what people grant, and what kubectl reads."""
    return of(_CORE, namespace, "events")


def controllerrevisions(namespace: str | None, name: str | None = None) -> str:
    """Return the path of ControllerRevisions."""
    return of("/apis/apps/v1", namespace, "controllerrevisions", name)


def leases(namespace: str | None, name: str | None = None) -> str:
    """Return the path of Leases."""
    return of("/apis/coordination.k8s.io/v1", namespace, "leases", name)


def _segment(name: str) -> str:
    if name in {".", ".."} or "/" in name or "%" in name:
        raise ValueError(f"{name!r} cannot be the name of a Kubernetes object")
    return quote(name, safe="")
