"""`scale` happens once, and what became of it is told only where that is proven."""

import json
from dataclasses import replace

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.scale import ACTION, SCALED_BY
from incident_operator.actions.workloads import WITHDRAWN
from incident_operator.core.action import shown_marker
from incident_operator.core.outcomes import NotDone, Pending, Succeeded, Undetermined
from tests.actions.calls import Player, call, undo
from tests.actions.test_scale import WEB, patches, replicas, to
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment

CALL = call(to(5))


@pytest.fixture
def scale(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api):
    api.put(deployment())
    return api


def by_hand(api, count=None, **annotations):
    made = api.object(WEB)
    made["metadata"]["annotations"] = {**made["metadata"].get("annotations", {}), **annotations}
    made["spec"]["replicas"] = replicas(api) if count is None else count
    api.put(made)


def marks(api):
    return json.loads(api.object(WEB)["metadata"]["annotations"][SCALED_BY])


async def begun(api, scale, one=CALL):
    """The call of an act that was begun, and whose patch never arrived."""
    api.inject(Fault.DROPPED, method="PATCH")
    assert isinstance(await scale.run(one), Pending)
    return replace(one, seen=scale.intents[one.key])


async def test_the_mark_is_one_that_nobody_else_can_know_and_the_status_does_not_tell_it(web, scale):
    preview = await scale.show(CALL)
    await scale.act(CALL, preview)
    assert [mark["key"] for mark in marks(web)] == [CALL.marker]
    assert preview.seen["marker"] == shown_marker(CALL.marker)
    assert CALL.marker not in json.dumps([preview.seen, preview.bound, preview.details])


async def test_a_patch_that_arrives_twice_and_is_answered_the_second_time_is_told_as_done(web, scale):
    preview = await scale.show(CALL)
    await scale.act(CALL, preview)
    again = await scale.act(CALL, preview)
    assert isinstance(again, Succeeded)
    assert again.captured["uid"] == web.object(WEB)["metadata"]["uid"]
    assert (again.captured["before"], again.captured["after"]) == (2, 5)
    assert replicas(web) == 5


async def test_a_mark_on_another_workload_of_the_same_name_tells_nothing_of_ours(web, scale):
    preview = await scale.show(CALL)
    await scale.act(CALL, preview)
    marked = dict(web.object(WEB)["metadata"]["annotations"])
    web.remove(WEB)
    web.put(deployment())
    by_hand(web, **marked)
    assert isinstance(await scale.act(CALL, preview), NotDone)


async def test_other_replicas_since_it_was_shown_are_left_alone(web, scale):
    preview = await scale.show(CALL)
    by_hand(web, 3)
    assert await scale.act(CALL, preview) == NotDone(0, "deployment/web changed since it was looked at")
    assert replicas(web) == 3
    assert SCALED_BY not in web.object(WEB)["metadata"]["annotations"]


async def test_another_workload_of_the_same_name_is_left_alone(web, scale):
    preview = await scale.show(CALL)
    web.remove(WEB)
    web.put(deployment())
    assert isinstance(await scale.act(CALL, preview), NotDone)
    assert replicas(web) == 2


async def test_a_newer_version_with_the_same_replicas_is_scaled_as_it_was_shown(web, scale):
    preview = await scale.show(CALL)
    by_hand(web, note="mine")
    assert (await scale.act(CALL, preview)).result == {"before": 2, "after": 5}
    assert web.object(WEB)["metadata"]["annotations"]["note"] == "mine"


async def test_an_act_costs_no_look_and_a_show_without_trial_no_write(web, scale):
    await scale.show(CALL, trial=False)
    assert {request.method for request in web.requests} == {"GET"}
    preview = await scale.show(CALL, trial=False)
    before = len(web.requests)
    await scale.act(CALL, preview)
    assert [request.method for request in web.requests[before:]] == ["PATCH"]


async def test_a_forged_mark_with_the_plain_step_key_is_not_ours(web, scale):
    await begun(web, scale)
    forged = {"key": CALL.key, "incident": CALL.incident, "step": CALL.step, "before": 2, "after": 5}
    by_hand(web, **{SCALED_BY: json.dumps([forged])})
    assert isinstance(await scale.run(CALL), NotDone)
    assert isinstance(await scale.run(CALL), Succeeded)
    assert replicas(web) == 5


async def test_a_workload_that_is_gone_or_new_was_not_scaled(web, scale):
    pending = await begun(web, scale)
    web.remove(WEB)
    assert isinstance(await scale.look(pending), NotDone)
    web.put(deployment())
    assert isinstance(await scale.look(pending), NotDone)
    assert WITHDRAWN not in web.object(WEB)["metadata"].get("annotations", {})


async def test_the_first_patch_can_do_nothing_after_a_look_that_found_nothing(web, scale):
    preview = await scale.show(CALL)
    pending = replace(CALL, seen=preview.seen)
    assert await scale.look(pending) == NotDone(0, "deployment/web was not scaled")
    assert isinstance(await scale.sent(pending, preview), NotDone)
    assert replicas(web) == 2


async def test_a_patch_that_arrives_during_the_look_is_found_by_it(web, scale):
    preview = await scale.show(CALL)
    late = {**web.object(WEB), "metadata": {**web.object(WEB)["metadata"]}}
    late["metadata"]["annotations"] = {SCALED_BY: preview.thing.operations[-1]["value"][SCALED_BY]}
    late["spec"] = {**late["spec"], "replicas": 5}
    web.interleave(lambda: web.put(late), method="PATCH")
    assert (await scale.look(replace(CALL, seen=preview.seen))).result == {"before": 2, "after": 5}


async def test_a_second_begin_is_proven_anew_and_the_first_one_stays_dead(web, scale):
    first = await scale.show(CALL)
    assert isinstance(await scale.look(replace(CALL, seen=first.seen)), NotDone)
    second = await scale.show(CALL)
    assert isinstance(await scale.look(replace(CALL, seen=second.seen)), NotDone)
    assert isinstance(await scale.sent(CALL, second), NotDone)
    assert isinstance(await scale.sent(CALL, first), NotDone)
    assert replicas(web) == 2
    assert isinstance(await scale.run(CALL), Succeeded)


@pytest.mark.parametrize("written", ["[]", "", "not json", "[1]", '[{"key": 1}]', "[" * 20_000])
async def test_whatever_the_annotation_says_nothing_was_done_while_nobody_changed_the_specification(
    web, scale, written
):
    await scale.run(call(to(10), step="another"))
    pending = await begun(web, scale)
    by_hand(web, **{SCALED_BY: written})
    assert await scale.look(pending) == NotDone(0, "deployment/web was not scaled")


async def test_a_scaling_whose_mark_a_rollout_undo_took_away_is_not_told_as_undone(web, scale):
    await scale.run(call(to(10), step="another"))
    older = dict(web.object(WEB)["metadata"]["annotations"])
    web.inject(Fault.REPLY_LOST, method="PATCH")
    await scale.run(CALL)
    by_hand(web, **older)
    before = len(patches(web))
    outcome = await scale.look(replace(CALL, seen=scale.intents[CALL.key]))
    assert isinstance(outcome, Undetermined)
    assert "deployment/web was changed since" in outcome.message
    assert "scaled 10 → 5" in outcome.message
    assert len(patches(web)) == before


async def test_a_change_of_the_specification_by_another_leaves_no_proof(web, scale):
    pending = await begun(web, scale)
    await scale.run(call(to(7), step="another"))
    assert isinstance(await scale.look(pending), Undetermined)


async def test_a_rollout_undo_does_not_open_the_door_that_a_look_has_closed(web, scale):
    preview = await scale.show(CALL)
    before = dict(web.object(WEB)["metadata"].get("annotations", {}))
    assert isinstance(await scale.look(replace(CALL, seen=preview.seen)), NotDone)
    made = web.object(WEB)
    made["metadata"]["annotations"] = before
    made["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = "older"
    web.put(made)
    assert isinstance(await scale.act(CALL, preview), NotDone)
    assert replicas(web) == 2


async def test_the_undo_of_a_scaling_that_changed_nothing_changes_nothing_whoever_scaled_since(web, scale):
    none = call(to(2))
    nothing = await scale.run(none)
    by_hand(web, 6)
    assert isinstance(await scale.run(undo(none, nothing)), Succeeded)
    assert replicas(web) == 6


async def test_where_a_workload_that_changed_cannot_be_read_nothing_was_done(web, scale):
    preview = await scale.show(CALL)
    by_hand(web, note="mine")
    web.inject(Fault.INTERNAL_ERROR, method="GET")
    assert isinstance(await scale.act(CALL, preview), NotDone)
    assert replicas(web) == 2


async def test_a_workload_that_changed_and_was_deleted_since_it_was_shown_was_not_scaled(web, scale):
    preview = await scale.show(CALL)
    by_hand(web, note="mine")
    web.interleave(lambda: web.remove(WEB), method="GET")
    assert await scale.act(CALL, preview) == NotDone(0, "deployment/web changed since it was looked at")


async def test_a_look_goes_on_although_the_workload_changes_meanwhile(web, scale):
    pending = await begun(web, scale)
    web.interleave(lambda: by_hand(web, note="x"), method="PATCH")
    assert isinstance(await scale.look(pending), NotDone)


async def test_a_workload_that_never_rests_is_looked_at_again_later(web, scale):
    pending = await begun(web, scale)
    web.inject(Fault.CONFLICT, method="PATCH", times=5)
    assert isinstance(await scale.look(pending), Pending)


async def test_where_the_proof_cannot_be_sealed_nobody_knows_yet(web, scale):
    pending = await begun(web, scale)
    web.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await scale.look(pending), Pending)
    assert isinstance(await scale.look(pending), NotDone)


async def test_what_an_older_version_did_is_told_by_its_plain_key(web, scale):
    mark = {"key": CALL.key, "incident": CALL.incident, "step": CALL.step, "before": 2, "after": 5}
    by_hand(web, 5, **{SCALED_BY: json.dumps([mark])})
    outcome = await scale.look(CALL)
    assert outcome.result == {"before": 2, "after": 5}
    assert outcome.captured["uid"] == web.object(WEB)["metadata"]["uid"]
    assert web.writes == []


@pytest.mark.parametrize("gone", [True, False])
async def test_what_an_older_version_began_and_left_no_mark_of_is_for_a_person(web, scale, gone):
    if gone:
        web.remove(WEB)
    outcome = await scale.look(CALL)
    assert isinstance(outcome, Undetermined)
    assert "which an older version of the operator began" in outcome.message
    assert web.writes == []
