"""A small apiserver for tests, on loopback: real optimistic concurrency, a request log, and faults on demand.

    async with FakeApiserver() as api, Kube(api.access()) as client:
        await client.create(paths.incidents("prod"), {...})
        api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
        ...
        assert len(api.writes) == 2

What it keeps and refuses is in `fake_store.py`. It is held to the behaviour of a real apiserver by running the same
tests against both.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web

from incident_operator.kubernetes import access
from tests.kubernetes import fake_exec, fake_routes
from tests.kubernetes.fake_faults import Fault, Faults
from tests.kubernetes.fake_routes import Request, Target
from tests.kubernetes.fake_store import Kind, Object, RefusedError, Store, Where
from tests.kubernetes.fake_watch import Watches


class FakeApiserver:
    """An apiserver in this process; use it with `async with`."""

    def __init__(self, kinds: Sequence[Kind] = fake_routes.KINDS) -> None:
        self.requests: list[Request] = []
        """Every request, in the order of arrival."""
        self.logs: dict[tuple[str, str, str], str] = {}
        """What containers wrote: (namespace, Pod, container) → text."""
        self.previous_logs: dict[tuple[str, str, str], str] = {}
        """What they wrote before they restarted."""
        self.planted: dict[str, bytes] = {}
        """Collection's path → the text of one more item, whatever it is, that its lists tell first."""
        self._kinds = kinds
        self._store = Store()
        self.watches = Watches(self._store)
        """The watches that are open, and how they go wrong."""
        self._faults = Faults()
        self._forbidden: set[tuple[str, str, str]] = set()
        self._not_impersonated: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._runner:
            await self._runner.cleanup()

    def access(self) -> access.Access:
        """How a client reaches it."""
        return access.Access(server=self._url)

    @property
    def writes(self) -> list[Request]:
        """The requests that were to change something."""
        return [request for request in self.requests if request.is_write]

    def inject(self, fault: Fault, *, method: str = "", path: str = "", times: int = 1) -> None:
        """Let the next `times` requests of that method whose path contains `path` go wrong."""
        self._faults.add(fault, method, path, times)

    def interleave(self, act: Callable[[], object], *, method: str = "", path: str = "") -> None:
        """Do something just before the next such request is applied: what another client does at that moment."""
        self._faults.add(act, method, path, 1)

    def forbid(self, user: str, verb: str, resource: str) -> None:
        """Deny a verb (`get`, `list`, `create`, …) on a resource (`secrets`, `pods/log`, `deployments.apps`) to a user."""
        self._forbidden.add((user, verb, resource))

    def refuse_impersonation(self, user: str) -> None:
        """Deny to act as a user, as where a namespace has not opted in."""
        self._not_impersonated.add(user)

    def serve(self, group: str, version: str, kind: str, plural: str) -> None:
        """Serve one more kind from now on."""
        self._kinds = [*self._kinds, Kind(group, version, kind, plural, subresources=frozenset({"status"}))]

    def put(self, made: Object) -> Object:
        """Create or replace an object, status and all, behind the API: what a controller or another client does."""
        where = self._where_of(made)
        if where not in self._store:
            self._store.create(where, made)
        stored = self._store.change(where, lambda old: _replaced(old, made))
        if "status" not in made:
            return stored
        return self._store.change(where, lambda old: {**old, "status": made["status"]}, subresource="status")

    def remove(self, path: str) -> None:
        """Delete the object at a path behind the API."""
        self._store.delete(self._target("DELETE", path).where)

    def object(self, path: str) -> Object:
        """Return the object at a path, unseen by the request log; raises `RefusedError` where there is none."""
        return self._store.get(self._target("GET", path).where)

    def objects(self, path: str) -> list[Object]:
        """Return the objects of the collection at a path, unseen by the request log."""
        return list(self._store.list(self._target("GET", path).where))

    def _where_of(self, made: Object) -> Where:
        served = {(kind.api_version, kind.kind): kind for kind in self._kinds}
        kind = served[made["apiVersion"], made["kind"]]
        namespace = made["metadata"].get("namespace", "default") if kind.namespaced else ""
        return Where(kind, namespace, made["metadata"]["name"])

    def _target(self, method: str, path: str) -> Target:
        return fake_routes.target(self._kinds, method, path)

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        request = await _request(http)
        self.requests.append(request)
        fault = None
        try:
            fault = self._faults.strike(request)
            if request.path.endswith("/exec") and fault in {None, Fault.CUT_SHORT, Fault.NO_END}:
                return await fake_exec.serve(http, self._container(request), fault)
            if "watch" in request.params and not fault:
                return await self._watch(http, request)
            answer = None if fault is Fault.DROPPED else self._serve(request)
        except RefusedError as refused:
            if fault is Fault.SILENT:
                await asyncio.sleep(3600)
            if fault is Fault.REPLY_LOST:
                return _break_off(http)
            return _json(_status(refused), refused.status, self._faults.headers)
        if fault is Fault.SILENT:
            await asyncio.sleep(3600)
        if fault:
            return _break_off(http)
        if isinstance(answer, str):
            return web.Response(body=answer.encode(errors="surrogateescape"), content_type="text/plain")
        if request.path in self.planted and "items" in answer:
            answer = {**answer, "items": [orjson.Fragment(self.planted[request.path]), *answer["items"]]}
        return _json(answer, 201 if request.method == "POST" else 200)

    def _serve(self, request: Request) -> Object | str:
        found = fake_routes.discovery(self._kinds, request.path)
        if found is not None:
            return found
        at = self._target(request.method, request.path)
        self._authorize(at, request.user)
        if at.subresource == "log":
            return self._log(at.where, request)
        return fake_routes.serve(self._store, at, request)

    async def _watch(self, http: web.Request, request: Request) -> web.StreamResponse:
        at = self._target(request.method, request.path)
        self._authorize(at, request.user)
        fake_routes.check_selectable(at.where.kind, request.params)
        return await self.watches.serve(http, at.where, request)

    def _authorize(self, at: Target, user: str) -> None:
        if user in self._not_impersonated:
            account = user.rpartition(":")[2]
            cannot = 'User "operator" cannot impersonate resource "serviceaccounts" in API group ""'
            where = f'in the namespace "{at.where.namespace}"'
            raise RefusedError(403, "Forbidden", f'serviceaccounts "{account}" is forbidden: {cannot} {where}')
        if (user, at.verb, at.resource) not in self._forbidden:
            return
        plural = at.where.kind.plural + (f"/{at.subresource}" if at.subresource else "")
        named = f' "{at.where.name}"' if at.where.name else ""
        cannot = f'User "{user}" cannot {at.verb} resource "{plural}" in API group "{at.where.kind.group}"'
        message = f'{at.where.kind.resource}{named} is forbidden: {cannot} in the namespace "{at.where.namespace}"'
        raise RefusedError(403, "Forbidden", message)

    def _container(self, request: Request) -> Object:
        """Return where a command is to run; both verbs are asked for, since which one it is depends on the version."""
        at = self._target(request.method, request.path)
        for verb in ("get", "create"):
            self._authorize(replace(at, verb=verb), request.user)
        return fake_exec.container_of(self._store.get(at.where), request.params["container"])

    def _log(self, where: Where, request: Request) -> str:
        pod = self._store.get(where)
        container = request.params.get("container") or pod["spec"]["containers"][0]["name"]
        waiting = [status for status in pod.get("status", {}).get("containerStatuses", []) if _waits(status, container)]
        if waiting:
            why = waiting[0]["state"]["waiting"]["reason"]
            message = f'container "{container}" in pod "{where.name}" is waiting to start: {why}'
            raise RefusedError(400, "BadRequest", message)
        if request.params.get("previous") == "true":
            return self._previous(where, container)
        lines = re.findall(r"[^\n]*\n|[^\n]+", self.logs.get((where.namespace, where.name, container), ""))
        return "".join(lines[-int(request.params.get("tailLines", len(lines) or 1)) :])

    def _previous(self, where: Where, container: str) -> str:
        found = self.previous_logs.get((where.namespace, where.name, container))
        if found is None:
            message = f'previous terminated container "{container}" in pod "{where.name}" not found'
            raise RefusedError(400, "BadRequest", message)
        return found


def _waits(status: Object, container: str) -> bool:
    return bool(status["name"] == container and "waiting" in status.get("state", {}))


def _replaced(old: Object, made: Object) -> Object:
    identity = {key: old["metadata"][key] for key in ("uid", "resourceVersion")}
    return {**made, "metadata": {**made["metadata"], **identity}}


async def _request(http: web.Request) -> Request:
    body = await http.read()
    return Request(
        method=http.method,
        path=http.path,
        params=dict(http.query),
        user=http.headers.get("Impersonate-User", ""),
        agent=http.headers.get("User-Agent", ""),
        accept=http.headers.get("Accept", ""),
        content_type=http.content_type,
        body=orjson.loads(body) if body else None,
    )


def _break_off(http: web.Request) -> web.Response:
    if http.transport:
        http.transport.abort()
    return web.Response()


def _status(refused: RefusedError) -> Object:
    answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    named = re.match(r'(\S+) "(.+)" not found', refused.message)
    details = {"kind": named[1], "name": named[2]} if named else {}
    return {**answer, "message": refused.message, "reason": refused.reason, "code": refused.status, "details": details}


def _json(body: object, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
