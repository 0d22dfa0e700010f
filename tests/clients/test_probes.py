"""A probe says nothing where an endpoint answers, and one plain line where it does not."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.clients.connections import ProbeError, Probes
from incident_operator.clients.prometheus import Prometheus
from incident_operator.clients.sql import Sessions
from incident_operator.connections import Endpoint
from tests.actions.sql.endpoints import PASSWORD, Database, Here


@pytest.fixture
def probes():
    client = Prometheus()
    yield Probes(Here(Sessions()), client)
    client.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/api/v1/query":
            result = [{"metric": {}, "value": [1, "1"]}]
            return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})
        return web.Response(status=500)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def at(kind: str, url: str) -> Endpoint:
    spec = ConnectionSpec.model_validate({"type": kind, kind: {"url": url}})
    return Endpoint(Connection(spec=spec), {"token": PASSWORD}, "1/1")


async def test_endpoints_that_answer_are_fine(probes, url, database: Database):
    assert await probes.probe(database.endpoint("app_read")) is None
    assert await probes.probe(at("http", url)) is None
    assert await probes.probe(at("prometheus", url)) is None


@pytest.mark.parametrize("kind", ["http", "prometheus"])
async def test_nobody_there_is_told(probes, kind):
    assert await probes.probe(at(kind, "http://127.0.0.1:1")) == ProbeError("http://127.0.0.1:1: Connection refused")


async def test_a_prometheus_that_is_none_is_told(probes, url):
    found = await probes.probe(at("prometheus", f"{url}/elsewhere"))
    assert found == ProbeError("Prometheus answered 500: no reason given")


async def test_a_database_that_is_not_there_is_told(probes, database: Database):
    found = await probes.probe(database.endpoint(database="nowhere"))
    assert found is not None
    assert 'database "nowhere" does not exist' in found.message
    assert PASSWORD not in found.message


@pytest.mark.parametrize("kind", ["postgres", "http", "prometheus"])
async def test_a_connection_that_lacks_its_part_is_told(probes, kind):
    found = await probes.probe(Endpoint(Connection(spec=ConnectionSpec.model_validate({"type": kind})), {}, "1/1"))
    assert found is not None
    assert kind in found.message
