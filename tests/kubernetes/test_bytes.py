"""Bytes are counted where they arrive: what is stored in a namespace is never all in memory at once, whatever it weighs."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from incident_operator.actions.get import ACTION, Get
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Succeeded
from incident_operator.kubernetes import discovery, partial_objects, transport
from incident_operator.kubernetes.accounts import Cluster
from incident_operator.kubernetes.apiserver import OBJECT_BYTES, PAGE_BYTES, Kube, pages
from incident_operator.kubernetes.errors import TooLarge, Unavailable
from tests.actions import calls
from tests.kubernetes.heavy import IN_SOCKETS, MEBIBYTE, HeavyApiserver, serving
from tests.kubernetes.reflecting import watching

FEW_BYTES = PAGE_BYTES + IN_SOCKETS
"""Of one answer, with what is on its way when reading stops."""


async def test_a_list_of_large_objects_is_read_in_pages_of_few_bytes_and_to_its_end() -> None:
    async with serving(HeavyApiserver(40, 1300 * 1024)) as heavy, Kube(heavy.access()) as client:
        names = [item["metadata"]["name"] async for item in client.list(discovery.connections("prod"))]
    assert names == [f"heavy-{number:04}" for number in range(40)]
    assert max(heavy.taken) < FEW_BYTES, "one answer with all of them would have 52 MB"


async def test_a_list_of_small_objects_is_read_by_the_hundred() -> None:
    async with serving(HeavyApiserver(1200, 500)) as heavy, Kube(heavy.access()) as client:
        assert len([item async for item in client.list(discovery.connections("prod"))]) == 1200
    assert len(heavy.taken) == 3


async def test_pages_become_larger_again_where_the_objects_are_small() -> None:
    asked: list[int] = []

    async def read(query: dict[str, str], most: int) -> bytes:
        limit, start = int(query["limit"]), int(query.get("continue") or 0)
        asked.append(limit)
        if start == 0 and limit > 1:
            raise TooLarge(200, "TooLarge", "")
        more = b"" if start > 2000 else b',"continue":"%d"' % (start + limit)
        return b'{"metadata":{"resourceVersion":"1"%s},"items":[]}' % more

    assert len([page async for page in pages(read, {})]) > 1
    assert asked[:4] == [500, 62, 7, 1]
    assert asked[-1] == 500


async def test_runbooks_of_over_a_megabyte_are_listed_at_start_in_pages_of_few_bytes() -> None:
    async with serving(HeavyApiserver(60, 1360 * 1024, "Runbook")) as heavy:
        async with watching(heavy.access(), discovery.runbooks("prod"), selector="") as told:
            assert len(told.names()) == 60
        assert max(heavy.taken) < FEW_BYTES, "all of them in one answer would have 80 MB"


async def test_a_get_by_labels_reads_no_more_than_goes_into_its_result() -> None:
    async with serving(HeavyApiserver(120, 1100 * 1024)) as heavy, Cluster(heavy.access()) as cluster:
        player = calls.Player(ACTION, calls.clients(cluster, heavy.access()))
        spec = Get(api_version="v1", kind="ConfigMap", selector={"app": "web"})
        outcome = await player.run(calls.call(spec))
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {"items": [], "truncated": True}
    assert sum(heavy.taken) < 4 * FEW_BYTES, "all of them would have 132 MB"


async def test_a_get_by_name_of_an_object_without_end_fails_and_says_so() -> None:
    async with serving(HeavyApiserver(1, 40 * MEBIBYTE)) as heavy, Cluster(heavy.access()) as cluster:
        player = calls.Player(ACTION, calls.clients(cluster, heavy.access()))
        outcome = await player.run(calls.call(Get(api_version="v1", kind="ConfigMap", name="web")))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (reasons.RESPONSE_TOO_LARGE, False)
    assert "has more than 8388608 bytes, which is not read" in outcome.message
    assert max(heavy.taken) < OBJECT_BYTES + IN_SOCKETS


async def test_an_answer_to_a_write_that_is_longer_than_is_read_may_have_been_applied() -> None:
    async with serving(HeavyApiserver(1, 40 * MEBIBYTE)) as heavy, Kube(heavy.access()) as client:
        with pytest.raises(TooLarge, match="has more than 8388608 bytes"):
            await client.get(discovery.connections("prod", "web"))
        to = transport.Transport(transport.Server(heavy.url), 1)
        with pytest.raises(transport.TooLongError):
            await to.request("GET", discovery.connections("prod", "web"), "", b"", 10.0, 1000)
        with pytest.raises(transport.TooLongError):
            await to.request("GET", discovery.connections("prod", "web"), "", b"", 10.0, 1000)
        to.close()
    assert Unavailable.passes


async def got(url: str, **query: str) -> Any:
    """What kopf reads of an answer."""
    async with (
        aiohttp.ClientSession(middlewares=(partial_objects.only,)) as session,
        session.get(url, params=query) as answer,
    ):
        return await answer.json()


async def test_kopf_gets_of_an_object_only_who_it_is() -> None:
    async with serving(HeavyApiserver(3, 1300 * 1024, "Connection", type="http")) as heavy:
        found = await got(heavy.url + discovery.connections("prod"), limit="3")
        discovered = await got(heavy.url + "/api/v1")
    meta = {"namespace": "prod", "name": "heavy-0000", "uid": "0", "resourceVersion": "1", "generation": 1}
    assert found["items"][0] == {"metadata": meta, "apiVersion": "v1", "kind": "Connection"}
    assert found["metadata"]["resourceVersion"] == "1000"
    assert [each["name"] for each in discovered["resources"]] == ["configmaps"]


async def test_kopf_gets_of_an_event_only_whose_it_is() -> None:
    meta = {"name": "a", "resourceVersion": "7", "annotations": {"weight": "x" * MEBIBYTE}}
    deep = b'{"type":"MODIFIED","object":{"metadata":{"name":"b","x":%s}}}' % (b"[" * 3000 + b"]" * 3000)
    broken = {"type": "ERROR", "object": {"kind": "Status", "code": 410}}
    events = [json.dumps({"type": "ADDED", "object": {"metadata": meta}}).encode(), deep, json.dumps(broken).encode()]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"\n".join(events) + b"\n")

    app = web.Application()
    app.router.add_get("/watch", answer)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(middlewares=(partial_objects.only,)) as session,
        session.get(server.make_url("/watch")) as response,
    ):
        told = [json.loads(line) async for line in response.content.iter_chunked(1024)]
    assert told[0] == {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "7"}}}
    assert told[1] == {"type": "MODIFIED", "object": {"metadata": {"name": "b"}}}
    assert told[2] == broken
