"""Every event in every state that is near: nothing destructive unasked, nothing twice, nothing that waits for ever.

The simulator checks `invariants` at every decision on the way.
"""

import pytest

from core import exploration
from core.builders import by_hand, usual
from core.runbooks_to_explore import RUNBOOKS
from core.simulator import World

NODES = 30


@pytest.fixture(scope="module", params=RUNBOOKS)
def explored(request):
    return exploration.explore(RUNBOOKS[request.param], most=NODES)


def test_every_state_is_reached_without_breaking_a_rule(explored):
    assert len(explored.nodes) == NODES
    phases = {node.world.status.phase.value for node in explored.nodes}
    assert {"Resolved", "NeedsHuman", "Failed", "AwaitingApproval"} & phases


def test_no_key_has_two_effects_whenever_the_operator_dies(explored):
    for node in explored.nodes:
        keys = [effect.key for effect in node.world.effects]
        assert len(keys) == len(set(keys)), " > ".join(node.path)


def test_left_alone_for_a_day_it_closes_or_calls_a_person(explored):
    for node in explored.nodes:
        exploration.assert_never_stuck(node)


def test_from_everywhere_people_can_bring_it_to_an_end(explored):
    for node in explored.nodes:
        exploration.assert_can_be_brought_to_an_end(node)


def test_an_incident_opened_by_hand_closes_when_its_work_is_done():
    explored = exploration.explore(usual(), World(usual(), by_hand()), most=NODES)
    for node in explored.nodes:
        exploration.assert_can_be_brought_to_an_end(node)
    assert any(node.world.status.phase.value == "Resolved" for node in explored.nodes)
