"""Alerts that resolve, come back, or go on: what is begun, left out, and closed."""

from datetime import timedelta

from core.builders import UNDO, read, runbook, scale, sql, usual
from core.simulator import World, unfinished
from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Transition

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}


def test_from_alert_to_resolved_each_effect_happens_once_and_in_order():
    world = World(usual()).go()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    world.approve().go()
    assert world.status.message.startswith("Verified. Waiting for the alert to resolve until 01:30 UTC")
    world.resolve().go()
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.status.message == "Resolved in 0s. Done: serve, rebuild, undo-serve. Approved by alice@dawsos.com."
    assert world.phases == [
        "Mitigating",
        "AwaitingApproval",
        "Remediating",
        "Verifying",
        "Restoring",
        "Resolved",
    ]


def test_writes_are_one_for_each_act_and_one_for_each_wait():
    world = World(usual()).go().approve().go().resolve().go()
    acts, waits, end = 3, 2, 1
    assert world.writes == acts + waits + end
    before = world.writes
    world.go(HOUR)
    assert world.writes == before


def test_an_alert_that_comes_back_wants_again_what_was_left_out():
    world = World(usual(verify=[read("check", until={"every": "1m", "for": "10m"}, expect="result.rows.size() > 0")]))
    world.go().resolve().go()
    assert world.states()["rebuild"] == "Skipped"
    world.fire().go()
    assert world.states()["rebuild"] == "AwaitingApproval"
    assert world.pending.changed == "the alert resolved before this started"


def test_restoring_is_not_asked_for_any_more_when_the_alert_fires_again():
    world = World(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    assert world.pending.steps == ["replay"]
    world.fire().go()
    assert world.status.pending_approval is None
    assert world.status.phase is Phase.RESTORING or world.status.phase is Phase.VERIFYING
    world.resolve().go().approve().go()
    assert world.status.phase is Phase.RESOLVED


def test_leave_to_restore_does_not_outlive_the_return_of_the_alert():
    world = World(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    world.approve()
    given = machine.decide(world.view(world.status))
    assert isinstance(given, Transition)
    world.write(world.view(given.status))
    assert world.status.approvals[-1].state is ApprovalState.ACTIVE
    world.fire().go()
    assert world.status.approvals[-1].state is ApprovalState.VOIDED
    world.resolve().go()
    assert world.done == ["serve", "rebuild"]
    assert world.pending.changed == "the alert fires again"
    world.approve().go()
    assert world.done == ["serve", "rebuild", "replay", "undo-serve"]


def test_leave_to_restore_that_comes_with_the_return_of_the_alert_is_not_used():
    world = World(usual(restore=[sql("replay", approval={})])).go().approve().go().resolve().go()
    world.approve().fire().go()
    world.resolve().go()
    assert world.done == ["serve", "rebuild"]
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_the_rest_of_a_plan_to_restore_is_asked_for_again_when_the_alert_returns_in_the_middle():
    world = World(usual(restore=[sql("drain", approval={}), sql("replay", approval={})]))
    world.script["drain"] = [unfinished(), unfinished()]
    world.go().approve().go().resolve().go().approve().go().fire().go(timedelta(minutes=1))
    world.resolve().go()
    assert world.done == ["serve", "rebuild", "drain"]
    assert world.pending.steps == ["replay"]


def test_an_alert_that_goes_on_firing_calls_a_person():
    world = World(usual()).go().approve().go(2 * HOUR)
    assert world.status.reason == reasons.ALERT_STILL_FIRING
    assert world.status.message.startswith("The alert still fires 1h after everything was done; somebody has to look.")
    world.resolve().go()
    assert world.status.phase is Phase.RESOLVED


def test_without_anything_to_verify_a_person_is_still_told_what_to_do():
    world = World(runbook(mitigate=[scale("grow")])).go(2 * HOUR)
    assert world.status.reason == reasons.ALERT_STILL_FIRING
    assert "Close this incident: kubectl annotate" in world.status.message
