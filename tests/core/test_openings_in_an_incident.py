"""Incidents that cannot begin, or lose their Runbook."""

from datetime import timedelta

import pytest

from core.builders import UNDO, alert, incident, scale, sql, usual, view
from core.simulator import World
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine.view import Blocked

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


@pytest.mark.parametrize(
    "blocked",
    [Blocked(reasons.NO_RUNBOOK, "No runbook matches."), Blocked(reasons.RUNBOOK_NOT_READY, "It is not ready.")],
)
def test_without_a_runbook_a_person_is_called_and_nothing_is_done(blocked):
    world = World(blocked).go(24 * HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, blocked.reason)
    assert world.writes == 1
    assert world.copy().resolve().go().status.message == "The alert resolved by itself; nothing was done."
    assert world.copy().abort().go().status.phase is Phase.FAILED
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_where_there_is_no_runbook_none_is_read():
    seen = view(Blocked(reasons.NO_RUNBOOK, "No runbook matches."), incident())
    with pytest.raises(TypeError, match="no runbook is in force"):
        _ = seen.compiled


def test_a_runbook_lost_under_way_closes_nothing_and_is_taken_up_again_when_it_is_back():
    world = World(usual()).go()
    world.compiled = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.resolve().go()
    assert world.status.phase is Phase.NEEDS_HUMAN
    assert world.status.pending_approval is None
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.RESOLVED
    assert world.done == ["serve", "undo-serve"]


def test_a_runbook_lost_under_way_and_back_asks_anew_what_it_had_asked():
    world = World(usual()).go()
    world.compiled = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.go()
    assert world.status.waiting_for == "a person: the runbook is missing"
    world.compiled = usual()
    world.go().approve().go()
    assert world.done == ["serve", "rebuild"]


def test_an_invalid_parameter_calls_a_person_until_the_runbook_is_mended():
    strict = usual(parameters=[{"name": "date", "type": "date", "from": "alert.labels.pack_date"}])
    world = World(strict, incident(alert(pack_date="2025-13-41"))).go(HOUR)
    assert world.status.message.startswith('label pack_date="2025-13-41" is not a date (YYYY-MM-DD); nothing was done.')
    assert world.status.reason == reasons.PARAMETER_INVALID
    assert world.status.runbook_revision == ""
    world.compiled = usual()
    world.go()
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_an_alert_that_resolves_while_the_runbook_is_gone_leaves_no_question_behind():
    world = World(usual(mitigate=[])).go()
    assert world.pending.steps == ["rebuild"]
    world.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.resolve().go()
    assert (world.status.phase, world.status.pending_approval) == (Phase.RESOLVED, None)
    assert world.states() == {"look": "Succeeded", "rebuild": "Skipped", "check": "Skipped"}
    assert world.status.approvals[-1].reason == "the alert resolved before this started"


def test_an_alert_that_resolves_while_the_runbook_is_gone_ends_an_approval_that_was_given():
    world = World(usual(mitigate=[])).go().approve()
    world.policy_problem = "approvals cannot be trusted."
    assert world.go().status.approvals[-1].state.value == "Active"
    world.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.resolve().go()
    assert world.status.phase is Phase.RESOLVED
    assert world.status.approvals[-1].state.value == "Voided"
