"""Why a Job does not run, or failed: told by its Pod, its containers and Events, with few reads, and decided by the container that is meant."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job.following import ENDED
from incident_operator.actions.job.job import ACTION
from incident_operator.core.outcomes import Failed, Pending, Succeeded
from tests.actions.calls import NOW, Player
from tests.actions.job.test_job import CALL, JOBS, NAME, POD, USER, ends, has_pod
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment, pod

JOB = f"{JOBS}/{NAME}"
EVENTS = "/api/v1/namespaces/prod/events"
RUNS: dict[str, Any] = {"name": "side", "state": {"running": {}}}
BEGUN = "2025-10-21T00:00:00Z"
LATER = "2025-10-21T00:00:30Z"


@pytest.fixture
def job(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api: FakeApiserver) -> FakeApiserver:
    api.put(deployment())
    return api


def event(api, reason, message, *, about="Job", name=NAME, kind="Warning", at=BEGUN):
    """What a controller, the scheduler or the kubelet tells of an object that is or was there."""
    there = {"Job": f"{JOBS}/{NAME}", "Pod": f"/api/v1/namespaces/prod/pods/{name}"}[about]
    try:
        uid = api.object(there)["metadata"]["uid"]
    except Exception:  # noqa: BLE001 # it is gone
        uid = "gone"
    api.put({
        "apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": message, "lastTimestamp": at,
        "metadata": {"name": f"{name}.{len(api.objects(EVENTS))}", "namespace": "prod"},
        "involvedObject": {"kind": about, "name": name, "uid": uid},
    })  # fmt: skip


def fails(api, reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"):
    conditions = [{"type": "Failed", "status": "True", "reason": reason, "message": message}]
    api.put({**api.object(JOB), "status": {"conditions": conditions}})


def late(api):
    fails(api, "DeadlineExceeded", "Job was active longer than specified deadline")


def terminated(code, name="main", **more):
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": "Error", **more}}}


def reads_of_events(api):
    return [request for request in api.requests if request.path == EVENTS]


REFUSALS = [
    'Error creating: pods "{name}-x7k2p" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0',
    'Error creating: pods "{name}-x7k2p" is forbidden: maximum memory usage per Container is 32Mi, but limit is 64Mi',
    'Error creating: pods "{name}-x7k2p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
    'Error creating: Internal error occurred: failed calling webhook "pods.nobody.example": connection refused',
    'Error creating: pods "{name}-x7k2p" is forbidden: error looking up service account prod/nobody: not found',
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_pod_that_may_not_be_made_is_told_while_the_job_waits_and_in_the_end(web, job, refusal):
    await job.run(CALL)
    event(web, "FailedCreate", refusal.format(name=NAME))
    told = f"FailedCreate ({refusal.format(name=NAME).replace('x7k2p', '…')})"
    assert (await job.run(CALL)).summary == f"Job {NAME}: no Pod yet, after 60s: {told}"
    late(web)
    outcome = await job.run(CALL)
    assert told in outcome.message
    assert "DeadlineExceeded" in outcome.message
    assert outcome.result["exitCode"] is None


async def test_the_same_obstacle_is_told_in_the_same_words_each_time(web, job):
    """Each change of the words is a write of the Incident."""
    await job.run(CALL)
    told = set()
    for suffix in ("x7k2p", "9q8zz"):
        event(
            web,
            "FailedCreate",
            REFUSALS[0].format(name=NAME).replace("x7k2p", suffix),
            at=f"2025-10-21T00:00:0{len(told)}Z",
        )
        told.add((await job.run(CALL)).summary)
    has_pod(web, phase="Pending", containerStatuses=[waiting("ErrImagePull", "rpc error: not found: x:9")])
    pulling = {(await job.run(CALL)).summary}
    again = 'Back-off pulling image "x:9": ErrImagePull: rpc error: not found: x:9'
    has_pod(web, phase="Pending", containerStatuses=[waiting("ImagePullBackOff", again)])
    pulling.add((await job.run(CALL)).summary)
    assert (len(told), len(pulling)) == (1, 1)


def waiting(reason, message="", name="main"):
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}}


async def test_the_newest_obstacle_is_the_one_that_is_told(web, job):
    await job.run(CALL)
    event(web, "FailedCreate", "second", at=LATER)
    event(web, "FailedCreate", "first", at=BEGUN)
    assert "(second)" in (await job.run(CALL)).summary


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"containerStatuses": [waiting("CreateContainerConfigError", 'secret "x" not found')]}, 'CreateContainerConfigError (secret "x" not found), container main'),
        ({"containerStatuses": [waiting("SignatureValidationFailed", "no signature")]}, "SignatureValidationFailed (no signature), container main"),
        ({"initContainerStatuses": [waiting("ErrImageNeverPull", "x is not present", "migrate")]}, "ErrImageNeverPull (x is not present), init container migrate"),
        ({"reason": "UnexpectedAdmissionError", "message": "no device"}, "UnexpectedAdmissionError (no device)"),
    ],
)  # fmt: skip
async def test_a_pod_that_says_why_it_does_not_start_needs_no_events(web, job, status, told):
    await job.run(CALL)
    has_pod(web, phase="Pending", **status)
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod cannot start: {told}"
    assert reads_of_events(web) == []


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "s": configmap "nobody" not found'),
        ("FailedAttachVolume", "Multi-Attach error for volume"),
        ("FailedCreatePodSandBox", "no IP addresses left"),
    ],
)
async def test_a_pod_that_hangs_while_it_is_set_up_is_told_by_its_events(web, job, reason, message):
    await job.run(CALL)
    has_pod(web, phase="Pending", containerStatuses=[waiting("ContainerCreating")])
    event(web, reason, message, about="Pod", name=POD)
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod cannot start: {reason} ({message})"


async def test_a_pull_secret_that_is_missing_is_told_beside_the_image(web, job):
    await job.run(CALL)
    has_pod(web, phase="Pending", containerStatuses=[waiting("ImagePullBackOff", "unauthorized")])
    event(
        web,
        "FailedToRetrieveImagePullSecret",
        "Unable to retrieve some image pull secrets (nobody)",
        about="Pod",
        name=POD,
    )
    event(web, "Failed", "Error: ImagePullBackOff", about="Pod", name=POD, at=LATER)
    told = (await job.run(CALL)).summary
    assert "ImagePullBackOff (unauthorized), container main; FailedToRetrieveImagePullSecret (Unable" in told


async def test_an_init_container_that_is_at_work_is_told_and_no_events_are_read(web, job):
    await job.run(CALL)
    has_pod(
        web,
        phase="Pending",
        initContainerStatuses=[{**RUNS, "name": "migrate"}],
        containerStatuses=[waiting("PodInitializing")],
    )
    assert (await job.run(CALL)).summary == f"Job {NAME}: starting for 60s, init container migrate runs"
    assert reads_of_events(web) == []


@pytest.mark.parametrize(("seconds", "reads"), [(1, 0), (60, 1)])
async def test_a_job_that_has_just_begun_is_given_a_moment_before_events_are_read(web, clients, seconds, reads):
    job = Player(ACTION, replace(clients, now=lambda: NOW - timedelta(seconds=60) + timedelta(seconds=seconds)))
    await job.run(CALL)
    await job.run(CALL)
    assert len(reads_of_events(web)) == reads


async def test_a_job_that_runs_and_ends_well_costs_no_read_of_events(web, job):
    await job.run(CALL)
    has_pod(web, phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}])
    await job.run(CALL)
    ends(web)
    assert isinstance(await job.run(CALL), Succeeded)
    assert reads_of_events(web) == []


async def test_rights_that_are_missing_are_told_and_hide_nothing(web, job):
    web.forbid(USER, "list", "events")
    await job.run(CALL)
    assert (await job.run(CALL)).summary == f"Job {NAME}: no Pod yet, after 60s; its account may not list events"
    web.forbid(USER, "list", "pods")
    blind = "its account may not list pods; its account may not list events"
    assert (await job.run(CALL)).summary == f"Job {NAME}: no Pod yet, after 60s; {blind}"
    late(web)
    outcome = await job.run(CALL)
    assert outcome.message == f"Job {NAME} failed: DeadlineExceeded; {blind}"
    assert outcome.result["log"] == ["(no log: its account may not list pods)"]


@pytest.mark.parametrize("fault", [Fault.SERVICE_UNAVAILABLE, Fault.INTERNAL_ERROR])
async def test_events_that_cannot_be_read_just_now_hide_nothing(web, job, fault):
    await job.run(CALL)
    web.inject(fault, path=EVENTS)
    assert (await job.run(CALL)).summary == f"Job {NAME}: no Pod yet, after 60s"


async def test_what_an_event_says_is_one_line_and_bounded(web, job):
    await job.run(CALL)
    event(web, "FailedCreate", "a\nb\u202ec\x1b[31m" + "x" * 5000)
    told = (await job.run(CALL)).summary
    assert told.isprintable()
    assert len(told) < 400


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        ([terminated(137, reason="OOMKilled")], "container main: OOMKilled, exit code 137 (SIGKILL)", 137),
        ([terminated(139)], "container main: exit code 139 (SIGSEGV)", 139),
        ([terminated(128, reason="StartError", message='exec: "nobody": not found')], 'container main: StartError, exit code 128 (exec: "nobody": not found)', 128),
        ([terminated(3, message="no prices")], "container main: exit code 3 (no prices)", 3),
    ],
)  # fmt: skip
async def test_how_a_container_ended_is_told_with_reason_exit_code_and_signal(web, job, status, told, code):
    await job.run(CALL)
    has_pod(web, phase="Failed", containerStatuses=status)
    fails(web)
    outcome = await job.run(CALL)
    assert outcome.message == f"Job {NAME} failed: {told}"
    assert outcome.result["exitCode"] == code


@pytest.mark.parametrize(
    ("side", "told"),
    [
        (terminated(137, "side", reason="OOMKilled"), "; container side: OOMKilled, exit code 137 (SIGKILL)"),
        (terminated(5, "side", finishedAt=BEGUN), "; container side: exit code 5"),
        (terminated(5, "side", finishedAt="2025-10-21T00:00:31Z"), ""),
        (terminated(5, "side"), ""),
        (terminated(0, "side", finishedAt=BEGUN), ""),
    ],
)
async def test_another_container_that_failed_before_may_be_the_cause_and_is_told(web, job, side, told):
    await job.run(CALL)
    has_pod(web, phase="Failed", containerStatuses=[terminated(1, finishedAt=LATER), side])
    fails(web)
    outcome = await job.run(CALL)
    assert outcome.message == f"Job {NAME} failed: container main: exit code 1{told}"
    assert (outcome.result["container"], outcome.result["exitCode"]) == ("main", 1)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_of_two_pods_that_were_made_in_one_second_the_one_that_has_not_ended_counts(web, job, names):
    await job.run(CALL)
    has_pod(web, names[0], phase="Failed", containerStatuses=[terminated(9)])
    has_pod(web, names[1], phase="Pending", containerStatuses=[waiting("ImagePullBackOff", "not found")])
    told = "ImagePullBackOff (not found), container main"
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod cannot start: {told}"


async def test_a_sidecar_that_fails_again_and_again_is_told_with_its_exit_code(web, job):
    await job.run(CALL)
    before = {"lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}, "restartCount": 3}
    proxy = {**waiting("CrashLoopBackOff", "back-off 40s", "proxy"), **before}
    made = has_pod(web, phase="Pending", initContainerStatuses=[proxy], containerStatuses=[waiting("PodInitializing")])
    made["spec"]["initContainers"] = [{"name": "proxy", "restartPolicy": "Always"}]
    web.put(made)
    told = "CrashLoopBackOff (back-off 40s), init container proxy: exit code 2"
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod cannot start: {told}"


async def test_the_log_of_an_init_container_that_failed_is_kept(web, job):
    await job.run(CALL)
    has_pod(
        web,
        phase="Failed",
        initContainerStatuses=[terminated(7, "migrate")],
        containerStatuses=[waiting("PodInitializing")],
    )
    web.logs["prod", POD, "migrate"] = "no schema\n"
    fails(web)
    outcome = await job.run(CALL)
    assert outcome.message == f"Job {NAME} failed: init container migrate: exit code 7; last line: no schema"
    assert (outcome.result["container"], outcome.result["exitCode"], outcome.result["log"]) == (
        "migrate",
        7,
        ["no schema"],
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "Evicted (The node was low on resource: memory.)"),
        ({"reason": "DeadlineExceeded", "message": "Pod was active on the node longer"}, "DeadlineExceeded"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempting"}]}, "PreemptionByScheduler (preempting)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("main", [terminated(137), terminated(137, reason="ContainerStatusUnknown")])
async def test_what_befell_the_pod_comes_before_how_its_container_ended(web, job, status, told, main):
    await job.run(CALL)
    has_pod(web, phase="Failed", containerStatuses=[main], **status)
    fails(web)
    outcome = await job.run(CALL)
    assert outcome.message.startswith(f"Job {NAME} failed: {told}")
    nobody_saw = main["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert outcome.result["exitCode"] == (None if nobody_saw else 137)


async def test_a_pod_that_is_gone_with_its_node_is_told_by_its_events(web, job):
    await job.run(CALL)
    event(web, "SuccessfulCreate", f"Created pod: {POD}", kind="Normal")
    event(web, "NodeNotReady", "Node is not ready", about="Pod", name=POD)
    event(
        web,
        "TaintManagerEviction",
        f"Marking for deletion Pod prod/{POD}",
        about="Pod",
        name=POD,
        kind="Normal",
        at=LATER,
    )
    fails(web, "PodFailurePolicy", f"Pod prod/{POD} has condition DisruptionTarget matching FailJob rule at index 0")
    outcome = await job.run(CALL)
    disrupted = f"Disrupted (Pod prod/{POD} was evicted, preempted, or lost with its node)"
    events = f"NodeNotReady (Node is not ready); TaintManagerEviction (Marking for deletion Pod prod/{POD})"
    assert outcome.message == f"Job {NAME} failed: {disrupted}; {events}"


async def test_a_pod_that_is_gone_without_a_trace_is_told_by_the_job(web, job):
    await job.run(CALL)
    event(web, "SuccessfulCreate", f"Created pod: {POD}", kind="Normal")
    fails(web, "PodFailurePolicy", f"Pod prod/{POD} has condition DisruptionTarget matching FailJob rule at index 0")
    message = (await job.run(CALL)).message
    assert message.endswith(f"failed: Disrupted (Pod prod/{POD} was evicted, preempted, or lost with its node)")


async def test_a_pod_that_somebody_deleted_is_told_as_gone(web, job):
    await job.run(CALL)
    event(web, "SuccessfulCreate", f"Created pod: {POD}", kind="Normal")
    fails(web)
    told = f"BackoffLimitExceeded (Job has reached the specified backoff limit); its Pod {POD} is gone"
    assert (await job.run(CALL)).message == f"Job {NAME} failed: {told}"


async def test_a_node_that_does_not_answer_is_told_while_its_pod_seems_to_run(web, job):
    await job.run(CALL)
    conditions = [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}]
    has_pod(web, phase="Running", conditions=conditions, containerStatuses=[{"name": "main", "state": {"running": {}}}])
    event(web, "NodeNotReady", "Node is not ready", about="Pod", name=POD)
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod is in trouble: NodeNotReady (Node is not ready)"


async def test_a_node_that_does_not_begin_with_its_pod_is_named(web, job):
    await job.run(CALL)
    made = has_pod(web, phase="Pending")
    made["spec"]["nodeName"] = "node-7"
    web.put(made)
    assert (await job.run(CALL)).summary == f"Job {NAME}: starting for 60s, node node-7 has not started it"


async def test_a_job_that_is_being_ended_says_so_and_decides_nothing(web, job):
    await job.run(CALL)
    stopping = {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}]}
    web.put({**web.object(JOB), "status": stopping})
    assert (await job.run(CALL)).summary == f"Job {NAME}: is being ended"
    has_pod(web, phase="Running", containerStatuses=[terminated(0), RUNS])
    assert isinstance(await job.run(CALL), Pending)
    assert len(web.writes) == 2
    has_pod(web, phase="Running", containerStatuses=[RUNS])
    assert (await job.run(CALL)).summary == f"Job {NAME}: running for 60s"


async def test_a_job_that_somebody_suspended_has_nothing_in_its_way_that_events_would_tell(web, job):
    await job.run(CALL)
    made = web.object(JOB)
    made["spec"]["suspend"] = True
    web.put(made)
    await job.run(CALL)
    assert reads_of_events(web) == []


async def test_a_pod_that_is_being_deleted_tells_why_by_its_events(web, job):
    await job.run(CALL)
    made = has_pod(web, phase="Running", containerStatuses=[{**RUNS, "name": "main"}])
    made["metadata"] |= {"deletionTimestamp": LATER, "finalizers": ["batch.kubernetes.io/job-tracking"]}
    web.put(made)
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod is being deleted"
    event(web, "Preempted", "Preempted by pod urgent", about="Pod", name=POD, kind="Normal")
    assert (await job.run(CALL)).summary == f"Job {NAME}: its Pod is being deleted: Preempted (Preempted by pod urgent)"


async def test_a_container_that_is_at_work_beside_init_containers_that_are_done_just_starts(web, job):
    """A sidecar runs before the others and goes on; a container of the Pod's own is not one that they wait for."""
    await job.run(CALL)
    done, sidecar = {**terminated(0), "name": "migrate"}, {**RUNS, "name": "proxy"}
    statuses = [{**RUNS, "name": "main"}, waiting("ContainerCreating", name="side")]
    made = has_pod(web, phase="Pending", initContainerStatuses=[done, sidecar], containerStatuses=statuses)
    made["spec"]["initContainers"] = [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}]
    web.put(made)
    assert (await job.run(CALL)).summary == f"Job {NAME}: starting for 60s"


async def test_of_an_image_only_what_was_wrong_with_it_is_told_in_the_end(web, job):
    await job.run(CALL)
    has_pod(web, phase="Failed", reason="DeadlineExceeded", containerStatuses=[waiting("ImagePullBackOff")])
    event(web, "Failed", 'Failed to pull image "x:9": not found', about="Pod", name=POD, at=BEGUN)
    event(web, "Failed", "Error: ImagePullBackOff", about="Pod", name=POD, at=LATER)
    event(web, "BackOff", 'Back-off pulling image "x:9"', about="Pod", name=POD, at=LATER)
    fails(web)
    told = 'DeadlineExceeded; Failed (Failed to pull image "x:9": not found)'
    assert (await job.run(CALL)).message == f"Job {NAME} failed: {told}"


async def test_while_an_image_is_pulled_in_vain_its_event_is_not_told_twice(web, job):
    await job.run(CALL)
    has_pod(web, phase="Pending", containerStatuses=[waiting("ErrImagePull", "not found")])
    event(web, "Failed", 'Failed to pull image "x:9": not found', about="Pod", name=POD)
    assert (
        await job.run(CALL)
    ).summary == f"Job {NAME}: its Pod cannot start: ImagePullBackOff (not found), container main"


async def test_a_refusal_is_told_even_after_a_pod_was_made_once(web, job):
    await job.run(CALL)
    event(web, "SuccessfulCreate", f"Created pod: {POD}", kind="Normal")
    event(web, "FailedCreate", "exceeded quota", at=LATER)
    assert (await job.run(CALL)).summary.endswith("FailedCreate (exceeded quota)")


@pytest.mark.parametrize("message", ["Created pod: other", "says nothing"])
async def test_the_pod_that_a_job_had_is_read_from_the_event_of_its_making_alone(web, job, message):
    await job.run(CALL)
    event(web, "SuccessfulCreate", f"Created pod: {POD}", kind="Normal")
    reason = "SuccessfulDelete" if "pod:" in message else "SuccessfulCreate"
    event(web, reason, message, kind="Normal", at=LATER)
    event(web, "NodeNotReady", "Node is not ready", about="Pod", name=POD)
    fails(web)
    assert (await job.run(CALL)).message.endswith(f"its Pod {POD} is gone; NodeNotReady (Node is not ready)")


async def test_the_memory_that_a_container_might_have_is_told(web, job):
    await job.run(CALL)
    made = has_pod(web, phase="Failed", containerStatuses=[terminated(137, reason="OOMKilled")])
    made["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    web.put(made)
    fails(web)
    told = "container main: OOMKilled, exit code 137 (SIGKILL), memory limit 64Mi"
    assert (await job.run(CALL)).message == f"Job {NAME} failed: {told}"


async def test_an_end_without_an_exit_code_is_none_that_anybody_saw(web, job):
    await job.run(CALL)
    has_pod(web, phase="Failed", containerStatuses=[{"name": "main", "state": {"terminated": {"reason": "Error"}}}])
    fails(web)
    assert (await job.run(CALL)).result["exitCode"] is None


async def test_no_more_events_are_read_than_a_hundred(web, job):
    await job.run(CALL)
    for number in range(101):
        event(web, "FailedCreate", f"number {number}", at=f"2025-10-21T00:00:00.{number:03}Z")
    await job.run(CALL)
    assert len(reads_of_events(web)) == 1


async def test_a_pod_that_another_made_under_the_jobs_label_decides_nothing(web, job):
    await job.run(CALL)
    web.put(pod("forged", labels={"batch.kubernetes.io/job-name": NAME}, containerStatuses=[terminated(0), RUNS]))
    assert isinstance(await job.run(CALL), Pending)
    assert len(web.writes) == 2


@pytest.mark.parametrize(("code", "kind"), [(0, Succeeded), (3, Failed)])
async def test_the_container_that_is_meant_decides_while_another_goes_on(web, job, code, kind):
    await job.run(CALL)
    has_pod(web, phase="Running", containerStatuses=[terminated(code), RUNS])
    web.logs["prod", POD, "main"] = "done\n"
    outcome = await job.run(CALL)
    assert isinstance(outcome, kind)
    assert (outcome.result["exitCode"], outcome.result["log"]) == (code, ["done"])
    made = web.object(JOB)
    assert made["spec"]["activeDeadlineSeconds"] == 1, "it fails for good, and cannot run again"
    assert json.loads(made["metadata"]["annotations"][ENDED])["exit_code"] == code
    web.remove(f"/api/v1/namespaces/prod/pods/{POD}")
    late(web)
    again = await job.run(CALL)
    assert isinstance(again, kind), "an operator that is restarted reads it on the Job"
    assert (again.result["exitCode"], again.result["pod"]) == (code, POD)


@pytest.mark.parametrize(
    ("statuses", "more"),
    [
        ([terminated(0)], {}),
        ([terminated(3, "side"), {**RUNS, "name": "main"}], {}),
        ([terminated(0), RUNS], {"reason": "Evicted"}),
        ([{**RUNS, "name": "main"}], {"conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": BEGUN}]}),
        ([terminated(0, finishedAt=LATER), RUNS], {"conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": BEGUN}]}),
    ],
)  # fmt: skip
async def test_a_job_whose_container_runs_or_was_told_to_end_is_left_to_its_controller(web, job, statuses, more):
    await job.run(CALL)
    has_pod(web, phase="Running", containerStatuses=statuses, **more)
    assert isinstance(await job.run(CALL), Pending)
    assert len(web.writes) == 2


async def test_a_job_that_changes_while_it_is_ended_is_looked_at_again(web, job):
    await job.run(CALL)
    has_pod(web, phase="Running", containerStatuses=[terminated(0), RUNS])
    web.inject(Fault.CONFLICT, method="PATCH")
    assert isinstance(await job.run(CALL), Pending)
    assert isinstance(await job.run(CALL), Succeeded)


async def test_an_account_that_may_not_end_the_job_is_told_and_the_outcome_stands(web, job):
    await job.run(CALL)
    has_pod(web, phase="Running", containerStatuses=[terminated(0), RUNS])
    web.forbid(USER, "patch", "jobs.batch")
    outcome = await job.run(CALL)
    assert isinstance(outcome, Succeeded)
    assert "side runs until the Job's deadline, which its account may not patch" in outcome.summary


@pytest.mark.parametrize(
    ("finished", "kind"), [("2025-10-21T00:00:59Z", Succeeded), ("2025-10-21T00:01:00Z", Failed), (None, Failed)]
)
async def test_a_container_that_ends_with_0_because_its_time_was_over_is_not_done(web, job, finished, kind):
    await job.run(CALL)
    more = {"finishedAt": finished} if finished else {}
    made = has_pod(
        web, phase="Failed", reason="DeadlineExceeded", startTime=BEGUN, containerStatuses=[terminated(0, **more)]
    )
    made["spec"]["activeDeadlineSeconds"] = 60
    web.put(made)
    fails(web)
    assert isinstance(await job.run(CALL), kind)


async def test_a_side_container_that_fails_does_not_fail_the_step(web, job):
    await job.run(CALL)
    has_pod(web, phase="Failed", containerStatuses=[terminated(0), terminated(1, "side")])
    fails(web)
    outcome = await job.run(CALL)
    assert isinstance(outcome, Succeeded)
    assert (
        outcome.summary
        == f"Job {NAME} succeeded: container main: exit code 0, though the Job failed: BackoffLimitExceeded (Job has reached the specified backoff limit)"
    )


GOOD: dict[str, Any] = {"pod": "a", "container": "b", "exit_code": 0, "reason": ""}
OTHERS: list[Any] = [
    {**GOOD, "pod": 1},
    {**GOOD, "exit_code": False},
    {**GOOD, "exit_code": "0"},
    {**GOOD, "exit_code": 0.0},
    {},
    [],
]


@pytest.mark.parametrize("note", ["", "x", *(json.dumps(each) for each in OTHERS)])
async def test_a_note_that_is_something_else_is_not_believed(web, job, note):
    await job.run(CALL)
    late(web)
    made = web.object(JOB)
    made["metadata"]["annotations"][ENDED] = note
    web.put(made)
    assert isinstance(await job.run(CALL), Failed)
