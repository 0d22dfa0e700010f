"""What `job` says it would run, before a person approves it."""

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job.job import ACTION, Job
from incident_operator.actions.job.template import Keep
from incident_operator.actions.pods import DEFAULT_CONTAINER
from incident_operator.core.expressions.templates import Take, take_of
from incident_operator.core.outcomes import Failure
from tests.actions.calls import Player, call
from tests.actions.job.test_job import CALL, JOBS, SPEC, USER
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.manifests import deployment


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


async def test_what_a_job_from_a_workload_leaves_behind_is_told_in_the_plan(web, job):
    assert "leftBehind" not in (await job.show(CALL)).details
    made = web.object("/apis/apps/v1/namespaces/prod/deployments/web")
    made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    web.put({**made, "kind": "StatefulSet"})
    preview = await job.show(call(Job(**{"from": "statefulset/web"})))
    assert preview.details["leftBehind"] == ["/data of container main: volume data is a claim of each Pod"]


async def test_labels_that_are_kept_are_part_of_what_is_approved(web, job):
    made = web.object("/apis/apps/v1/namespaces/prod/deployments/web")
    made["spec"]["template"]["metadata"]["labels"]["team"] = "data"
    web.put(made)
    kept = await job.show(call(Job(**{"from": "deployment/web"}, keep=Keep(labels=["team"]))))
    assert kept.whole["template"]["metadata"]["labels"]["team"] == "data"
    assert kept.digest != (await job.show(call(Job(**{"from": "deployment/web"})))).digest


async def test_a_cronjobs_template_runs_now(web, job):
    template = web.object("/apis/apps/v1/namespaces/prod/deployments/web")["spec"]["template"]
    meta = {"name": "pack", "namespace": "prod"}
    spec = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}
    web.put({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": spec})
    assert (await job.show(call(Job(**{"from": "cronjob/pack"})))).do == "create a Job in prod from cronjob/pack"


def test_a_template_has_its_own_metadata_and_keeps_none():
    spec = Job(template={"spec": {"containers": [{"name": "main", "image": "x"}]}}, keep=Keep(labels=["team"]))
    told = [str(problem) for check in ACTION.checks for problem in check(spec, "job")]
    assert told == ["job.keep: is for a Job from a workload; a template has its own metadata"]


def test_data_never_chooses_the_container_that_runs_the_command():
    annotations = ("template", "metadata", "annotations")
    assert take_of(ACTION.takes, (*annotations, DEFAULT_CONTAINER)) is Take.LITERAL
    assert take_of(ACTION.takes, (*annotations, "other")) is Take.TEXT
