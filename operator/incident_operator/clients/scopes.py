"""Which namespaces the operator serves: those that it is told, else every one, where its rights reach so far.

It may read its own kinds in every namespace, and write only where a RoleBinding lets it. What it may not write it does not read either:
an alert for a Runbook whose Incident it could not open would otherwise be sent again for ever.
"""

from incident_operator.api.meta import GROUP
from incident_operator.clients import kube

Scopes = tuple[str | None, ...]
"""Names of namespaces, each of which is listed and watched by itself; None stands for all of them at once. Empty: none at all."""
EVERYWHERE: Scopes = (None,)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def served(client: kube.Kube, named: tuple[str, ...]) -> Scopes:
    """Return what is served: the named namespaces, or, where none is named, all or none. Raises `ApiError`."""
    if named:
        return named
    return EVERYWHERE if await _may_open_incidents_everywhere(client) else ()


async def _may_open_incidents_everywhere(client: kube.Kube) -> bool:
    asked = {"group": GROUP, "resource": "incidents", "verb": "create"}  # without a namespace: in all
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = await client.create(_REVIEWS, {**kind, "spec": {"resourceAttributes": asked}})
    return bool(answer["status"].get("allowed"))
