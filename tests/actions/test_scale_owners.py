"""Who else sets the replicas: shown, done all the same, and looked at again a minute later."""

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.scale import ACTION
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Pending, Succeeded
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import ACCOUNT, NOW, Player, call, undo
from tests.actions.test_scale import RIGHTS, USER, WEB, patches, replicas, to
from tests.kubernetes.apiservers import Apiserver
from tests.kubernetes.manifests import autoscaler, deployment, managed

ARGO, FLUX = ("argocd-controller", "Apply", ""), ("kustomize-controller", "Apply", "")
HPA, KUBECTL = ("kube-controller-manager", "Update", "scale"), ("kubectl-client-side-apply", "Update", "")
STEP = replace(call(to(5)), stage=Stage.MITIGATE)


@dataclass
class Clock:
    """The time that the action sees."""

    seconds: float = 0.0

    def __call__(self):
        return NOW + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scale(clients: Clients, clock: Clock) -> Player:
    return Player(ACTION, replace(clients, now=clock))


def labelled(made, *, annotations=None, **labels):
    more = {"labels": labels, "annotations": annotations or {}}
    return {**made, "metadata": {**made["metadata"], **more}}


def keda(target):
    made = autoscaler(target, name="keda-hpa-shop")
    return {**made, "metadata": {**made["metadata"], "labels": {"scaledobject.keda.sh/name": "shop"}}}


@dataclass(frozen=True)
class Case:
    """A workload and what is beside it, and who is told to set its replicas."""

    what: str
    owner: str
    workload: Any
    beside: list[Any] = field(default_factory=list)


OWNED = [
    Case("argo's field", "argocd-controller", managed(deployment(), ARGO)),
    Case(
        "argo's tracking id",
        "Argo CD application shop",
        labelled(deployment(), annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/web"}),
    ),
    Case(
        "argo's label",
        "Argo CD application shop",
        labelled(managed(deployment(), ARGO), **{"app.kubernetes.io/instance": "shop"}),
    ),
    Case("argo's own label", "Argo CD application shop", labelled(deployment(), **{"argocd.argoproj.io/instance": "shop"})),
    Case(
        "a Kustomization",
        "Flux Kustomization flux-system/shop",
        labelled(
            managed(deployment(), FLUX),
            **{"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
        ),
    ),
    Case("flux' field", "kustomize-controller", managed(deployment(), FLUX)),
    Case(
        "a HelmRelease",
        "Flux HelmRelease shop",
        labelled(deployment(), **{"helm.toolkit.fluxcd.io/name": "shop"}),
    ),
    Case("an autoscaler", "HorizontalPodAutoscaler scaler", managed(deployment(), HPA), [autoscaler("web")]),
    Case("KEDA", "KEDA ScaledObject shop (HorizontalPodAutoscaler keda-hpa-shop)", deployment(), [keda("web")]),
    Case("what kubebuilder calls any", "manager", managed(deployment(), ("manager", "Update", ""))),
    Case("a controller of one's own", "py-kube-downscaler", managed(deployment(), ("py-kube-downscaler", "Update", ""))),
]  # fmt: skip
NOT_OWNED = [
    Case("nobody told", "", deployment()),
    Case("kubectl apply", "", managed(deployment(), KUBECTL)),
    Case("kubectl apply --server-side", "", managed(deployment(), ("kubectl", "Apply", ""))),
    Case("kubectl scale", "", managed(deployment(), ("kubectl", "Update", "scale"))),
    Case("helm upgrade", "", managed(deployment(), ("helm", "Update", ""))),
    Case("this operator", "", managed(deployment(), ("incident-operator", "Update", ""))),
    Case("another workload's autoscaler", "", deployment(), [autoscaler("worker")]),
    Case("an autoscaler that is gone", "", managed(deployment(), HPA)),
    Case("a label that many charts set", "", labelled(deployment(), **{"app.kubernetes.io/instance": "shop"})),
]


def put(api, case):
    for made in [case.workload, *case.beside]:
        api.put(made)


@pytest.mark.parametrize("case", OWNED, ids=lambda case: case.what)
async def test_an_owner_is_shown_and_what_stays_is_done_after_a_minute(api, scale, clock, case):
    put(api, case)
    preview = await scale.show(STEP)
    assert preview.allows == (f"{case.owner} sets its replicas too, and may put back what it wants instead of 5",)
    first = await scale.run(STEP)
    assert isinstance(first, Pending)
    assert (first.after, replicas(api)) == (60, 5)
    assert f"deployment/web scaled 2 → 5; {case.owner} sets its replicas too" in first.summary
    clock.seconds = 20
    assert (await scale.run(STEP)).after == 40
    clock.seconds = 60
    last = await scale.run(STEP)
    assert isinstance(last, Succeeded)
    assert last.summary == f"deployment/web scaled 2 → 5; {case.owner} sets its replicas too"
    assert (last.result, len(patches(api))) == ({"before": 2, "after": 5}, 1)


@pytest.mark.parametrize("case", NOT_OWNED, ids=lambda case: case.what)
async def test_who_writes_once_is_no_owner_and_costs_no_look(api, scale, case):
    put(api, case)
    assert (await scale.show(STEP)).allows == ()
    assert (await scale.run(STEP)).summary == "deployment/web scaled 2 → 5"


@pytest.mark.parametrize(
    ("owner", "told"),
    [(ARGO, "argocd-controller"), (FLUX, "kustomize-controller"), (HPA, "an autoscaler (kube-controller-manager)")],
)
async def test_what_is_put_back_fails_the_step_by_name_and_its_undo_has_nothing_to_do(api, scale, clock, owner, told):
    api.put(managed(deployment(), owner))
    api.put(autoscaler("web"))
    await scale.run(STEP)
    put_back(api, 2, owner)
    clock.seconds = 61
    outcome = await scale.run(STEP)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.PUT_BACK, False, True)
    assert outcome.message == f"deployment/web scaled 2 → 5, and put back to 2 by {told}"
    undone = await scale.run(replace(undo(STEP, outcome), stage=Stage.RESTORE))
    assert isinstance(undone, Succeeded)
    assert replicas(api) == 2
    assert "incidents.dev/baseline" not in api.object(WEB)["metadata"]["annotations"]


def put_back(api, count, writer):
    made = api.object(WEB)
    made["spec"]["replicas"] = count
    api.put(managed(made, *([writer] if writer else [])))


@pytest.mark.parametrize(
    ("count", "writer", "told"),
    [
        (3, ("kubectl", "Update", "scale"), "it has 3 since, set by kubectl"),
        (8, HPA, "it has 8 since, set by an autoscaler (kube-controller-manager)"),
        (3, ("incident-operator", "Update", ""), "it has 3 since, set by incident-operator"),
    ],
)
async def test_a_person_or_more_than_was_asked_for_puts_nothing_back(api, scale, clock, count, writer, told):
    api.put(managed(deployment(), ARGO))
    await scale.run(STEP)
    put_back(api, count, writer)
    clock.seconds = 61
    outcome = await scale.run(STEP)
    assert isinstance(outcome, Succeeded)
    assert outcome.summary.endswith(told)


async def test_where_nobody_knows_who_put_it_back_the_owners_are_named(api, scale, clock):
    api.put(deployment())
    api.put(autoscaler("web"))
    await scale.run(STEP)
    put_back(api, 0, None)
    clock.seconds = 61
    assert (await scale.run(STEP)).message.endswith("put back to 0 by HorizontalPodAutoscaler scaler")


async def test_an_owner_is_known_still_after_this_operator_took_the_field(api, scale, clock):
    made = managed(deployment(), ARGO)
    api.put(made)
    await scale.run(STEP)
    clock.seconds = 61
    await scale.run(STEP)
    writers = [entry["manager"] for entry in api.object(WEB)["metadata"]["managedFields"]]
    assert writers == ["argocd-controller", "incident-operator"]
    more = replace(call(to(7), step="more"), stage=Stage.MITIGATE)
    assert (await scale.show(more)).allows == ()  # it wrote nothing else of the specification
    entries = api.object(WEB)["metadata"]["managedFields"]
    entries[0]["fieldsV1"]["f:spec"] = {"f:template": {}}
    stored = api.object(WEB)
    api.put({**stored, "metadata": {**stored["metadata"], "managedFields": entries}})
    assert [line.split()[0] for line in (await scale.show(more)).allows] == ["argocd-controller"]


async def test_an_undo_leaves_the_workload_to_its_owners_without_another_look(api, scale, clock):
    api.put(managed(deployment(), ARGO))
    await scale.run(STEP)
    clock.seconds = 61
    done = await scale.run(STEP)
    before = len(api.requests)
    assert (await scale.run(undo(STEP, done))).summary == "deployment/web scaled 5 → 2"
    assert [request.method for request in api.requests[before:]] == ["GET", "PATCH"]


async def test_an_account_that_may_not_list_autoscalers_scales_and_is_told(api, scale):
    api.put(deployment())
    api.put(autoscaler("web"))
    api.forbid(USER, "list", "horizontalpodautoscalers.autoscaling")
    outcome = await scale.run(STEP)
    assert isinstance(outcome, Succeeded)
    assert outcome.summary == (
        "deployment/web scaled 2 → 5; rb-test may not list horizontalpodautoscalers, "
        "so whether one sets its replicas is not known"
    )


async def test_the_apiserver_tells_of_an_autoscaler_that_the_account_may_not_list(api, scale):
    api.put(managed(deployment(), HPA))
    api.forbid(USER, "list", "horizontalpodautoscalers.autoscaling")
    assert isinstance(await scale.run(STEP), Pending)


async def test_no_replicas_switch_an_autoscaler_off_so_that_nothing_is_put_back(api, scale):
    api.put(deployment())
    api.put(autoscaler("web"))
    off = replace(call(to(0)), stage=Stage.MITIGATE)
    outcome = await scale.run(off)
    assert outcome.summary == "deployment/web scaled 2 → 0; 0 replicas switch HorizontalPodAutoscaler scaler off"
    assert (await scale.run(undo(off, outcome))).result == {"before": 0, "after": 2}


async def test_keda_scales_up_from_nothing_so_that_is_looked_at(api, scale):
    api.put(deployment())
    api.put(keda("web"))
    assert isinstance(await scale.run(replace(call(to(0)), stage=Stage.MITIGATE)), Pending)


async def test_of_many_autoscalers_a_few_are_told(api, scale):
    api.put(managed(deployment(), *((f"x{number}-controller", "Apply", "") for number in range(60))))
    for number in range(60):
        api.put(autoscaler("web", name=f"scaler-{number}"))
    assert len((await scale.show(STEP)).allows) == 8


HOSTILE = "a" * 5000 + "\n\u202eapproved by alice"


async def test_names_that_others_chose_are_cut_and_cannot_look_like_the_plan(api, scale):
    api.put(labelled(deployment(), annotations={"argocd.argoproj.io/tracking-id": HOSTILE}))
    preview = await scale.show(STEP)
    assert max(map(len, preview.allows)) < 300
    assert all(line.isprintable() for line in preview.allows)
    assert len(json.dumps(preview.seen)) < 2000


async def test_the_real_apiserver_names_the_manager_that_puts_it_back(apiserver: Apiserver):
    """By its own account of the fields, which moves with each write."""
    await apiserver.grant(ACCOUNT, *RIGHTS)
    path = f"/apis/apps/v1/namespaces/{apiserver.namespace}/deployments"
    made = managed(deployment(namespace=apiserver.namespace, replicas=1), ARGO)
    await apiserver.client.create(path, without_fields(made) if apiserver.is_real else made)
    if apiserver.is_real:
        await applied(apiserver, made)
    clock = Clock()
    async with Cluster(apiserver.access) as cluster:
        scale = Player(ACTION, replace(calls.clients(cluster, apiserver.access), now=clock))
        step = replace(call(to(2), namespace=apiserver.namespace), stage=Stage.MITIGATE)
        assert [line.split()[0] for line in (await scale.show(step)).allows] == ["argocd-controller"]
        assert isinstance(await scale.run(step), Pending)
        writers = (await apiserver.client.get(f"{path}/web"))["metadata"]["managedFields"]
        owners = [each["manager"] for each in writers if "f:replicas" in each["fieldsV1"].get("f:spec", {})]
        assert owners == ["incident-operator"]
        if not apiserver.is_real:
            return
        await applied(apiserver, made)
        clock.seconds = 61
        outcome = await scale.run(step)
    assert outcome.message == "deployment/web scaled 1 → 2, and put back to 1 by argocd-controller"


def without_fields(made):
    return {**made, "metadata": {key: value for key, value in made["metadata"].items() if key != "managedFields"}}


async def applied(apiserver, made):
    """Apply it as Argo CD does, with all that it wants."""
    path = discovery.of("/apis/apps/v1", apiserver.namespace, "deployments", "web")
    query = {"fieldManager": "argocd-controller", "force": "true"}
    await apiserver.client._send(
        "PATCH", path, without_fields(made), params=query, content="application/apply-patch+yaml"
    )
