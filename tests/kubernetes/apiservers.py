"""The two apiservers that the same tests run against: the fake, and a real one with a namespace made for them."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from incident_operator.kubernetes import access, discovery
from incident_operator.kubernetes import apiserver as kube
from tests.crds import live
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_routes import KINDS
from tests.kubernetes.fake_store import Kind, Object

WIDGET = Kind("tests.incidents.dev", "v1", "Widget", "widgets", subresources=frozenset({"status"}))
"""A custom kind with a status subresource, like Incidents, but without their schema and policies."""

IMAGE = "kube-test:1"
"""What Pods run; the fixture `image` builds and loads it."""


@dataclass(frozen=True, slots=True)
class Apiserver:
    """An apiserver, a namespace to work in, and how to take a right away there."""

    access: access.Access
    client: kube.Kube
    namespace: str
    is_real: bool
    forbid: Callable[[str, str, str], None]
    """(user, verb, resource): in the fake, where everything is allowed at first; the real one grants nothing."""

    async def grant(self, account: str, *rules: Object) -> None:
        """Make a service account that may do what the rules say, and nothing else."""
        if not self.is_real:
            return
        meta = {"name": account}
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        await self.client.create(discovery.of("/api/v1", self.namespace, "serviceaccounts"), {"metadata": meta})
        await self.client.create(discovery.of(rbac, self.namespace, "roles"), {"metadata": meta, "rules": list(rules)})
        binding = {
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        }
        await self.client.create(discovery.of(rbac, self.namespace, "rolebindings"), binding)

    def widgets(self, name: str | None = None, subresource: str | None = None) -> str:
        return discovery.of("/apis/tests.incidents.dev/v1", self.namespace, "widgets", name, subresource)

    async def widget(self, name: str = "w", **content: object) -> Object:
        return await self.client.create(self.widgets(), manifest(name, **content))


def manifest(name: str = "w", **content: object) -> Object:
    return {"apiVersion": "tests.incidents.dev/v1", "kind": "Widget", "metadata": {"name": name}, **content}


@asynccontextmanager
async def fake() -> AsyncIterator[Apiserver]:
    async with FakeApiserver([*KINDS, WIDGET]) as api, kube.Kube(api.access()) as client:
        yield Apiserver(api.access(), client, "prod", is_real=False, forbid=api.forbid)


@asynccontextmanager
async def real() -> AsyncIterator[Apiserver]:
    """A new namespace of a real apiserver, deleted afterwards."""
    async with attached(f"kube-test-{secrets.token_hex(4)}") as apiserver:
        await apiserver.client.create(discovery.namespaces(), {"metadata": {"name": apiserver.namespace}})
        try:
            yield apiserver
        finally:
            await apiserver.client.delete(discovery.namespaces(apiserver.namespace))


@asynccontextmanager
async def attached(namespace: str) -> AsyncIterator[Apiserver]:
    """A namespace of a real apiserver, neither made nor deleted here."""
    reach = await access.load(live.kubeconfig())
    async with kube.Kube(reach) as client:
        yield Apiserver(reach, client, namespace, is_real=True, forbid=lambda _user, _verb, _resource: None)
