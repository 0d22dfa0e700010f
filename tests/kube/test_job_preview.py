"""What `job` says it would run, before a person approves it."""

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job import ACTION
from incident_operator.core.errors import Failure
from kube.calls import Player, call
from kube.fake_apiserver import FakeApiserver
from kube.manifests import deployment
from kube.test_job import CALL, JOBS, SPEC, USER


@pytest.fixture
def job(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api: FakeApiserver) -> FakeApiserver:
    api.put(deployment())
    return api


async def test_a_preview_says_what_would_run_and_does_nothing(web, job):
    preview = await job.show(CALL)
    assert preview.do == "create a Job in prod from deployment/web"
    assert preview.details["command"] == ["python3", "-m", "jobs.build_pack"]
    assert preview.details["image"] == "incident-operator.dev/pause:1"
    assert preview.whole == {"template": preview.thing["spec"]["template"]}
    assert preview.in_trial == "accepted"
    assert web.objects(JOBS) == []


async def test_a_preview_is_the_same_for_another_attempt_and_after_a_restart(web, job):
    before = await job.show(CALL)
    restarted = deployment()
    restarted["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    web.put(restarted)
    other = await job.show(call(SPEC, step="rebuild", attempt=2))
    assert (other.do, other.details, other.digest) == (before.do, before.details, before.digest)
    await job.run(CALL)
    assert await job.show(CALL) == before


async def test_a_preview_differs_once_the_workload_does(web, job):
    before = await job.show(CALL)
    web.put(deployment(priorityClassName="other"))
    assert (await job.show(CALL)).digest != before.digest


async def test_what_may_not_run_cannot_be_previewed(web, job):
    web.forbid(USER, "create", "jobs.batch")
    with pytest.raises(Failure, match="cannot create resource"):
        await job.show(CALL)
