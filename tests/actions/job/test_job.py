"""`job`: one Job per step key, followed to its end, whatever breaks on the way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job import template as job_template
from incident_operator.actions.job.job import ACTION, Job
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded
from tests.actions.calls import ACCOUNT, NOW, Player, call
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment, pod

USER = f"system:serviceaccount:prod:{ACCOUNT}"
JOBS = "/apis/batch/v1/namespaces/prod/jobs"
SPEC = Job(**{"from": "deployment/web"}, command=["python3", "-m", "jobs.build_pack"])
CALL = call(SPEC, step="rebuild")
MANIFEST = job_template.manifest(CALL, job_template.from_workload(deployment(), SPEC))
NAME = MANIFEST["metadata"]["name"]
POD = f"{NAME}-x7k2p"
MAIN_ENDED = {"name": "main", "state": {"terminated": {"exitCode": 3}}}


@pytest.fixture
def job(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api: FakeApiserver) -> FakeApiserver:
    api.put(deployment())
    return api


def has_pod(api, name=POD, **status):
    """A Pod that the Job controller made for it."""
    made = pod(name, labels={"batch.kubernetes.io/job-name": NAME}, **status)
    made["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": api.object(f"{JOBS}/{NAME}")["metadata"]["uid"]}]
    return api.put(made)


def ends(api, kind="Complete", exit_code=0, log="", **condition):
    """What the Job controller and the kubelet do."""
    has_pod(api, containerStatuses=[{"name": "main", "state": {"terminated": {"exitCode": exit_code}}}])
    api.logs["prod", POD, "main"] = log
    conditions = [{"type": kind, "status": "True", **condition}]
    api.put({**api.object(f"{JOBS}/{NAME}"), "status": {"conditions": conditions}})


async def test_it_creates_the_job_as_the_runbooks_account_and_waits(web, job):
    outcome = await job.run(CALL)
    assert isinstance(outcome, Pending)
    assert outcome.summary == f"Job {NAME}: no Pod yet, after 60s"
    assert [made["metadata"]["name"] for made in web.objects(JOBS)] == [NAME]
    assert [(request.method, request.user) for request in web.writes] == [("POST", USER), ("PATCH", USER)]


async def test_looking_again_writes_nothing(web, job):
    await job.run(CALL)
    await job.run(CALL)
    assert len(web.writes) == 2


async def test_a_job_that_ended_well_tells_its_log(web, job):
    await job.run(CALL)
    ends(web, log="fetching\nstored PP-2025-10-21\n")
    outcome = await job.run(CALL)
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {
        "succeeded": True,
        "exitCode": 0,
        "log": ["fetching", "stored PP-2025-10-21"],
        "pod": POD,
        "container": "main",
        "reason": "",
    }
    assert outcome.summary == f"Job {NAME} succeeded"


async def test_a_job_that_failed_had_an_effect_and_is_not_tried_again_by_itself(web, job):
    await job.run(CALL)
    ends(web, "Failed", exit_code=3, log="Traceback\nValueError: no prices\n\n", reason="BackoffLimitExceeded")
    outcome = await job.run(CALL)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.JOB_FAILED, False, True)
    assert outcome.message == f"Job {NAME} failed: container main: exit code 3; last line: ValueError: no prices"
    assert outcome.result["exitCode"] == 3


async def test_a_job_that_took_too_long_says_so(web, job):
    await job.run(CALL)
    made = web.object(f"{JOBS}/{NAME}")
    conditions = [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]
    web.put({**made, "status": {"conditions": conditions}})
    outcome = await job.run(CALL)
    assert outcome.message.startswith(f"Job {NAME} failed: DeadlineExceeded")
    assert outcome.result["exitCode"] is None


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "Suspended", "status": "True"},
        {"type": "SuccessCriteriaMet", "status": "True"},
        {"type": "FailureTarget", "status": "True"},
        {"type": "Complete", "status": "False"},
        {"type": "Failed", "status": "False"},
    ],
)
async def test_a_job_has_ended_only_where_its_controller_says_so(web, job, condition):
    await job.run(CALL)
    web.put({**web.object(f"{JOBS}/{NAME}"), "status": {"conditions": [condition]}})
    assert isinstance(await job.run(CALL), Pending)


async def test_a_job_that_failed_tells_why_it_failed_and_nothing_else_it_said(web, job):
    await job.run(CALL)
    conditions = [
        {"type": "Suspended", "status": "False", "reason": "JobResumed"},
        {"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached"},
        {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"},
    ]
    web.put({**web.object(f"{JOBS}/{NAME}"), "status": {"conditions": conditions}})
    assert (await job.run(CALL)).message.startswith(f"Job {NAME} failed: DeadlineExceeded")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([{"name": "shipper", "state": {"terminated": {"exitCode": 0}}}, MAIN_ENDED], 3),
        ([{"name": "shipper", "state": {"terminated": {"exitCode": 0}}}], None),
        ([{"name": "main", "state": {"running": {}}}], None),
    ],
)
async def test_the_exit_code_is_that_of_the_container_that_was_asked_for(web, job, statuses, code):
    await job.run(CALL)
    ends(web, "Failed", reason="DeadlineExceeded")
    has_pod(web, containerStatuses=statuses)
    assert (await job.run(CALL)).result["exitCode"] == code


async def test_an_apiserver_that_does_not_answer_the_look_is_no_proof_that_nothing_happened(web, job):
    await job.run(CALL)
    for path in (f"/jobs/{NAME}", "/pods"):
        web.inject(Fault.SERVICE_UNAVAILABLE, method="GET", path=path)
        assert isinstance(await job.run(CALL), Pending)
    assert len(web.writes) == 2


async def test_a_job_of_that_name_that_is_not_ours_is_left_alone(web, job):
    web.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": NAME, "namespace": "prod"}, "spec": {}})
    outcome = await job.run(CALL)
    assert (outcome.reason, outcome.retryable) == (reasons.CONFLICT, False)
    assert "was not made by this step" in outcome.message
    assert [request.method for request in web.writes] == ["POST"]
    assert web.object(f"{JOBS}/{NAME}")["spec"] == {}


async def test_a_passing_conflict_is_no_failure_and_there_is_one_job_in_the_end(web, job):
    web.inject(Fault.CONFLICT, method="POST", times=2)
    for _ in range(2):
        assert isinstance(await job.run(CALL), NotDone)
    assert isinstance(await job.run(CALL), Pending)
    assert len(web.objects(JOBS)) == 1


async def test_each_attempt_has_a_job_of_its_own(web, job):
    await job.run(CALL)
    await job.run(call(SPEC, step="rebuild", attempt=2))
    assert len(web.objects(JOBS)) == 2


WAITING = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found: x:9"}}}
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available",
}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"phase": "Pending", "containerStatuses": [WAITING]}, "cannot start: ImagePullBackOff (not found: x:9)"),
        ({"phase": "Pending", "initContainerStatuses": [WAITING]}, "cannot start: ImagePullBackOff"),
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, "cannot start: Unschedulable (0/3 nodes are available)"),
        ({"phase": "Pending"}, "starting for 60s"),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}, "starting for 60s"),
        ({"phase": "Running"}, "running for 60s"),
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}, "running for 60s"),
    ],
)
async def test_what_a_job_is_doing_is_told(web, job, status, told):
    await job.run(CALL)
    has_pod(web, **status)
    assert told in (await job.run(CALL)).summary


async def test_a_job_runs_although_its_account_may_not_see_the_pod(web, job):
    await job.run(CALL)
    web.put({**web.object(f"{JOBS}/{NAME}"), "status": {"active": 1}})
    web.forbid(USER, "list", "pods")
    assert (await job.run(CALL)).summary == f"Job {NAME}: running for 60s; its account may not list pods"


async def test_a_suspended_job_says_what_it_waits_for(web, job):
    await job.run(CALL)
    made = web.object(f"{JOBS}/{NAME}")
    made["spec"]["suspend"] = True
    web.put(made)
    assert "suspended" in (await job.run(CALL)).summary
    assert [request.method for request in web.writes] == ["POST", "PATCH"]


@pytest.mark.parametrize(("age", "pause"), [(0, 1.0), (15, 2.0), (60, 5.0), (3600, 5.0)])
async def test_a_long_job_is_looked_at_less_often(web, clients, age, pause):
    job = Player(ACTION, replace(clients, now=lambda: NOW - timedelta(seconds=60) + timedelta(seconds=age)))
    assert (await job.run(CALL)).after == pause


@pytest.mark.parametrize(("verb", "resource"), [("list", "pods"), ("get", "pods/log")])
async def test_a_jobs_end_stands_even_where_its_log_cannot_be_read(web, job, verb, resource):
    await job.run(CALL)
    ends(web, log="x\n")
    web.forbid(USER, verb, resource)
    outcome = await job.run(CALL)
    assert isinstance(outcome, Succeeded)
    assert outcome.result["log"][0].startswith("(")


async def test_only_the_end_of_a_long_log_is_kept(web, job):
    await job.run(CALL)
    ends(web, log="".join(f"{number} {'x' * 400}\n" for number in range(500)))
    log = (await job.run(CALL)).result["log"]
    assert log[-1].startswith("499 ")
    assert sum(len(line) + 1 for line in log) <= 32 * 1024


async def test_a_job_that_may_not_be_created_has_no_effect(web, job):
    web.forbid(USER, "create", "jobs.batch")
    outcome = await job.run(CALL)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.FORBIDDEN, False, False)
    assert f'User "{USER}" cannot create resource "jobs"' in outcome.message


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        (Job(**{"from": "deployment/nobody"}), reasons.NOT_FOUND, 'deployments.apps "nobody" not found'),
        (SPEC.model_copy(update={"container": "cron"}), reasons.BAD_REQUEST, "there is no container cron"),
        (SPEC.model_copy(update={"source": None}), reasons.BAD_REQUEST, "either `from` or `template`"),
        (SPEC.model_copy(update={"template": {"spec": {}}}), reasons.BAD_REQUEST, "either `from` or `template`"),
        (Job(template={"spec": {}}), reasons.BAD_REQUEST, "template needs spec.containers"),
    ],
)
async def test_what_cannot_be_run_is_refused_before_anything_is_created(web, job, spec, reason, told):
    outcome = await job.run(call(spec))
    assert isinstance(outcome, Failed)
    assert outcome.reason == reason
    assert told in outcome.message
    assert web.writes == []
