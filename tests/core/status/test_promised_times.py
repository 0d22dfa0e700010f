"""Promised times: met, missed or open."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import Times
from incident_operator.api.runbook import Objectives
from incident_operator.core.status import present
from tests.core.builders import START, UNDO, incident, read, sql, usual
from tests.core.machine.simulation import Simulation, failed

PROMISED = Objectives(acknowledge="5m", mitigate="15m", resolve="2h")


def after(minutes):
    return START + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("times", "now", "closed", "states"),
    [
        (Times(detected=START), 1, False, ["Pending", "Pending", "Pending"]),
        (Times(detected=START), 5, False, ["Missed", "Pending", "Pending"]),
        (Times(detected=START), 120, False, ["Missed", "Missed", "Missed"]),
        (Times(detected=START, acknowledged=after(5)), 200, False, ["Met", "Missed", "Missed"]),
        (Times(detected=START, mitigated=after(16)), 20, False, ["Missed", "Missed", "Pending"]),
        (Times(detected=START, resolved=after(4)), 4, True, ["Met", "Met", "Met"]),
        (Times(detected=START, resolved=after(121)), 121, True, ["Missed", "Missed", "Missed"]),
        (Times(detected=START, acknowledged=after(1)), 3, True, ["Met", "Missed", "Missed"]),
        (Times(), 3, False, []),
    ],
)
def test_a_promise_is_met_missed_or_open(times, now, closed, states):
    found = present.evaluate(PROMISED, times, after(now), closed=closed)
    assert [objective.state.value for objective in found] == states


def test_only_what_was_promised_is_told():
    found = present.evaluate(Objectives(resolve="1h"), Times(detected=START), START)
    assert [(objective.name, objective.deadline) for objective in found] == [("resolve", after(60))]
    assert present.next_deadline(found) == after(60)
    assert present.next_deadline([]) is None


@pytest.mark.parametrize(
    ("mitigate", "outcomes", "mitigated"),
    [
        ([sql("serve", undo=UNDO)], {}, True),
        ([sql("serve", undo=UNDO), read("served")], {}, True),
        ([read("served")], {}, False),
        ([], {}, False),
        ([sql("serve", undo=UNDO, when="false")], {}, False),
        ([sql("a", undo=UNDO), sql("b", undo=UNDO)], {"b": [failed()]}, False),
        ([sql("a", undo=UNDO), read("served")], {"served": [failed()]}, False),
    ],
)
def test_users_are_better_off_once_all_mitigations_are_in_place(mitigate, outcomes, mitigated):
    simulation = Simulation(usual(mitigate=mitigate), script=outcomes).go()
    assert (simulation.status.times.mitigated is not None) is mitigated


def test_the_first_answer_of_a_person_is_the_acknowledgement():
    simulation = Simulation(usual(), script={"rebuild": [failed()]}, now=after(3)).go().approve().go()
    simulation.now = after(9)
    simulation.retry().go().approve().go()
    assert simulation.done == ["serve", "rebuild"]
    assert simulation.status.times.acknowledged == after(3)


def test_an_incident_that_waits_for_a_person_notes_a_missed_promise():
    simulation = Simulation(usual(objectives={"acknowledge": "5m"}), incident()).go()
    assert present.next_deadline(simulation.status.objectives) == after(5)
    simulation.now = after(5)
    simulation.reconcile()
    assert simulation.status.objectives[0].state.value == "Missed"


def test_the_first_answer_of_a_person_is_the_one_that_acknowledges():
    simulation = Simulation(usual()).go()
    simulation.now = after(3)
    simulation.reject().go()
    simulation.now = after(9)
    simulation.retry().go()
    assert simulation.status.times.acknowledged == after(3)


def test_an_incident_that_does_not_say_when_it_was_created_counts_from_now():
    made = incident()
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"creation_timestamp": None})})
    assert present.times(made, after(3)).detected == after(3)
