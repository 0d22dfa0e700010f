"""`exec`: a command in a running container, on the fake apiserver and on a real one: what it printed, and how it ended."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from incident_operator.actions.exec import ACTION, Exec, ready
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Failure, Succeeded, Undetermined
from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.accounts import Cluster
from incident_operator.kubernetes.exec import STREAM_BYTES
from tests.actions import calls
from tests.actions.calls import Player
from tests.kubernetes import apiservers, sockets
from tests.kubernetes.apiservers import IMAGE, Apiserver
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.manifests import deployment

RIGHTS = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
)
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"


@dataclass(frozen=True, slots=True)
class WebPods:
    """A Deployment `web` with one running Pod of two containers, and the action."""

    apiserver: Apiserver
    exec: Player

    async def run(self, script, *arguments, account=calls.ACCOUNT, timeout=20.0, **more):
        return await self.exec.run(self.call(script, *arguments, account=account, timeout=timeout, **more))

    def call(self, script, *arguments, account=calls.ACCOUNT, timeout=20.0, **more):
        spec = {"target": "deployment/web", "command": ["python3", "-c", script, *arguments], **more}
        made = calls.call(Exec.model_validate(spec), namespace=self.apiserver.namespace, timeout=timeout)
        return replace(made, service_account=account)

    async def pods(self):
        return [pod async for pod in self.apiserver.client.list(discovery.pods(self.apiserver.namespace))]


def workload():
    base = deployment(replicas=1)
    del base["metadata"]["namespace"]
    waiting = ["python3", "-c", "import time; time.sleep(3600)"]
    base["spec"]["template"]["spec"] = {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": waiting,
             "env": [{"name": "WHO", "value": name}]}
            for name in ("main", "side")
        ],
    }  # fmt: skip
    return base


def running(name="web-1", template=None, **meta):
    """What controllers and the kubelet make of the Deployment."""
    template = template or workload()["spec"]["template"]
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    meta = {"name": name, "namespace": "prod", **template["metadata"], **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"], "status": ready}


def serve_web(api: FakeApiserver) -> None:
    """Put the Deployment and its Pod where the fake's controllers would have put them."""
    made = workload()
    api.put({**made, "metadata": {**made["metadata"], "namespace": "prod"}})
    api.put(running())


@pytest.fixture
async def fake_web_pods(api: FakeApiserver, cluster: Cluster) -> AsyncIterator[WebPods]:
    serve_web(api)
    api.forbid("system:serviceaccount:prod:nobody", "create", "pods/exec")
    async with kube.Kube(api.access()) as client:
        apiserver = Apiserver(api.access(), client, "prod", is_real=False, forbid=api.forbid)
        yield WebPods(apiserver, Player(ACTION, calls.clients(cluster, api.access())))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployed(image: None) -> AsyncIterator[str]:
    """The namespace of the Deployment, for all the tests here: none of them changes it."""
    async with apiservers.real() as apiserver:
        await apiserver.grant(calls.ACCOUNT, *RIGHTS)
        await apiserver.grant("nobody", *RIGHTS[:2])
        await apiserver.client.create(DEPLOYMENTS.format(apiserver.namespace), workload())
        async with asyncio.timeout(60):
            while not any([ready(pod) async for pod in apiserver.client.list(discovery.pods(apiserver.namespace))]):
                await asyncio.sleep(0.3)
        yield apiserver.namespace


@pytest.fixture
async def real_web_pods(deployed: str) -> AsyncIterator[WebPods]:
    async with (
        sockets.closed_afterwards(),
        apiservers.attached(deployed) as apiserver,
        Cluster(apiserver.access) as cluster,
    ):
        yield WebPods(apiserver, Player(ACTION, calls.clients(cluster, apiserver.access)))


@pytest.fixture(params=["fake_web_pods", pytest.param("real_web_pods", marks=pytest.mark.cluster)])
def web_pods(request: pytest.FixtureRequest) -> WebPods:
    """Each test runs on the fake, and on a real cluster."""
    chosen: WebPods = request.getfixturevalue(request.param)
    return chosen


async def test_what_a_command_prints_is_told_apart_with_its_exit_code(web_pods):
    outcome = await web_pods.run("import sys; print('42 rows'); print('slow disk', file=sys.stderr)")
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {
        "exitCode": 0, "stdout": "42 rows\n", "stderr": "slow disk\n", "matches": [], "truncated": False,
    }  # fmt: skip
    (pod,) = await web_pods.pods()
    assert outcome.summary == f"exit code 0 in {pod['metadata']['name']}/main; last line: 42 rows"


async def test_another_exit_code_is_a_failure_that_had_an_effect(web_pods):
    outcome = await web_pods.run("import sys; print('begun'); print('no such pack', file=sys.stderr); sys.exit(3)")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.COMMAND_FAILED, False, True)
    assert outcome.message.startswith("exit code 3 in ")
    assert outcome.message.endswith("; last line: no such pack")
    assert (outcome.result["exitCode"], outcome.result["stdout"]) == (3, "begun\n")


async def test_an_argument_is_one_argument_whatever_is_in_it(web_pods):
    hostile = ["a b", "$HOME;`id`", "--x=%41&command=rm", "ü\n"]
    outcome = await web_pods.run("import sys, json; print(json.dumps(sys.argv[1:]))", *hostile, pattern="(?P<told>.*)")
    assert outcome.result["matches"] == [{"told": outcome.result["stdout"].strip()}]
    assert json.loads(outcome.result["stdout"]) == hostile


async def test_standard_input_is_empty(web_pods):
    outcome = await web_pods.run("import sys; print(len(sys.stdin.buffer.read()))")
    assert outcome.result["stdout"] == "0\n"


@pytest.mark.parametrize(("container", "told"), [(None, "main"), ("side", "side")])
async def test_the_first_container_is_meant_unless_one_is_named(web_pods, container, told):
    outcome = await web_pods.run("import os; print(os.environ['WHO'])", container=container)
    assert outcome.result["stdout"] == f"{told}\n"


async def test_of_much_output_the_end_is_kept(web_pods):
    script = "import sys; sys.stdout.write('x' * 3_000_000 + 'end'); sys.stderr.write('y' * 200_000 + 'last')"
    outcome = await web_pods.run(script)
    stdout, stderr = outcome.result["stdout"], outcome.result["stderr"]
    assert (len(stdout), stdout[-4:]) == (STREAM_BYTES, "xend")
    assert (len(stderr), stderr[-5:]) == (STREAM_BYTES, "ylast")
    assert outcome.result["truncated"]


async def test_output_that_is_no_text_is_told_all_the_same(web_pods):
    outcome = await web_pods.run(r"import sys; sys.stdout.buffer.write(b'\xff\x00\x01ok')")
    assert outcome.result["stdout"] == "\ufffd\x00\x01ok"


async def test_a_command_that_takes_too_long_may_still_run(web_pods):
    outcome = await web_pods.run("import time; time.sleep(30)", timeout=1.5)
    assert isinstance(outcome, Undetermined)
    assert "it may still run" in outcome.message


async def test_who_may_not_exec_runs_nothing(web_pods):
    outcome = await web_pods.run("print(1)", account="nobody")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.FORBIDDEN, False, False)
    assert "pods/exec" in outcome.message


async def test_a_program_that_is_not_there_never_began(web_pods):
    spec = Exec(target="deployment/web", command=["no-such-program"])
    outcome = await web_pods.exec.run(calls.call(spec, namespace=web_pods.apiserver.namespace))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.BAD_REQUEST, False, False)
    assert "executable file not found" in outcome.message


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        ({"target": "deployment/nobody"}, reasons.NOT_FOUND, 'deployments.apps "nobody" not found'),
        ({"target": "pod/nobody"}, reasons.NOT_FOUND, 'pods "nobody" not found'),
        ({"container": "cron"}, reasons.BAD_REQUEST, "has no container cron; it has main, side"),
    ],
)
async def test_a_place_that_is_not_there_is_told(web_pods, spec, reason, told):
    outcome = await web_pods.run("print(1)", **spec)
    assert (outcome.reason, outcome.effected) == (reason, False)
    assert told in outcome.message
    with pytest.raises(Failure, match=re.escape(told)):
        await web_pods.exec.show(web_pods.call("print(1)", **spec))


async def test_a_plan_names_the_very_pod_and_the_arguments(web_pods):
    (pod,) = await web_pods.pods()
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    for target in ("deployment/web", f"pod/{name}"):
        preview = await web_pods.exec.show(web_pods.call("print(1)", "a b", target=target, container="side"))
        assert preview.do == f"run in {name}/side of {web_pods.apiserver.namespace}: python3 -c 'print(1)' 'a b'"
        assert preview.details == {
            "target": target, "pod": name, "uid": uid, "container": "side",
            "command": ["python3", "-c", "print(1)", "a b"],
        }  # fmt: skip
