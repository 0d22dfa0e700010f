"""Taking a `scale` back, and the marks by which it happens once."""

import json

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.scale import ACTION, SCALED_BY
from incident_operator.core import reasons
from incident_operator.core.action import UndoOf
from incident_operator.core.outcomes import Pending, Succeeded
from tests.actions.calls import Player, call, undo
from tests.actions.test_scale import WEB, patches, replicas, to
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment

NO_MARK = '[{"key": 1, "incident": "i", "step": "s", "before": "x", "after": 2}]'


@pytest.fixture
def scale(clients: Clients) -> Player:
    return Player(ACTION, clients)


async def test_an_undo_goes_back_to_what_was(api, scale):
    api.put(deployment())
    done = call(to(5))
    undone = await scale.run(undo(done, await scale.run(done)))
    assert undone.summary == "deployment/web scaled 5 → 2"
    assert replicas(api) == 2


async def test_an_undo_happens_once_too(api, scale):
    api.put(deployment())
    done = call(to(5))
    outcome = await scale.run(done)
    api.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await scale.run(undo(done, outcome)), Pending)
    assert (await scale.run(undo(done, outcome))).result == {"before": 5, "after": 2}
    assert len(patches(api)) == 2


async def test_an_undo_leaves_a_later_change_alone(api, scale):
    api.put(deployment())
    done = call(to(5))
    outcome = await scale.run(done)
    by_hand = api.object(WEB)
    by_hand["spec"]["replicas"] = 7
    api.put(by_hand)
    refused = await scale.run(undo(done, outcome))
    assert (refused.reason, refused.retryable) == (reasons.CHANGED_SINCE, False)
    assert refused.message == "deployment/web has 7 replicas now, not the 5 that were set; left alone"
    assert replicas(api) == 7


async def test_an_undo_leaves_another_workload_of_the_same_name_alone(api, scale):
    api.put(deployment())
    done = call(to(5))
    outcome = await scale.run(done)
    api.remove(WEB)
    api.put(deployment(replicas=5))
    refused = await scale.run(undo(done, outcome))
    assert refused.reason == reasons.CHANGED_SINCE
    assert "created again" in refused.message
    assert replicas(api) == 5


async def test_an_undo_that_knows_nothing_of_before_changes_nothing(api, scale):
    api.put(deployment())
    refused = await scale.run(call(to(5), undo_of=UndoOf("k", {})))
    assert refused.reason == reasons.CHANGED_SINCE
    assert refused.message == "what deployment/web was scaled from is not recorded; left alone"
    assert replicas(api) == 2


async def test_marks_of_other_steps_are_kept_but_not_for_ever(api, scale):
    api.put(deployment())
    for attempt in range(1, 14):
        await scale.run(call(to(attempt + 2), attempt=attempt))
    marks = json.loads(api.object(WEB)["metadata"]["annotations"][SCALED_BY])
    assert [mark["after"] for mark in marks] == list(range(6, 16))
    assert marks[-1]["incident"] == "pricing-5f2c1-1"


@pytest.mark.parametrize("junk", ["", "not json", "{}", '[{"key": 1}]', "[1]", "null", NO_MARK])
async def test_junk_in_the_annotation_is_no_mark(api, scale, junk):
    made = deployment()
    made["metadata"]["annotations"] = {SCALED_BY: junk, "kept": "yes"}
    api.put(made)
    assert isinstance(await scale.run(call(to(5))), Succeeded)
    annotations = api.object(WEB)["metadata"]["annotations"]
    assert annotations["kept"] == "yes"
    assert json.loads(annotations[SCALED_BY])[0]["after"] == 5
