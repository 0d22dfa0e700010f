"""What asks although it is not destructive, what an administrator lets run, and a namespace in which nothing acts unasked."""

from dataclasses import replace
from datetime import timedelta

from core.builders import UNDO, post, read, runbook, scale, sql, usual
from core.simulator import World, failed, unasked
from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.runbooks.reviews import Leave

HOUR = timedelta(hours=1)
BLOCK = post("block", protective=True)
NOTHING_ACTS = Leave(not_acting=frozenset({"prod"}))


def test_a_protective_step_asks_unless_it_is_named_as_it_is_written() -> None:
    compiled = runbook(mitigate=[BLOCK])
    assert World(compiled).go().pending.steps == ["block"]
    named = unasked(compiled, "block")
    assert named.copy().go().done == ["block"]
    changed = replace(named, compiled=runbook(mitigate=[post("block", protective=True, timeout="9s")]))
    assert changed.go().pending.steps == ["block"]
    elsewhere = replace(next(iter(named.leave.steps)), namespace="test")
    assert replace(named, leave=Leave(frozenset({elsewhere}))).go().pending.steps == ["block"]


def test_an_effect_in_restore_asks_unless_it_is_named() -> None:
    compiled = usual(restore=[sql("replay")])
    asks = World(compiled).go().approve().go().resolve().go()
    assert (asks.status.phase, asks.pending.steps) == (Phase.AWAITING_APPROVAL, ["replay"])
    assert asks.approve().go().done == ["serve", "rebuild", "replay", "undo-serve"]
    acts = unasked(compiled, "replay").go().approve().go().resolve().go()
    assert acts.done == ["serve", "rebuild", "replay", "undo-serve"]


def test_a_rejected_restore_step_does_not_hold_up_the_undos() -> None:
    world = World(usual(restore=[sql("replay")])).go().approve().go().resolve().go()
    world.reject().go()
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert world.status.phase is Phase.NEEDS_HUMAN
    assert "replay was rejected by" in world.status.message


def test_a_restore_step_that_nobody_answers_for_does_not_hold_up_the_undos() -> None:
    world = World(usual(restore=[sql("replay")])).go().approve().go().resolve().go()
    assert world.done == ["serve", "rebuild"]
    world.go(world.pending.expires_at - world.now)
    assert world.done == ["serve", "rebuild", "undo-serve"]
    assert (world.status.phase, world.pending.steps) == (Phase.AWAITING_APPROVAL, ["replay"])
    assert world.approve().go().status.phase is Phase.RESOLVED


def test_where_nothing_acts_unasked_mitigations_and_undos_ask() -> None:
    world = World(usual(remediate=[]), leave=NOTHING_ACTS).go()
    assert world.pending.steps == ["serve"]
    world.approve().go().resolve().go()
    assert (world.done, world.pending.steps) == (["serve"], ["undo-serve"])
    assert world.approve().go().done == ["serve", "undo-serve"]
    assert world.status.phase is Phase.RESOLVED


def test_where_nothing_acts_unasked_what_was_named_asks_too_and_reads_go_on() -> None:
    world = replace(unasked(runbook(diagnose=[read("look")], mitigate=[BLOCK]), "block"), leave=NOTHING_ACTS).go()
    assert (world.states()["look"], world.pending.steps) == ("Succeeded", ["block"])


def test_a_rejected_undo_calls_a_person_and_can_be_asked_for_again() -> None:
    world = World(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go().reject().go()
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
    assert "The undo of serve failed: rejected by" in world.status.message
    assert world.retry().go().pending.steps == ["undo-serve"]
    assert world.approve().go().done == ["serve", "undo-serve"]


def test_an_undo_that_nobody_answers_for_calls_a_person_in_the_end() -> None:
    world = World(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go()
    world.go(5 * HOUR)
    assert (world.status.phase, world.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert "Nobody approved undo-serve in time" in world.status.message


def test_the_undos_of_a_failure_are_asked_for_while_the_alert_fires() -> None:
    world = World(runbook(mitigate=[sql("serve", undo=UNDO), scale("grow")]), leave=NOTHING_ACTS)
    world.script["grow"] = [failed()]
    world.go().approve().go()
    while world.status.phase is Phase.AWAITING_APPROVAL:
        assert world.pending.steps in (["grow"], ["undo-serve"])
        world.approve().go()
    assert world.done == ["serve", "undo-serve"]
    assert "Undone: serve" in world.status.message


def test_an_undo_that_is_asked_for_is_not_wanted_any_more_when_the_alert_returns() -> None:
    world = World(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go()
    assert world.pending.steps == ["undo-serve"]
    world.fire().go()
    assert world.status.pending_approval is None
    assert world.done == ["serve"]
    assert world.resolve().go().pending.steps == ["undo-serve"]
