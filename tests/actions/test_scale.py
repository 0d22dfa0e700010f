"""`scale`: once per step key, whatever breaks; and back again, unless somebody changed it since."""

from dataclasses import replace

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.scale import ACTION, SCALED_BY, Scale
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Failure, NotDone, Pending, Succeeded
from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes.accounts import Cluster
from tests.actions import calls
from tests.actions.calls import ACCOUNT, Player, call, undo
from tests.kubernetes.apiservers import Apiserver
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import autoscaler, deployment

WEB = "/apis/apps/v1/namespaces/prod/deployments/web"
USER = f"system:serviceaccount:prod:{ACCOUNT}"


def to(replicas, **more):
    return Scale(target="deployment/web", replicas=replicas, **more)


def replicas(api):
    return api.object(WEB)["spec"]["replicas"]


def patches(api):
    return [request for request in api.writes if request.method == "PATCH"]


@pytest.fixture
def scale(clients: Clients) -> Player:
    return Player(ACTION, clients)


async def test_it_scales_as_the_runbooks_account_in_one_patch(api: FakeApiserver, scale: Player):
    api.put(deployment())
    outcome = await scale.run(call(to(5)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {"before": 2, "after": 5}
    assert outcome.summary == "deployment/web scaled 2 → 5"
    uid, by_hand = api.object(WEB)["metadata"]["uid"], "kubectl scale -n prod deployment/web --replicas=2"
    assert outcome.captured == {"before": 2, "after": 5, "uid": uid, "undoWith": by_hand}
    assert replicas(api) == 5
    assert [request.user for request in patches(api)] == [USER]


async def test_run_again_under_the_same_key_it_finds_its_mark_and_leaves_later_changes(api, scale):
    api.put(deployment())
    first = await scale.run(call(to(5)))
    by_hand = api.object(WEB)
    by_hand["spec"]["replicas"] = 7
    api.put(by_hand)
    again = await scale.run(call(to(5)))
    assert again.result == first.result
    assert again.captured == first.captured
    assert replicas(api) == 7
    assert len(patches(api)) == 1


async def test_a_new_attempt_scales_again(api, scale):
    api.put(deployment())
    await scale.run(call(to(5)))
    by_hand = api.object(WEB)
    by_hand["spec"]["replicas"] = 7
    api.put(by_hand)
    assert (await scale.run(call(to(5), attempt=2))).result == {"before": 7, "after": 5}


async def test_a_lost_reply_is_pending_and_the_next_look_tells(api, scale):
    api.put(deployment())
    api.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await scale.run(call(to(5))), Pending)
    assert (await scale.run(call(to(5)))).result == {"before": 2, "after": 5}
    assert replicas(api) == 5


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.DROPPED])
async def test_a_lost_patch_is_pending_then_certainly_not_done_and_then_begun_again(api, scale, fault):
    api.put(deployment())
    api.inject(fault, method="PATCH")
    assert isinstance(await scale.run(call(to(5))), Pending)
    assert isinstance(await scale.run(call(to(5))), NotDone)
    assert (await scale.run(call(to(5)))).result == {"before": 2, "after": 5}
    assert replicas(api) == 5


async def test_after_a_lost_reply_nothing_is_patched_twice(api, scale):
    api.put(deployment())
    api.inject(Fault.REPLY_LOST, method="PATCH")
    await scale.run(call(to(5)))
    await scale.run(call(to(5)))
    assert len(patches(api)) == 1


async def test_an_apiserver_that_does_not_answer_the_look_is_no_proof_that_nothing_happened(api, scale):
    api.put(deployment())
    await scale.run(call(to(5)))
    api.inject(Fault.SERVICE_UNAVAILABLE, method="GET")
    assert isinstance(await scale.run(call(to(5))), Pending)


async def test_a_rollouts_status_update_in_between_is_read_again(api, scale):
    api.put(deployment())
    api.interleave(lambda: api.put({**api.object(WEB), "status": {"readyReplicas": 1}}), method="PATCH")
    assert (await scale.run(call(to(5)))).result == {"before": 2, "after": 5}
    assert len(patches(api)) == 2


async def test_somebody_elses_scaling_in_between_is_shown_anew(api, scale):
    api.put(deployment())
    api.interleave(lambda: api.put(deployment(replicas=3)), method="PATCH")
    assert await scale.run(call(to(5))) == NotDone(0, "deployment/web changed since it was looked at")
    assert replicas(api) == 3
    assert (await scale.run(call(to(5)))).captured["before"] == 3


async def test_a_workload_that_never_rests_is_left_for_a_while_after_a_few_tries(api, scale):
    api.put(deployment())
    for count in range(9):
        api.interleave(lambda count=count: api.put({**api.object(WEB), "status": {"n": count}}), method="PATCH")
        api.inject(Fault.CONFLICT, method="PATCH")
    outcome = await scale.run(call(to(5)))
    assert isinstance(outcome, NotDone)
    assert len(patches(api)) == 5
    assert replicas(api) == 2


async def test_nothing_is_written_where_the_replicas_are_right_already(api, scale):
    api.put(deployment(replicas=5))
    outcome = await scale.run(call(to(5)))
    assert outcome.summary == "deployment/web has 5 replicas already"
    assert outcome.captured["before"] == outcome.captured["after"] == 5
    assert api.writes == []


async def test_another_workloads_autoscaler_is_no_obstacle(api, scale):
    api.put(deployment())
    api.put(autoscaler("worker"))
    assert isinstance(await scale.run(call(to(5))), Succeeded)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (to(101), "would scale deployment/web to 101, maxReplicas is 100; not scaled"),
        (to(6, max_replicas=5), "would scale deployment/web to 6, maxReplicas is 5; not scaled"),
        (to(-1), "replicas is -1; it has to be 0 or more"),
        (to("many"), "replicas is 'many'; it has to be a whole number"),
        (to("2.5"), "replicas is '2.5'; it has to be a whole number"),
    ],
)
async def test_what_cannot_be_scaled_is_refused_before_anything_is_written(api, scale, spec, told):
    api.put(deployment())
    outcome = await scale.run(call(spec))
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(told)
    assert not outcome.retryable
    assert api.writes == []


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (5, []),
        ("${params.n + 2}", []),
        ("five", ["'five' is text; write a number, or ${…} for one"]),
        (101, ["101 is not between 0 and maxReplicas (100)"]),
    ],
)
def test_replicas_that_cannot_be_right_are_told_when_the_runbook_is_checked(wanted, told):
    spec = Scale(target="deployment/web", replicas=wanted)
    assert [problem.message for check in ACTION.checks for problem in check(spec, "here")] == told


async def test_a_number_may_come_as_text(api, scale):
    api.put(deployment())
    assert (await scale.run(call(to("4")))).result["after"] == 4


async def test_a_missing_right_is_told_by_who_may_not_do_what(api, scale):
    api.put(deployment())
    api.forbid(USER, "patch", "deployments.apps")
    outcome = await scale.run(call(to(5)))
    assert (outcome.reason, outcome.retryable) == (reasons.FORBIDDEN, False)
    assert f'User "{USER}" cannot patch resource "deployments"' in outcome.message


async def test_a_namespace_that_has_not_opted_in_is_told_how_to(api, scale):
    api.put(deployment())
    api.refuse_impersonation(USER)
    outcome = await scale.run(call(to(5)))
    assert outcome.reason == reasons.FORBIDDEN
    assert "may not act as service account rb-test in prod; bind its impersonator role there" in outcome.message


async def test_a_preview_says_what_would_be_done_and_does_nothing(api, scale):
    api.put(deployment())
    preview = await scale.show(call(to(5)))
    assert preview.do == "scale deployment/web in prod from 2 to 5 replicas"
    assert preview.details["uid"] == api.object(WEB)["metadata"]["uid"]
    assert preview.in_trial == "accepted"
    assert api.writes == []
    assert replicas(api) == 2


@pytest.mark.parametrize(("changes", "accepted"), [(1, True), (4, True), (5, False)])
async def test_a_rollouts_status_update_during_the_trial_is_no_reason_to_ask_again(api, scale, changes, accepted):
    api.put(deployment())
    api.inject(Fault.CONFLICT, method="PATCH", times=changes)
    if accepted:
        assert (await scale.show(call(to(5)))).in_trial == "accepted"
    else:
        with pytest.raises(Failure, match="CONFLICT"):
            await scale.show(call(to(5)))
    assert len([request for request in api.requests if request.method == "PATCH"]) == min(changes + 1, 5)


async def test_a_preview_is_the_same_for_another_attempt(api, scale):
    api.put(deployment())
    first, second = await scale.show(call(to(5))), await scale.show(call(to(5), attempt=2))
    assert (first.do, first.details, first.digest) == (second.do, second.details, second.digest)


@pytest.mark.parametrize("spec", [to(101), Scale(target="deployment/nobody", replicas=1)])
async def test_what_cannot_be_done_cannot_be_previewed(api, scale, spec):
    api.put(deployment())
    with pytest.raises(Failure):
        await scale.show(call(spec))


async def test_a_preview_finds_a_missing_right(api, scale):
    api.put(deployment())
    api.forbid(USER, "patch", "deployments.apps")
    with pytest.raises(Failure, match="cannot patch resource"):
        await scale.show(call(to(5)))


RIGHTS = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
)


async def test_a_look_that_finds_nothing_makes_the_first_patch_fail_however_late_it_comes(apiserver: Apiserver):
    await apiserver.grant(ACCOUNT, *RIGHTS)
    path = f"/apis/apps/v1/namespaces/{apiserver.namespace}/deployments"
    await apiserver.client.create(path, deployment(namespace=apiserver.namespace, replicas=0))
    async with Cluster(apiserver.access) as cluster:
        scale = Player(ACTION, calls.clients(cluster, apiserver.access))
        begun = call(to(2), namespace=apiserver.namespace)
        shown = await scale.show(begun)
        assert isinstance(await scale.look(replace(begun, seen=shown.seen)), NotDone)
        with pytest.raises(kube.Conflict):
            await apiserver.client.json_patch(f"{path}/web", shown.thing.operations)
        assert isinstance(await scale.sent(begun, shown), NotDone)
    assert (await apiserver.client.get(f"{path}/web"))["spec"]["replicas"] == 0


async def test_there_and_back_with_no_more_rights_than_documented(apiserver: Apiserver):
    """On a real Deployment, whose controller writes its status all the while."""
    await apiserver.grant(ACCOUNT, *RIGHTS)
    path = f"/apis/apps/v1/namespaces/{apiserver.namespace}/deployments"
    await apiserver.client.create(path, deployment(namespace=apiserver.namespace, replicas=0))
    async with Cluster(apiserver.access) as cluster:
        scale = Player(ACTION, calls.clients(cluster, apiserver.access))
        done = call(to(2), namespace=apiserver.namespace)
        assert (await scale.show(done)).in_trial == "accepted"
        outcome = await scale.run(done)
        assert outcome.result == {"before": 0, "after": 2}
        assert (await scale.run(done)).captured == outcome.captured
        undone = await scale.run(undo(done, outcome))
    assert undone.result == {"before": 2, "after": 0}
    assert (await apiserver.client.get(f"{path}/web"))["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "written",
    ["[" * 5000, "[" * 5000 + "]" * 5000, "{}", "null", "7", '["x"]', "[[]]", "\\ud800", '[{"key": [], "before": 1}]',
     '[{"key":"k","incident":"i","step":"s","before":"1","after":[[]]}]'],
)  # fmt: skip
async def test_whatever_stands_in_its_annotation_a_workload_is_scaled_once(api, scale, written):
    made = deployment()
    made["metadata"]["annotations"] = {SCALED_BY: written}
    api.put(made)
    first, again = await scale.run(call(to(5))), await scale.run(call(to(5)))
    assert isinstance(first, Succeeded)
    assert again.result == first.result
    assert len(patches(api)) == 1
