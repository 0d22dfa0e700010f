"""What actions send as their credentials, from the first request of a process on."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from incident_operator.kubernetes import access as accesses
from incident_operator.kubernetes.accounts import Cluster


@pytest.fixture
async def seen() -> AsyncIterator[tuple[str, list[str]]]:
    """An apiserver that writes down the Authorization of every request; its URL and the list."""
    tokens: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization", ""))
        return web.json_response({"kind": "Pod", "metadata": {}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", tokens
    await runner.cleanup()


async def test_the_first_request_of_an_action_carries_the_token_and_so_does_the_next(
    seen: tuple[str, list[str]],
) -> None:
    url, tokens = seen

    async def read() -> str:
        return "Bearer of-the-pod"

    access = accesses.Access(server=url, credentials=accesses.Credentials(read))
    async with Cluster(access) as cluster:
        account = cluster.acting_as("prod", "rb")
        await account.get("/api/v1/namespaces/prod/pods/a")
        await account.get("/api/v1/namespaces/prod/pods/b")
    assert tokens == ["Bearer of-the-pod", "Bearer of-the-pod"]
