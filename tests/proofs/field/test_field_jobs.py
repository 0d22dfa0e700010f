"""Jobs that cannot start, or fail: the cause is reported while they wait and at the end, made for real in each way."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from incident_operator.actions.job.job import Job
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Succeeded
from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes import discovery
from tests.kubernetes.apiservers import Apiserver
from tests.proofs.field import jobs
from tests.proofs.field.jobs import container, template

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("image")]

SLEEPS = "import time; print('begun'); time.sleep(600)"
NEVER = {"name": "main", "image": "nobody.invalid/none:1"}


@asynccontextmanager
async def nothing(_: Apiserver) -> AsyncIterator[None]:
    """Nothing in the way but what the Job itself says."""
    yield


def made(
    path: str, name: str, kind: str, spec: dict[str, Any]
) -> Callable[[Apiserver], AbstractAsyncContextManager[None]]:
    """An object of the namespace that is in the way."""

    @asynccontextmanager
    async def there(apiserver: Apiserver) -> AsyncIterator[None]:
        body = {"kind": kind, "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}
        await apiserver.client.create(discovery.of("/api/v1", apiserver.namespace, path), body)
        yield

    return there


async def secured(apiserver: Apiserver) -> None:
    """Let the namespace take restricted Pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await apiserver.client.merge_patch(discovery.namespaces(apiserver.namespace), {"metadata": {"labels": labels}})


@asynccontextmanager
async def restricted(apiserver: Apiserver) -> AsyncIterator[None]:
    """A namespace that takes restricted Pods only."""
    await secured(apiserver)
    yield


@asynccontextmanager
async def webhook_away(apiserver: Apiserver) -> AsyncIterator[None]:
    """A webhook for this namespace's Pods behind which nothing answers."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    service = {"name": "nobody", "namespace": apiserver.namespace}
    hook = {
        "name": "pods.nobody.example",
        "clientConfig": {"service": service},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": apiserver.namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
    }
    await apiserver.client.create(path, {"metadata": {"name": apiserver.namespace}, "webhooks": [hook]})
    try:
        yield
    finally:
        await apiserver.client.delete(f"{path}/{apiserver.namespace}")


@dataclass(frozen=True)
class Cause:
    """What keeps a Job from starting, and the words by which it is told."""

    told: str
    spec: Job
    made: Callable[[Apiserver], AbstractAsyncContextManager[None]] = nothing


BIG_LIMIT = {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}}
BIG = container(**BIG_LIMIT)
MISSING = {"name": "settings", "configMap": {"name": "nobody"}}
MOUNTED = container(volumeMounts=[{"name": "settings", "mountPath": "/settings"}])
REFERRED = container(env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "x"}}}])
LIMITS = {"limits": [{"type": "Container", "max": {"memory": "32Mi"}}]}
CAUSES = {
    "quota": Cause(
        "exceeded quota: none", template(), made("resourcequotas", "none", "ResourceQuota", {"hard": {"pods": "0"}})
    ),
    "LimitRange": Cause(
        "maximum memory usage per Container is 32Mi", template(BIG), made("limitranges", "small", "LimitRange", LIMITS)
    ),
    "pod security": Cause('violates PodSecurity "restricted', template(), restricted),
    "admission webhook away": Cause('failed calling webhook "pods.nobody.example"', template(), webhook_away),
    "image": Cause("nobody.invalid/none:1", template(NEVER)),
    "pull secret": Cause("FailedToRetrieveImagePullSecret", template(NEVER, imagePullSecrets=[{"name": "nobody"}])),
    "ConfigMap of a mount": Cause('configmap "nobody" not found', template(MOUNTED, volumes=[MISSING])),
    "Secret of a variable": Cause('secret "nobody" not found', template(REFERRED)),
    "no node": Cause("Insufficient cpu", template(container(resources={"requests": {"cpu": "1000"}}))),
    "account": Cause('serviceaccount "nobody" not found', template(serviceAccountName="nobody")),
}


@pytest.mark.parametrize("name", CAUSES)
async def test_what_keeps_a_job_from_starting_is_told_while_it_waits_and_in_the_end(name: str) -> None:
    """What keeps a Job from starting is reported while it waits and at the end."""
    cause = CAUSES[name]
    async with jobs.apiserver() as apiserver, cause.made(apiserver):
        spec = cause.spec.model_copy(update={"allow": [*cause.spec.allow, "otherAccount"]})
        async with jobs.job(apiserver, spec) as job:
            await job.until(cause.told)
            outcome = await job.ended()
    assert isinstance(outcome, Failed)
    assert outcome.reason == reasons.JOB_FAILED
    assert cause.told in outcome.message
    assert outcome.result["exitCode"] is None


async def test_a_right_that_is_missing_is_told_and_the_rest_is_not_hidden() -> None:
    """A missing right is reported, and hides nothing else."""
    quota = CAUSES["quota"]
    async with jobs.apiserver(jobs.PODS) as apiserver, quota.made(apiserver), jobs.job(apiserver, quota.spec) as job:
        await job.until("no Pod yet")
        await job.until("its account may not list events")
        message = (await job.ended()).message
    assert "DeadlineExceeded" in message
    assert "its account may not list events" in message


@pytest.mark.parametrize(("code", "kind"), [(0, Succeeded), (4, Failed)], ids=["exit code 0", "exit code 4"])
async def test_the_main_container_decides_where_another_one_never_ends(code: int, kind: type) -> None:
    """The main container decides where another one never ends, and the Job is ended and cannot run again."""
    spec = template(container(f"print('done'); raise SystemExit({code})"), container(SLEEPS, "side"))
    async with jobs.apiserver() as apiserver, jobs.job(apiserver, spec, timeout=120) as job:
        outcome = await job.ended()
        assert isinstance(outcome, kind)
        assert (outcome.result["exitCode"], outcome.result["log"], outcome.result["container"]) == (
            code,
            ["done"],
            "main",
        )
        path = discovery.of("/apis/batch/v1", apiserver.namespace, "jobs", job.name)

        async def stopped() -> Any:
            found = await apiserver.client.get(path)
            held = [one["type"] for one in found["status"].get("conditions") or [] if one["status"] == "True"]
            return found if "Failed" in held else None

        await jobs.eventually(stopped)
        again = await job.player.run(job.call)
    assert isinstance(again, kind), "whoever looks later reads it on the Job"
    assert again.result["exitCode"] == code


async def test_a_container_that_runs_out_of_memory_is_told() -> None:
    """A container that runs out of memory is reported, with its limit."""
    greedy = container("print('begun'); x = bytearray(512 * 1024 * 1024); print(len(x))", **BIG_LIMIT)
    async with jobs.apiserver() as apiserver, jobs.job(apiserver, template(greedy), timeout=60) as job:
        outcome = await job.ended()
    assert "container main: OOMKilled, exit code 137 (SIGKILL), memory limit 64Mi" in outcome.message
    assert (outcome.result["reason"], outcome.result["exitCode"], outcome.result["log"]) == (
        "OOMKilled",
        137,
        ["begun"],
    )


async def test_an_init_container_that_fails_is_told_with_its_log() -> None:
    """An init container that fails is reported, and its log and exit code are kept."""
    spec = template(initContainers=[container("print('no schema'); raise SystemExit(7)", "migrate")])
    async with jobs.apiserver() as apiserver, jobs.job(apiserver, spec, timeout=60) as job:
        outcome = await job.ended()
    assert outcome.message.endswith("failed: init container migrate: exit code 7; last line: no schema")
    assert (outcome.result["container"], outcome.result["exitCode"], outcome.result["log"]) == (
        "migrate",
        7,
        ["no schema"],
    )


@pytest.mark.parametrize("obeys", [True, False], ids=["one that obeys SIGTERM", "one that ignores it"])
async def test_a_job_that_takes_too_long_keeps_its_log_and_exit_code(obeys: bool) -> None:
    """A Job that takes too long keeps its log and exit code."""
    ignores = "import signal; signal.signal(signal.SIGTERM, lambda *_: raise_()) \ndef raise_(): raise SystemExit(0)\n"
    spec = template(container((ignores if obeys else "") + SLEEPS), terminationGracePeriodSeconds=2)
    async with jobs.apiserver() as apiserver, jobs.job(apiserver, spec) as job:
        await job.until("running for")
        outcome = await job.ended()
    assert isinstance(outcome, Failed), "a container that ends with 0 because it was told to is not done"
    assert "DeadlineExceeded" in outcome.message
    assert (outcome.result["exitCode"], outcome.result["log"]) == (0 if obeys else 137, ["begun"])


async def test_a_program_that_is_not_there_is_told() -> None:
    """A program that is not in the image is reported in the runtime's words."""
    async with (
        jobs.apiserver() as apiserver,
        jobs.job(apiserver, template({**container(), "command": ["nobody"]})) as job,
    ):
        outcome = await job.ended()
    assert "container main: StartError, exit code 128" in outcome.message
    assert '"nobody"' in outcome.message


async def test_an_eviction_is_told() -> None:
    """An eviction is reported."""
    async with jobs.apiserver() as apiserver, jobs.job(apiserver, template(container(SLEEPS)), timeout=60) as job:
        await job.until("running for")
        name = (await job.pod())["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        await apiserver.client.create(discovery.pods(apiserver.namespace, name, "eviction"), body)
        outcome = await job.ended()
    assert isinstance(outcome, Failed)
    assert "Disrupted" in outcome.message or "EvictionByEvictionAPI" in outcome.message


async def test_a_node_that_is_gone_is_told() -> None:
    """A node that is gone is reported while its Pod hangs, and at the end."""
    async with jobs.apiserver() as apiserver, lost_node(apiserver) as node:
        soon = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "tolerationSeconds": 1}]
        spec = template(
            container(SLEEPS), nodeName=node, tolerations=[*soon, {"operator": "Exists", "effect": "NoSchedule"}]
        )
        async with jobs.job(apiserver, spec, timeout=150) as job:
            await job.until(f"node {node} has not started it")
            await job.until("its Pod is being deleted")
            await apiserver.client.delete(f"/api/v1/nodes/{node}")
            outcome = await job.ended()
    assert any("DeletionByTaintManager" in told for told in job.told)
    assert isinstance(outcome, Failed)
    assert "TaintManagerEviction" in outcome.message or "Disrupted" in outcome.message


@asynccontextmanager
async def lost_node(apiserver: Apiserver) -> AsyncIterator[str]:
    """A node whose kubelet never tells anything any more; no scheduler uses it."""
    name = f"lost-{apiserver.namespace}"
    taint = {"key": "field.example/lost", "effect": "NoSchedule"}
    spec = {"unschedulable": True, "taints": [taint]}
    await apiserver.client.create("/api/v1/nodes", {"kind": "Node", "metadata": {"name": name}, "spec": spec})
    try:
        yield name
    finally:
        with suppress(kube.NotFound):
            await apiserver.client.delete(f"/api/v1/nodes/{name}")
