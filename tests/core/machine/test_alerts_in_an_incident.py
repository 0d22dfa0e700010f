"""Alerts that resolve, come back, or go on: what is begun, left out, and closed."""

from datetime import timedelta

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Transition
from tests.core.builders import UNDO, read, runbook, scale, sql, usual
from tests.core.machine.simulation import Simulation, unfinished

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_from_alert_to_resolved_each_effect_happens_once_and_in_order():
    simulation = Simulation(usual()).go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL
    simulation.approve().go()
    assert simulation.status.message.startswith("Verified. Waiting for the alert to resolve until 01:30 UTC")
    simulation.resolve().go()
    assert simulation.done == ["serve", "rebuild", "undo-serve"]
    assert (
        simulation.status.message == "Resolved in 0s. Done: serve, rebuild, undo-serve. Approved by alice@dawsos.com."
    )
    assert simulation.phases == [
        "Mitigating",
        "AwaitingApproval",
        "Remediating",
        "Verifying",
        "Restoring",
        "Resolved",
    ]


def test_writes_are_one_for_each_act_and_one_for_each_wait():
    simulation = Simulation(usual()).go().approve().go().resolve().go()
    acts, waits, end = 3, 2, 1
    assert simulation.writes == acts + waits + end
    before = simulation.writes
    simulation.go(HOUR)
    assert simulation.writes == before


def test_an_alert_that_comes_back_wants_again_what_was_left_out():
    simulation = Simulation(
        usual(verify=[read("check", until={"every": "1m", "for": "10m"}, expect="result.rows.size() > 0")])
    )
    simulation.go().resolve().go()
    assert simulation.states()["rebuild"] == "Skipped"
    simulation.fire().go()
    assert simulation.states()["rebuild"] == "AwaitingApproval"
    assert simulation.pending.changed == "the alert resolved before this started"


def test_restoring_is_not_asked_for_any_more_when_the_alert_fires_again():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    assert simulation.pending.steps == ["replay"]
    simulation.fire().go()
    assert simulation.status.pending_approval is None
    assert simulation.status.phase is Phase.RESTORING or simulation.status.phase is Phase.VERIFYING
    simulation.resolve().go().approve().go()
    assert simulation.status.phase is Phase.RESOLVED


def test_leave_to_restore_does_not_outlive_the_return_of_the_alert():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    simulation.approve()
    given = machine.decide(simulation.view(simulation.status))
    assert isinstance(given, Transition)
    simulation.write(simulation.view(given.status))
    assert simulation.status.approvals[-1].state is ApprovalState.ACTIVE
    simulation.fire().go()
    assert simulation.status.approvals[-1].state is ApprovalState.VOIDED
    simulation.resolve().go()
    assert simulation.done == ["serve", "rebuild"]
    assert simulation.pending.changed == "the alert fires again"
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild", "replay", "undo-serve"]


def test_leave_to_restore_that_comes_with_the_return_of_the_alert_is_not_used():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    simulation.approve().fire().go()
    simulation.resolve().go()
    assert simulation.done == ["serve", "rebuild"]
    assert simulation.status.phase is Phase.AWAITING_APPROVAL


def test_the_rest_of_a_plan_to_restore_is_asked_for_again_when_the_alert_returns_in_the_middle():
    simulation = Simulation(usual(restore=[sql("drain", approval={}), sql("replay", approval={})]))
    simulation.script["drain"] = [unfinished(), unfinished()]
    simulation.go().approve().go().resolve().go().approve().go().fire().go(timedelta(minutes=1))
    simulation.resolve().go()
    assert simulation.done == ["serve", "rebuild", "drain"]
    assert simulation.pending.steps == ["replay"]


def test_an_alert_that_goes_on_firing_calls_a_person():
    simulation = Simulation(usual()).go().approve().go(2 * HOUR)
    assert simulation.status.reason == reasons.ALERT_STILL_FIRING
    assert simulation.status.message.startswith(
        "The alert still fires 1h after everything was done; somebody has to look."
    )
    simulation.resolve().go()
    assert simulation.status.phase is Phase.RESOLVED


def test_without_anything_to_verify_a_person_is_still_told_what_to_do():
    simulation = Simulation(runbook(mitigate=[scale("grow")])).go(2 * HOUR)
    assert simulation.status.reason == reasons.ALERT_STILL_FIRING
    assert "Close this incident: kubectl annotate" in simulation.status.message
