"""`logs` and `job` on real Pods, with a service account that holds the documented rights and no other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from incident_operator.actions import logs as logging
from incident_operator.actions.clients import Clients
from incident_operator.actions.job import job as jobs
from incident_operator.actions.job.job import Job
from incident_operator.actions.logs import Logs
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded, Undetermined
from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import Player
from tests.crds import live
from tests.kubernetes import apiservers
from tests.kubernetes.apiservers import IMAGE, Apiserver
from tests.kubernetes.garbage_collector import as_collector

pytestmark = pytest.mark.cluster

SERVING = "import time; print('build_pack: prices fetched', flush=True); time.sleep(3600)"
RIGHTS = (
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create", "patch"]},
)


@pytest.fixture(scope="session")
def installed() -> None:
    """Serve Incidents, which own the Jobs."""
    live.install()


@pytest.fixture
async def prod(image: None, installed: None) -> AsyncIterator[Apiserver]:
    """A namespace with a Deployment that serves, an Incident, and the Runbook's account."""
    async with apiservers.real() as apiserver:
        await apiserver.grant(calls.ACCOUNT, *RIGHTS)
        await apiserver.client.create(f"/apis/apps/v1/namespaces/{apiserver.namespace}/deployments", scheduler())
        yield apiserver


@pytest.fixture
async def clients(prod: Apiserver) -> AsyncIterator[Clients]:
    async with Cluster(prod.access) as real:
        yield calls.clients(real, prod.access, clock)


def scheduler():
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", SERVING],
        "env": [{"name": "MODE", "value": "nightly"}],
        "livenessProbe": {"exec": {"command": ["python3", "-c", "pass"]}, "periodSeconds": 60},
    }
    labels = {"app": "scheduler"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scheduler"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


async def incident(apiserver: Apiserver):
    body = {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "by-hand"},
        "spec": {},
    }
    return await apiserver.client.create(discovery.incidents(apiserver.namespace), body)


async def job_call(apiserver: Apiserver, script: str, **more):
    owner = await incident(apiserver)
    spec = Job(**({"from": "deployment/scheduler", "command": ["python3", "-c", script]} | more))
    made = calls.call(spec, namespace=apiserver.namespace, step="rebuild", incident_uid=owner["metadata"]["uid"])
    return replace(made, incident=owner["metadata"]["name"])


async def seen(look, good):
    """Look again and again, as the engine does, until it is good."""
    async with asyncio.timeout(60):
        while True:
            outcome = await look()
            if good(outcome):
                return outcome
            await asyncio.sleep(0.3)


async def ended(action, step):
    return await seen(lambda: action.run(step), lambda outcome: not isinstance(outcome, Pending))


async def stuck(action, step):
    return await seen(lambda: action.run(step), lambda outcome: "cannot start" in outcome.summary)


async def is_gone(apiserver, name):
    try:
        await apiserver.client.get(discovery.of("/apis/batch/v1", apiserver.namespace, "jobs", name))
    except kube.NotFound:
        return True
    return False


def clock():
    return datetime.now(UTC)


async def test_a_workloads_log_is_read(prod, clients):
    spec = Logs(**{"from": "deployment/scheduler", "pattern": r"build_pack: (?P<done>\w+) fetched"})
    logs, step = Player(logging.ACTION, clients), calls.call(spec, namespace=prod.namespace)
    outcome = await seen(lambda: logs.run(step), lambda outcome: outcome.result["lines"])
    assert outcome.result["lines"] == ["build_pack: prices fetched"]
    assert outcome.result["matches"] == [{"done": "prices"}]


async def test_a_container_that_is_not_there_is_told(prod, clients):
    spec = Logs(**{"from": "deployment/scheduler", "container": "cron"})
    logs, step = Player(logging.ACTION, clients), calls.call(spec, namespace=prod.namespace)
    outcome = await seen(lambda: logs.run(step), lambda outcome: isinstance(outcome, Failed))
    assert outcome.reason == reasons.BAD_REQUEST
    assert "container cron is not valid for pod" in outcome.message


ONCE = "import os, sys; first = not os.path.exists('/kept/x'); open('/kept/x', 'w'); print('before' if first else 'a\\u2028b', flush=True)"
RESTARTS = f"{ONCE}; first and sys.exit(3); import time; time.sleep(600)"


def python(script, name="main", **more):
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", script],
        **more,
    }


async def made_pod(apiserver, **spec):
    body = {"metadata": {"name": "one"}, "spec": {"terminationGracePeriodSeconds": 0, **spec}}
    await apiserver.client.create(discovery.pods(apiserver.namespace), body)


async def test_what_a_container_wrote_before_it_restarted_can_be_read(prod, clients):
    mount = [{"name": "kept", "mountPath": "/kept"}]
    await made_pod(prod, containers=[python(RESTARTS, volumeMounts=mount)], volumes=[{"name": "kept", "emptyDir": {}}])
    logs = Player(logging.ACTION, clients)
    now, before = (
        calls.call(Logs(pod="one", previous=previous), namespace=prod.namespace) for previous in (False, True)
    )
    told = "one: container main restarted once, the last time after exit code 3"
    wanted = (["a\u2028b"], [f"{told}; previous: true reads what it wrote before"])
    await seen(lambda: logs.run(now), lambda outcome: (outcome.result["lines"], outcome.result["notes"]) == wanted)
    outcome = await logs.run(before)
    assert (outcome.result["lines"], outcome.result["notes"]) == (["before"], [told])


async def test_a_pod_that_hangs_in_an_init_container_says_so(prod, clients):
    await made_pod(prod, containers=[python("")], initContainers=[python(SERVING, "migrate")])
    logs, step = Player(logging.ACTION, clients), calls.call(Logs(pod="one"), namespace=prod.namespace)
    told = "one: container main has not started: init container migrate runs; container: migrate reads its log"
    await seen(lambda: logs.run(step), lambda outcome: outcome.result["notes"] == [told])
    first = calls.call(Logs(pod="one", container="migrate"), namespace=prod.namespace)
    await seen(lambda: logs.run(first), lambda outcome: outcome.result["lines"] == ["build_pack: prices fetched"])


async def test_a_container_that_never_restarted_has_nothing_from_before(prod, clients):
    spec = Logs(**{"from": "deployment/scheduler", "previous": True})
    outcome = await Player(logging.ACTION, clients).run(calls.call(spec, namespace=prod.namespace))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["lines"] == []


def database():
    """A StatefulSet of no Pods, whose second container is the one that is meant."""
    mount = [{"name": "data", "mountPath": "/data"}]
    template = {
        "metadata": {
            "labels": {"app": "db", "webhook": "needed"},
            "annotations": {"kubectl.kubernetes.io/default-container": "db"},
        },
        "spec": {"containers": [python("", "proxy"), python("print('db')", "db", volumeMounts=mount)]},
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claims = [{"metadata": {"name": "data"}, "spec": claim}]
    spec = {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template}
    return {"metadata": {"name": "db"}, "spec": {**spec, "volumeClaimTemplates": claims}}


async def test_a_job_from_a_statefulset_with_claims_runs_in_its_default_container(prod, clients):
    await prod.client.create(discovery.of("/apis/apps/v1", prod.namespace, "statefulsets"), database())
    step = await job_call(prod, "", **{"from": "statefulset/db", "command": [], "keep": {"labels": ["webhook"]}})
    job = Player(jobs.ACTION, clients)
    shown = await job.show(step)
    assert shown.details["leftBehind"] == ["/data of container db: volume data is a claim of each Pod"]
    assert shown.whole["template"]["metadata"]["labels"]["webhook"] == "needed"
    outcome = await ended(job, step)
    assert (outcome.result["container"], outcome.result["log"]) == ("db", ["db"])


async def test_a_job_from_a_cronjob_runs_now(prod, clients):
    pod = {"restartPolicy": "OnFailure", "containers": [python("print('nightly')")]}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    path = discovery.of("/apis/batch/v1", prod.namespace, "cronjobs")
    await prod.client.create(path, {"metadata": {"name": "pack"}, "spec": spec})
    outcome = await ended(
        Player(jobs.ACTION, clients), await job_call(prod, "", **{"from": "cronjob/pack", "command": []})
    )
    assert outcome.result["log"] == ["nightly"]


async def test_a_job_runs_with_the_workloads_environment_and_goes_with_its_incident(prod, clients):
    step = await job_call(prod, "import os; print('mode', os.environ['MODE']); print('stored')")
    job = Player(jobs.ACTION, clients)
    assert (await job.show(step)).in_trial == "accepted"
    outcome = await ended(job, step)
    assert isinstance(outcome, Succeeded)
    assert outcome.result["log"] == ["mode nightly", "stored"]
    assert (outcome.result["succeeded"], outcome.result["exitCode"]) == (True, 0)
    assert await ended(job, step) == outcome
    await as_collector(prod.client).delete(discovery.incidents(prod.namespace, step.incident))
    assert await seen(lambda: is_gone(prod, outcome.captured["job"]), bool)


async def test_a_job_is_reserved_once_withdrawn_by_a_look_and_then_run_once(prod, clients):
    step = await job_call(prod, "print('ran')", env={"EMPTY": ""})
    job = Player(jobs.ACTION, clients)
    shown = await job.show(step)
    first = await jobs.reserve(step, shown, clients)
    again = await jobs.reserve(step, shown, clients)
    assert again == first
    begun = replace(step, seen=again)
    assert isinstance(await job.look(begun), NotDone)
    assert isinstance(await job.sent(begun, shown), NotDone)
    outcome = await ended(job, step)
    assert outcome.result["log"] == ["ran"]
    assert outcome.captured["uid"] == first["uid"]


async def test_a_job_that_is_deleted_while_it_runs_is_never_made_again(prod, clients):
    step = await job_call(prod, "import time; time.sleep(600)")
    job = Player(jobs.ACTION, clients)
    await seen(lambda: job.run(step), lambda outcome: "running for" in outcome.summary)
    path = discovery.of("/apis/batch/v1", prod.namespace, "jobs")
    await prod.client.delete(f"{path}/{job.intents[step.key]['job']}", body={"propagationPolicy": "Foreground"})
    for _ in range(2):
        outcome = await ended(job, step)
        assert isinstance(outcome, Undetermined)
        assert "was deleted by somebody" in outcome.message
    assert await seen(lambda: is_gone(prod, job.intents[step.key]["job"]), bool)
    assert [made async for made in prod.client.list(path)] == []


async def test_a_failing_job_tells_its_exit_code_and_last_words(prod, clients):
    step = await job_call(prod, "print('no prices'); raise SystemExit(3)")
    outcome = await ended(Player(jobs.ACTION, clients), step)
    assert (outcome.reason, outcome.effected) == (reasons.JOB_FAILED, True)
    assert outcome.message.endswith("failed: container main: exit code 3; last line: no prices")


async def test_a_job_that_takes_too_long_is_ended(prod, clients):
    step = await job_call(prod, "import time; time.sleep(600)")
    outcome = await ended(Player(jobs.ACTION, clients), replace(step, timeout=3.0))
    assert outcome.reason == reasons.JOB_FAILED
    assert "DeadlineExceeded" in outcome.message


async def test_an_image_that_cannot_be_pulled_is_told(prod, clients):
    container = {"name": "main", "image": "nobody.invalid/none:1", "imagePullPolicy": "IfNotPresent"}
    step = await job_call(prod, "", **{"from": None, "command": [], "template": {"spec": {"containers": [container]}}})
    outcome = await stuck(Player(jobs.ACTION, clients), step)
    assert "nobody.invalid/none:1" in outcome.summary


async def test_a_pod_that_fits_nowhere_is_told(prod, clients):
    container = {"name": "main", "image": IMAGE, "resources": {"requests": {"cpu": "1000"}}}
    step = await job_call(prod, "", **{"from": None, "command": [], "template": {"spec": {"containers": [container]}}})
    outcome = await stuck(Player(jobs.ACTION, clients), step)
    assert "Unschedulable" in outcome.summary


async def test_a_template_that_the_apiserver_refuses_has_no_effect(prod, clients):
    step = await job_call(prod, "", **{"from": None, "template": {"spec": {"containers": [{"name": "main"}]}}})
    outcome = await Player(jobs.ACTION, clients).run(step)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.BAD_REQUEST, False, False)
    assert "image: Required value" in outcome.message
