"""Incidents that cannot begin, or lose their Runbook."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine.view import Blocked
from tests.core.builders import UNDO, alert, incident, scale, sql, usual, view
from tests.core.machine.simulation import Simulation

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


@pytest.mark.parametrize(
    "blocked",
    [Blocked(reasons.NO_RUNBOOK, "No runbook matches."), Blocked(reasons.RUNBOOK_NOT_READY, "It is not ready.")],
)
def test_without_a_runbook_a_person_is_called_and_nothing_is_done(blocked):
    simulation = Simulation(blocked).go(24 * HOUR)
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, blocked.reason)
    assert simulation.writes == 1
    assert simulation.copy().resolve().go().status.message == "The alert resolved by itself; nothing was done."
    assert simulation.copy().abort().go().status.phase is Phase.FAILED
    simulation.compiled = usual()
    simulation.go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL


def test_where_there_is_no_runbook_none_is_read():
    seen = view(Blocked(reasons.NO_RUNBOOK, "No runbook matches."), incident())
    with pytest.raises(TypeError, match="no runbook is in force"):
        _ = seen.compiled


def test_a_runbook_lost_under_way_closes_nothing_and_is_taken_up_again_when_it_is_back():
    simulation = Simulation(usual()).go()
    simulation.compiled = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.resolve().go()
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    assert simulation.status.pending_approval is None
    simulation.compiled = usual()
    simulation.go()
    assert simulation.status.phase is Phase.RESOLVED
    assert simulation.done == ["serve", "undo-serve"]


def test_a_runbook_lost_under_way_and_back_asks_anew_what_it_had_asked():
    simulation = Simulation(usual()).go()
    simulation.compiled = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.go()
    assert simulation.status.waiting_for == "a person: the runbook is missing"
    simulation.compiled = usual()
    simulation.go().approve().go()
    assert simulation.done == ["serve", "rebuild"]


def test_an_invalid_parameter_calls_a_person_until_the_runbook_is_mended():
    strict = usual(parameters=[{"name": "date", "type": "date", "from": "alert.labels.pack_date"}])
    simulation = Simulation(strict, incident(alert(pack_date="2025-13-41"))).go(HOUR)
    assert simulation.status.message.startswith(
        'label pack_date="2025-13-41" is not a date (YYYY-MM-DD); nothing was done.'
    )
    assert simulation.status.reason == reasons.PARAMETER_INVALID
    assert simulation.status.runbook_revision == ""
    simulation.compiled = usual()
    simulation.go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL


def test_an_alert_that_resolves_while_the_runbook_is_gone_leaves_no_question_behind():
    simulation = Simulation(usual(mitigate=[])).go()
    assert simulation.pending.steps == ["rebuild"]
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.resolve().go()
    assert (simulation.status.phase, simulation.status.pending_approval) == (Phase.RESOLVED, None)
    assert simulation.states() == {"look": "Succeeded", "rebuild": "Skipped", "check": "Skipped"}
    assert simulation.status.approvals[-1].reason == "the alert resolved before this started"


def test_an_alert_that_resolves_while_the_runbook_is_gone_ends_an_approval_that_was_given():
    simulation = Simulation(usual(mitigate=[])).go().approve()
    simulation.policy_problem = "approvals cannot be trusted."
    assert simulation.go().status.approvals[-1].state.value == "Active"
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.resolve().go()
    assert simulation.status.phase is Phase.RESOLVED
    assert simulation.status.approvals[-1].state.value == "Voided"
