"""A look that fails proves nothing: what it was to find may have happened, or not."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from incident_operator.actions import scale
from incident_operator.actions.job import job
from incident_operator.core.outcomes import Pending
from incident_operator.kubernetes.access import Access
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import Player
from tests.actions.job.test_job import CALL as OF_JOB
from tests.actions.job.test_job import JOBS
from tests.actions.test_scale import USER, to
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.fake_store import RefusedError
from tests.kubernetes.manifests import deployment

OF_SCALE = calls.call(to(5))
LOOKS = pytest.mark.parametrize(
    ("action", "call", "path"), [(scale.ACTION, OF_SCALE, "/deployments/web"), (job.ACTION, OF_JOB, "/jobs/")]
)
DONE = pytest.mark.parametrize("done", [True, False, None], ids=["done", "not done", "of an older version"])


async def begun(api: FakeApiserver, player: Player, call, done):
    """The call of an act that was begun, and done or not."""
    api.put(deployment())
    preview = await player.show(call)
    seen = dict(preview.seen)
    if player.action.reserve is not None:
        seen |= await player.action.reserve(call, preview, player.clients)
    if done is None:
        return call
    ready = replace(call, seen=seen)
    if done:
        await player.sent(ready, preview)
    return ready


def not_served() -> None:
    raise RefusedError(404, "NotFound", "the server could not find the requested resource")


def not_an_apiservers() -> None:
    raise RefusedError(404, "", "404 page not found")


@LOOKS
@DONE
@pytest.mark.parametrize(
    "trouble",
    [Fault.INTERNAL_ERROR, Fault.SERVICE_UNAVAILABLE, Fault.TOO_MANY_REQUESTS, Fault.UNAUTHORIZED, Fault.CONFLICT,
     Fault.GONE, Fault.DROPPED, Fault.SILENT, not_served, not_an_apiservers],
)  # fmt: skip
async def test_an_apiserver_that_does_not_tell_proves_nothing(api, clients, action, call, path, done, trouble):
    player = Player(action, clients)
    looked = await begun(api, player, call, done)
    if isinstance(trouble, Fault):
        api.inject(trouble, method="GET", path=path, times=9)
    else:
        api.interleave(trouble, method="GET", path=path)
    before = len(api.writes)
    assert isinstance(await player.look(replace(looked, timeout=0.5)), Pending)
    assert len(api.writes) == before


@LOOKS
@DONE
async def test_who_may_not_look_knows_nothing(api, clients, action, call, path, done):
    player = Player(action, clients)
    looked = await begun(api, player, call, done)
    for resource in ("deployments.apps", "jobs.batch"):
        api.forbid(USER, "get", resource)
    outcome = await player.look(looked)
    assert isinstance(outcome, Pending)
    assert "cannot get resource" in outcome.summary


@LOOKS
async def test_who_may_not_seal_a_proof_has_none(api, clients, action, call, path):
    player = Player(action, clients)
    looked = await begun(api, player, call, done=False)
    for resource in ("deployments.apps", "jobs.batch"):
        api.forbid(USER, "patch", resource)
    assert isinstance(await player.look(looked), Pending)


@LOOKS
@DONE
async def test_an_apiserver_that_is_not_there_proves_nothing(api, clients, action, call, path, done):
    looked = await begun(api, Player(action, clients), call, done)
    nowhere = Access(server="http://127.0.0.1:1")
    async with Cluster(nowhere) as cluster:
        assert isinstance(await Player(action, calls.clients(cluster, nowhere)).look(looked), Pending)


@pytest.fixture
async def answering(request: pytest.FixtureRequest) -> AsyncIterator[Access]:
    """A server that answers 200 with the same text whatever it is asked."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=request.param, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Access(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@LOOKS
@DONE
@pytest.mark.parametrize(
    "answering", [b"<html>busy</html>", b"", b"null", b"[]", b"{}", b'{"metadata": {}}'], indirect=True
)
async def test_garbage_proves_nothing(api, clients, action, call, path, done, answering):
    looked = await begun(api, Player(action, clients), call, done)
    async with Cluster(answering) as cluster:
        assert isinstance(await Player(action, calls.clients(cluster, answering)).look(looked), Pending)


async def test_a_list_of_pods_that_fails_does_not_end_a_job(api, clients):
    player = Player(job.ACTION, clients)
    looked = await begun(api, player, OF_JOB, done=True)
    api.inject(Fault.INTERNAL_ERROR, path="/pods")
    assert isinstance(await player.look(looked), Pending)
    assert len(api.objects(JOBS)) == 1
