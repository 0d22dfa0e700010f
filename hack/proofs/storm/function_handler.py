"""The receiver's whole handler without a network: a request object in, a status out; what it would store is kept in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from incident_operator.kubernetes import discovery, errors
from incident_operator.receiver import server
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.server import ReceiverSettings
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_routes import Request
from tests.kubernetes.fake_store import RefusedError
from tests.receiver import messages, receiver_setup

TOKEN = "function-token"


class FunctionHandler:
    """`WebhookHandler` with everything behind it, down to an apiserver in memory."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        token = folder / "token"
        token.write_text(TOKEN)
        self.settings = ReceiverSettings(host="127.0.0.1", port=0)
        self.memory = Memory()
        runbook = messages.runbook(match=('alertname=~".+"',), group_by=("instance",))
        one = receiver_setup.replica(self.memory, runbook)  # type: ignore[arg-type]
        handler = server.WebhookHandler(
            self.settings, one.intake, (one.incidents, one.runbooks), one.metrics, Tokens(TokenFiles([token]))
        )
        self._app = handler.application()
        self._app.freeze()
        self._loop = loop
        self._protocol = BaseProtocol(loop)
        self._template: web.Request | None = None
        """Its parts that stand for the network serve all requests: making them takes longer than answering."""

    def _headers(self, length: int) -> CIMultiDictProxy[str]:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(length)}
        return CIMultiDictProxy(CIMultiDict(headers))

    async def post(self, body: bytes) -> int:
        """Return the status of the answer to a body."""
        stream = StreamReader(self._protocol, 2**24, loop=self._loop)
        stream.feed_data(body)
        stream.feed_eof()
        if self._template is None:
            self._template = make_mocked_request("POST", self.settings.path, app=self._app)
        head = self._template._message._replace(headers=self._headers(len(body)))
        mocks = self._template._protocol, self._template._payload_writer, self._template._task
        request = web.Request(head, stream, *mocks, self._loop, client_max_size=self.settings.max_body_bytes)
        response = await self._app._handle(request)
        assert isinstance(response, web.StreamResponse)
        return response.status


class Memory:
    """A client of an apiserver in memory: the fake one's rules about versions and names, without a connection."""

    def __init__(self) -> None:
        self._api = FakeApiserver()
        self.writes = 0

    @property
    def incidents(self) -> list[messages.Json]:
        """What is stored."""
        return self._api.objects(discovery.incidents("prod"))

    async def get(self, path: str) -> Any:
        return self._ask("GET", path)

    async def list(self, path: str, *, params: Mapping[str, str]) -> AsyncIterator[Any]:
        for item in self._ask("GET", path, params=params)["items"]:
            yield item

    async def create(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    async def json_patch(self, path: str, operations: Any) -> Any:
        return self._ask("PATCH", path, operations, content="application/json-patch+json")

    def _ask(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Any:  # fmt: skip
        self.writes += method != "GET"
        copied = orjson.loads(orjson.dumps(body))
        try:
            return self._api._serve(Request(method, path, params or {}, "", "", content, copied))
        except RefusedError as refused:
            told = {"kind": "Status", "reason": refused.reason, "message": refused.message}
            tested = content == "application/json-patch+json"
            raise errors.of_answer(refused.status, orjson.dumps(told), tested=tested) from refused
