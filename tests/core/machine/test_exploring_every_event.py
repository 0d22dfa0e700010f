"""Every event in every state that is near; `make explore` goes through all of them with the same machinery.

The rules are in `hack/proofs/explore/rules.py` and `invariants.py`, and hold at every decision on the way.
"""

import pytest

from incident_operator.core.machine import alert_changes, answers, carry_out, in_flight, machine, undoing
from proofs.explore import endings
from proofs.explore.__main__ import starts
from proofs.explore.models import BY_WORD, RUNBOOKS
from proofs.explore.nodes import told
from proofs.explore.walk import walk
from tests.core.builders import usual
from tests.core.machine.simulation import Simulation

STATES = 150
SOME = 15


@pytest.mark.parametrize("name", starts())
def test_every_state_that_is_near_is_reached_without_breaking_a_rule(name):
    found = walk(starts()[name], most=STATES)
    assert found.broken == {}
    assert found.states == STATES


@pytest.mark.parametrize("name", [*RUNBOOKS, *(f"{name}, by word" for name in BY_WORD)])
def test_from_everywhere_people_can_bring_it_to_an_end(name):
    resting = []
    walk(starts()[name], most=STATES, resting=resting.append)
    for node in resting[:: max(1, len(resting) // SOME)]:
        endings.assert_can_be_brought_to_an_end(node.simulation, told(node.path))
        endings.assert_can_be_brought_to_an_end(node.simulation, told(node.path), by_people=True)


@pytest.mark.parametrize(
    "rung",
    [
        answers.aborted,
        answers.approved,
        answers.expired,
        alert_changes.acknowledgement,
        alert_changes.over,
        undoing.approval_used_up,
        alert_changes.alert_came_back,
        alert_changes.alert_went_away,
        alert_changes.halted,
        in_flight.effect_under_way,
        in_flight.effect_unknown,
    ],
    ids=lambda rung: rung.__name__,
)
def test_a_machine_that_lacks_a_rung_breaks_a_rule(rung, monkeypatch):
    monkeypatch.setattr(machine, "CHAIN", tuple(each for each in machine.CHAIN if each is not rung))
    by_word = starts()["one mitigation, by word"]
    simulations = Simulation(usual()), Simulation(RUNBOOKS["keyed calls, one of them protective"]), by_word
    assert any(walk(simulation, most=2500, enough=1).broken for simulation in simulations), "no rule noticed"


def test_a_machine_that_forgets_an_earlier_try_of_a_keyed_call_breaks_a_rule(monkeypatch):
    monkeypatch.setattr(carry_out, "outcome_of_another_try", lambda outcome: outcome)
    found = walk(starts()["keyed calls, one of them protective, unasked"], most=2500, enough=2)
    assert {"what may have happened is not begun again", "what may have happened is not told as failed"} <= {
        *found.broken
    }


def test_a_small_machine_is_walked_to_its_end():
    found = walk(Simulation(usual(mitigate=[], remediate=[])))
    assert found.complete
    assert found.broken == {}
    assert {"Resolved", "NeedsHuman", "Failed"} <= found.ends.keys()
