"""Several steps that scale one workload: a floor, nothing lowered unasked, and the baseline given back by the last who lets go."""

import json
from dataclasses import dataclass, replace
from itertools import permutations

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.scale import ACTION, SCALED_BY, Scale
from incident_operator.actions.scale_owners import BASELINE, MOST_HOLDERS
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded
from tests.actions import calls
from tests.actions.calls import Player
from tests.actions.test_scale import WEB, patches, replicas, to
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment, statefulset

FIRST, SECOND, THIRD = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abc")


def at_least(number, **more):
    return Scale(target="deployment/web", atLeast=number, **more)


def mitigation(spec, uid=FIRST, **more):
    """A call of a mitigation of one of several Incidents."""
    made = calls.call(spec, incident_uid=uid, **more)
    return replace(made, stage=Stage.MITIGATE, incident=f"web-{uid[:1]}-1")


def undo(done, outcome):
    made = calls.undo(done, outcome)
    marker = calls.MARKERS.of(done.incident_uid, Stage.RESTORE, made.step, 1)
    key = f"{done.incident_uid}/{made.step}"
    return replace(
        made, stage=Stage.RESTORE, incident=done.incident, incident_uid=done.incident_uid, marker=marker, key=key
    )


def by_hand(api, count=None, **annotations):
    made = api.object(WEB)
    made["metadata"]["annotations"] = {**made["metadata"].get("annotations", {}), **annotations}
    if count is not None:
        made["spec"]["replicas"] = count
    api.put(made)


def kept(api):
    return api.object(WEB)["metadata"].get("annotations", {}).get(BASELINE)


@pytest.fixture
def scale(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api):
    api.put(deployment())
    return api


@dataclass(frozen=True)
class Case:
    """A workload, a step, and what comes of it."""

    has: int
    spec: Scale
    stage: Stage
    ends: int
    told: str


@pytest.mark.parametrize(
    "case",
    [
        Case(8, at_least(5), Stage.MITIGATE, 8, "deployment/web has 8 replicas already"),
        Case(2, at_least(5), Stage.MITIGATE, 5, "deployment/web scaled 2 → 5"),
        Case(8, at_least("5"), Stage.REMEDIATE, 8, "deployment/web has 8 replicas already"),
        Case(8, to(5), Stage.MITIGATE, 8, "deployment/web has 8 replicas already; not lowered to 5"),
        Case(8, to("5"), Stage.MITIGATE, 8, "deployment/web has 8 replicas already; not lowered to 5"),
        Case(8, to(5, lower=True), Stage.MITIGATE, 5, "deployment/web scaled 8 → 5"),
        Case(8, to(5), Stage.REMEDIATE, 5, "deployment/web scaled 8 → 5"),
        Case(8, to(5), Stage.RESTORE, 5, "deployment/web scaled 8 → 5"),
        Case(8, to(0), Stage.MITIGATE, 0, "deployment/web scaled 8 → 0"),
        Case(8, to(0, lower=False), Stage.MITIGATE, 8, "deployment/web has 8 replicas already; not lowered to 0"),
        Case(120, at_least(50), Stage.MITIGATE, 120, "deployment/web has 120 replicas already"),
    ],
    ids=lambda case: f"{case.stage} {case.has} {case.told[-20:]}",
)
async def test_a_mitigation_never_lowers_unless_it_says_so_and_a_floor_never(api, scale, case):
    api.put(deployment(replicas=case.has))
    outcome = await scale.run(replace(mitigation(case.spec), stage=case.stage))
    assert isinstance(outcome, Succeeded)
    assert (replicas(api), outcome.summary) == (case.ends, case.told)
    assert outcome.result == {"before": case.has, "after": case.ends}
    assert len(patches(api)) == (case.has != case.ends)


async def test_a_zero_that_an_expression_brings_does_not_lower_what_the_author_did_not_say(web, scale):
    written = Scale.model_validate({"target": "deployment/web", "replicas": "${steps.a.outputs.n}"})
    rendered = Scale.model_validate({**written.model_dump(by_alias=True), "replicas": 0})
    assert (await scale.run(mitigation(rendered))).summary == "deployment/web has 2 replicas already; not lowered to 0"
    assert replicas(web) == 2


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"atLeast": 5, "replicas": 5}, "needs either replicas or atLeast (found replicas and atLeast)"),
        ({}, "needs either replicas or atLeast (found neither)"),
        ({"atLeast": 101}, "101 is not between 0 and maxReplicas (100)"),
        ({"atLeast": "five"}, "'five' is text; write a number, or ${…} for one"),
        ({"atLeast": 5, "lower": True}, "atLeast never scales down; to scale down, write replicas"),
    ],
)
def test_a_floor_that_cannot_be_right_is_told_when_the_runbook_is_checked(spec, told):
    written = Scale.model_validate({"target": "deployment/web", **spec})
    assert [problem.message for check in ACTION.checks for problem in check(written, "here")] == [told]


STEPS = {
    "2, 4, 6": [(FIRST, to(4)), (SECOND, to(6))],
    "floors": [(FIRST, at_least(6)), (SECOND, at_least(4)), (THIRD, at_least(9))],
    "up and down": [(FIRST, to(6)), (SECOND, to(1, lower=True)), (THIRD, at_least(4))],
    "to nothing": [(FIRST, to(0)), (SECOND, at_least(5))],
    "the same twice": [(FIRST, to(4)), (SECOND, to(4)), (THIRD, to(5))],
}


@pytest.mark.parametrize("lost", [False, True], ids=["", "each first reply is lost"])
@pytest.mark.parametrize(
    ("name", "order"),
    [(name, order) for name, steps in STEPS.items() for order in permutations(range(len(steps)))],
)
async def test_whoever_lets_go_first_the_last_gives_back_the_baseline(web, scale, name, order, lost):
    done = []
    for uid, spec in STEPS[name]:
        done.append((mitigation(spec, uid), await to_the_end(web, scale, mitigation(spec, uid), lost=lost)))
    for at in order:
        call, outcome = done[at]
        assert isinstance(await to_the_end(web, scale, undo(call, outcome), lost=lost), Succeeded)
    assert (replicas(web), kept(web)) == (2, None)


async def to_the_end(web, scale, call, *, lost):
    if lost:
        web.inject(Fault.REPLY_LOST, method="PATCH")
    outcome = await scale.run(call)
    return await scale.run(call) if isinstance(outcome, Pending) else outcome


async def test_the_first_who_lets_go_leaves_what_the_other_wants_and_names_it(web, scale):
    first, second = mitigation(to(4), FIRST), mitigation(to(6), SECOND)
    of_first, of_second = await scale.run(first), await scale.run(second)
    assert of_second.captured["before"] == 4
    assert of_second.captured["baseline"] == 2
    told = await scale.run(undo(first, of_first))
    assert told.summary == "deployment/web has 6 replicas already; still held by Incident web-b-1 (step act)"
    assert replicas(web) == 6
    assert (await scale.run(undo(second, of_second))).summary == "deployment/web scaled 6 → 2"


async def test_a_floor_that_is_met_only_because_another_holds_it_is_held_too(web, scale):
    first, second = mitigation(to(6), FIRST), mitigation(at_least(4), SECOND)
    of_first, of_second = await scale.run(first), await scale.run(second)
    assert of_second.summary == "deployment/web has 6 replicas already"
    assert (await scale.run(undo(first, of_first))).summary.startswith("deployment/web scaled 6 → 4")
    assert (await scale.run(undo(second, of_second))).result == {"before": 4, "after": 2}


async def test_marker_baseline_and_replicas_are_one_patch_that_tests_identity_and_version(web, scale):
    await scale.run(mitigation(to(5)))
    (patch,) = patches(web)
    tested = {operation["path"] for operation in patch.body if operation["op"] == "test"}
    assert {"/metadata/uid", "/metadata/resourceVersion", "/spec/replicas"} == tested
    annotations = web.object(WEB)["metadata"]["annotations"]
    assert json.loads(annotations[BASELINE])["replicas"] == 2
    assert len(json.loads(annotations[SCALED_BY])) == 1


async def test_an_incident_that_never_undoes_holds_what_it_set_and_a_person_takes_it_off(web, scale):
    await scale.run(mitigation(to(4), FIRST))
    second = mitigation(to(6), SECOND)
    of_second = await scale.run(second)
    undone = await scale.run(undo(second, of_second))
    assert undone.summary == "deployment/web scaled 6 → 4; still held by Incident web-a-1 (step act)"
    made = web.object(WEB)
    del made["metadata"]["annotations"][BASELINE]
    made["spec"]["replicas"] = 3
    web.put(made)
    third = mitigation(to(8), THIRD)
    await scale.run(undo(third, await scale.run(third)))
    assert (replicas(web), kept(web)) == (3, None)


async def test_a_persons_later_change_is_left_alone_by_each_and_is_the_baseline_of_the_next(web, scale):
    first, second = mitigation(to(4), FIRST), mitigation(to(6), SECOND)
    outcomes = [(first, await scale.run(first)), (second, await scale.run(second))]
    by_hand(web, 7)
    for call, outcome in outcomes:
        refused = await scale.run(undo(call, outcome))
        assert refused.reason == reasons.CHANGED_SINCE
        assert refused.message == "deployment/web has 7 replicas now, not the 6 that were set; left alone"
    third = mitigation(to(9), THIRD)
    await scale.run(undo(third, await scale.run(third)))
    assert replicas(web) == 7


@pytest.mark.parametrize("found", [2, 4])
async def test_an_undo_that_finds_what_it_would_set_is_done_and_lets_go(web, scale, found):
    first, second = mitigation(to(4), FIRST), mitigation(to(6), SECOND)
    await scale.run(first)
    outcome = await scale.run(second)
    by_hand(web, found)
    undone = await scale.run(undo(second, outcome))
    assert isinstance(undone, Succeeded)
    assert replicas(web) == found
    assert [each["uid"] for each in json.loads(kept(web))["holders"]] == [FIRST]


async def test_an_undo_of_a_version_before_that_finds_what_it_would_set_is_done(web, scale):
    done = calls.call(to(5))
    outcome = await scale.run(done)
    by_hand(web, 2)
    assert isinstance(await scale.run(calls.undo(done, outcome)), Succeeded)
    assert replicas(web) == 2


async def test_a_second_attempt_of_a_step_holds_once(web, scale):
    await scale.run(mitigation(to(4)))
    second = replace(mitigation(to(6), attempt=2), key="another")
    outcome = await scale.run(second)
    assert [each["replicas"] for each in json.loads(kept(web))["holders"]] == [6]
    assert (await scale.run(undo(second, outcome))).result == {"before": 6, "after": 2}


async def test_a_letting_go_in_between_is_shown_anew(web, scale):
    """It changes no replicas, so that neither they nor the generation tell of it."""
    first = mitigation(to(4), FIRST)
    of_first = await scale.run(first)
    of_second = await scale.run(mitigation(to(6), SECOND))
    third = mitigation(to(8), THIRD)
    preview = await scale.show(third, trial=False)
    await scale.run(undo(first, of_first))
    assert await scale.act(third, preview) == NotDone(0, "deployment/web changed since it was looked at")
    of_third = await scale.run(replace(third, key="again"))
    await scale.run(undo(third, of_third))
    assert (await scale.run(undo(mitigation(to(6), SECOND), of_second))).result["after"] == 2


async def test_so_many_may_hold_a_workload_and_no_more(web, scale):
    for at in range(MOST_HOLDERS):
        await scale.run(mitigation(at_least(at + 3), f"{at:08}"))
    writes = len(web.writes)
    refused = await scale.run(mitigation(at_least(50), "last"))
    assert isinstance(refused, Failed)
    assert "is held by Incident web-0-1 (step act)" in refused.message
    assert "and 17 more, and at most 20 steps may hold it; not scaled" in refused.message
    assert len(web.writes) == writes


FORGED = {"incident": "x", "uid": "x", "step": "s", "replicas": 2, "floor": True}


def record(number, *holders):
    return json.dumps({"replicas": number, "holders": list(holders)})


@pytest.mark.parametrize(
    "written",
    ["", "[" * 20_000, "[]", "null", "7", "{}", record(2), record(-1, FORGED), record(10**9, FORGED), record(True, FORGED),
     record(2, {**FORGED, "replicas": "2"}), record(2, {**FORGED, "floor": 1}), record(2, {**FORGED, "uid": []}),
     record(2, "x"), record(2, {**FORGED, "incident": "x" * 9999}), record(2, *[FORGED] * 21), record(500, FORGED),
     record(1, {**FORGED, "replicas": 7, "floor": False}), '{"replicas": 2, "holders": 3}', "x" * 50_000],
    ids=lambda text: text[:30],
)  # fmt: skip
async def test_whatever_a_tenant_writes_into_it_a_step_starts_from_what_there_is(web, scale, written):
    by_hand(web, **{BASELINE: written})
    done = mitigation(to(5))
    outcome = await scale.run(done)
    assert outcome.captured["baseline"] == 2
    assert isinstance(await scale.run(undo(done, outcome)), Succeeded)
    assert replicas(web) == 2


@pytest.mark.parametrize(
    "forged",
    [lambda own: record(0, own), lambda own: record(900, own), lambda own: record(2, {**FORGED, "replicas": 0, "floor": False}, own),
     lambda own: record(2, {**FORGED, "replicas": 900, "floor": False}, own)],
    ids=["a baseline of 0", "a baseline of 900", "another holds 0", "another holds 900"],
)  # fmt: skip
async def test_what_is_forged_meanwhile_sets_nothing_that_the_step_has_not_seen(web, scale, forged):
    done = mitigation(to(5, lower=True))
    outcome = await scale.run(done)
    (own,) = json.loads(kept(web))["holders"]
    by_hand(web, **{BASELINE: forged(own)})
    refused = await scale.run(undo(done, outcome))
    assert (refused.reason, replicas(web)) == (reasons.CHANGED_SINCE, 5)


async def test_what_the_others_want_beyond_what_a_step_has_seen_is_left_alone_and_told_as_that(web, scale):
    specs = [(to(8, lower=True), FIRST), (to(0, lower=True), SECOND), (to(5, lower=True), THIRD)]
    first, second, third = [(mitigation(spec, uid), await scale.run(mitigation(spec, uid))) for spec, uid in specs]
    assert isinstance(await scale.run(undo(*second)), Succeeded)
    refused = await scale.run(undo(*third))
    assert refused.message == (
        "deployment/web would be scaled 5 → 8, as Incident web-a-1 (step act) wants it, "
        "beyond what it had when this step began; left alone"
    )
    assert isinstance(await scale.run(undo(*first)), Succeeded)
    assert replicas(web) == 5


async def test_where_the_annotation_was_taken_away_an_undo_goes_back_to_what_it_captured(web, scale):
    done = mitigation(to(5))
    outcome = await scale.run(done)
    made = web.object(WEB)
    del made["metadata"]["annotations"]
    web.put(made)
    assert (await scale.run(undo(done, outcome))).result == {"before": 5, "after": 2}


async def test_a_hold_that_set_nothing_has_nothing_to_take_back_once_the_annotation_is_gone(web, scale):
    await scale.run(mitigation(to(6), FIRST))
    second = mitigation(at_least(4), SECOND)
    outcome = await scale.run(second)
    made = web.object(WEB)
    del made["metadata"]["annotations"]
    made["spec"]["replicas"] = 3
    web.put(made)
    assert isinstance(await scale.run(undo(second, outcome)), Succeeded)
    assert replicas(web) == 3


async def test_a_hold_whose_mark_a_rollout_undo_took_away_is_written_again_and_nobody_is_asked(web, scale):
    await scale.run(mitigation(to(6), FIRST))
    older = web.object(WEB)["metadata"]["annotations"]
    second = mitigation(at_least(4), SECOND)
    web.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await scale.run(second), Pending)
    made = web.object(WEB)
    made["metadata"]["annotations"] = older
    made["spec"]["template"]["metadata"]["labels"]["version"] = "older"
    web.put(made)
    assert isinstance(await scale.run(second), NotDone)
    assert isinstance(await scale.run(second), Succeeded)
    assert [each["uid"] for each in json.loads(kept(web))["holders"]] == [FIRST, SECOND]


async def test_a_statefulset_is_held_and_given_back_too(api, scale):
    api.put(statefulset("db"))
    done = mitigation(Scale(target="statefulset/db", atLeast=3))
    outcome = await scale.run(done)
    assert outcome.summary == "statefulset/db scaled 2 → 3"
    assert (await scale.run(undo(done, outcome))).result == {"before": 3, "after": 2}


async def test_a_plan_tells_the_baseline_and_a_floor(web, scale):
    await scale.run(mitigation(to(4), FIRST))
    preview = await scale.show(mitigation(at_least(6), SECOND))
    assert {"before": 4, "after": 6, "atLeast": 6, "baseline": 2}.items() <= preview.details.items()
    by_hand(web, 9)
    preview = await scale.show(mitigation(to(6), SECOND))
    assert preview.do == "deployment/web in prod stays as it is, at 9 replicas, not lowered to 6"
