"""The custom kind of these tests, on a real apiserver."""

import asyncio
from contextlib import suppress

from incident_operator.kubernetes import access, apiserver, discovery
from tests.crds import live

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_STATUS = {**_ANY, "properties": {"phase": {"type": "string"}}}
_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.tests.incidents.dev"},
    "spec": {
        "group": "tests.incidents.dev",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _ANY, "status": _STATUS}}},
                "selectableFields": [{"jsonPath": ".status.phase"}],
            }
        ],
    },
}


async def install() -> None:
    """Create it, and wait until it is served; an earlier run may still be taking its own away."""
    async with apiserver.Kube(await access.load(live.kubeconfig())) as client:
        for _ in range(200):
            with suppress(apiserver.AlreadyExists):
                await client.create(_CRDS, _CRD)
            with suppress(apiserver.NotFound, apiserver.Unavailable):
                await client.get(discovery.of("/apis/tests.incidents.dev/v1", None, "widgets"))
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("the apiserver does not serve widgets.tests.incidents.dev")


async def remove() -> None:
    """Delete it with all its objects."""
    async with apiserver.Kube(await access.load(live.kubeconfig())) as client:
        with suppress(apiserver.NotFound):
            await client.delete(f"{_CRDS}/widgets.tests.incidents.dev")
