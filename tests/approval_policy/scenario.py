"""Where the truth table is played: a client for each person, and Incidents put into the state that a case needs."""

import contextlib
import copy
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from incident_operator.api.meta import API_VERSION
from incident_operator.kubernetes import access, discovery
from incident_operator.kubernetes.apiserver import Kube
from tests.approval_policy import people
from tests.crds import live


class Scenario:
    """One namespace; clients are made when a case first needs them, and closed with it."""

    def __init__(self, namespace: str, directory: Path) -> None:
        self.namespace = namespace
        self._directory = directory
        self._clients: dict[str, Kube] = {}
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def client(self, who: str) -> Kube:
        """The apiserver as that person meets it."""
        if who not in self._clients:
            self._clients[who] = await self._login(who)
        return self._clients[who]

    async def incident(
        self,
        status: dict[str, Any] | None,
        spec: dict[str, Any],
        labels: dict[str, str],
        finalizers: Sequence[str] = (),
    ) -> str:
        """Create an Incident as the operator does, with that status, and return its name."""
        operator = await self.client(people.OPERATOR)
        name = f"case-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": labels, "finalizers": list(finalizers)}
        body = {"apiVersion": API_VERSION, "kind": "Incident", "metadata": metadata, "spec": spec}
        await operator.create(discovery.incidents(self.namespace), body)
        await self.report(name, status)
        return name

    async def report(self, name: str, status: dict[str, Any] | None) -> None:
        """Write a status as the operator does."""
        if status is None:
            return
        operator = await self.client(people.OPERATOR)
        await operator.json_patch(
            discovery.incidents(self.namespace, name, "status"), [{"op": "add", "path": "/status", "value": status}]
        )

    async def _login(self, who: str) -> Kube:
        if who in people.IMPERSONATED:
            return _impersonating(await self._open(live.kubeconfig()), who)
        if who == people.ADMIN:
            return await self._open(live.kubeconfig())
        if who == people.BOT:
            return await self._with_token()
        # a colon in a kubeconfig's path would be read as a list of two
        certified = live.user_kubeconfig(who)
        return await self._open(_kubeconfig(certified, self._directory / f"{who.replace(':', '-')}.kubeconfig"))

    async def _open(self, kubeconfig: str) -> Kube:
        return await self._closing.enter_async_context(Kube(await access.load(kubeconfig)))

    async def _with_token(self) -> Kube:
        """The service account with a token of its own, and no client certificate."""
        admin = await self.client(people.ADMIN)
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{people.BOT}/token"
        answer = await admin.create(
            path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        target = self._directory / "bot.kubeconfig"
        return await self._open(_kubeconfig(live.kubeconfig(), target, {"token": answer["status"]["token"]}))


def _kubeconfig(source: str, target: Path, credentials: dict[str, str] | None = None) -> str:
    """Write a copy of a kubeconfig, with other credentials where they are given, and return its path."""
    config = yaml.safe_load(Path(source).read_text())
    for user in config["users"] if credentials else []:
        user["user"] = credentials
    target.write_text(yaml.safe_dump(config))
    return str(target)


def _impersonating(admin: Kube, user: str) -> Kube:
    """As system:masters, so that RBAC lets everything pass and only the policies decide."""
    other = copy.copy(admin)
    other._headers = f"{admin._headers}Impersonate-User: {user}\r\nImpersonate-Group: system:masters\r\n"
    return other
