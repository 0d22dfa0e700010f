"""What asks although it is not destructive, what an administrator lets run, and a namespace in which nothing acts unasked."""

from dataclasses import replace
from datetime import timedelta

from incident_operator.api.incident import Phase
from incident_operator.core import reasons
from incident_operator.core.runbooks.reviews import Leave
from tests.core.builders import UNDO, post, read, runbook, scale, sql, usual
from tests.core.machine.simulation import Simulation, failed, unasked

HOUR = timedelta(hours=1)
BLOCK = post("block", protective=True)
NOTHING_ACTS = Leave(not_acting=frozenset({"prod"}))


def test_a_protective_step_asks_unless_it_is_named_as_it_is_written() -> None:
    compiled = runbook(mitigate=[BLOCK])
    assert Simulation(compiled).go().pending.steps == ["block"]
    named = unasked(compiled, "block")
    assert named.copy().go().done == ["block"]
    changed = replace(named, compiled=runbook(mitigate=[post("block", protective=True, timeout="9s")]))
    assert changed.go().pending.steps == ["block"]
    elsewhere = replace(next(iter(named.leave.steps)), namespace="test")
    assert replace(named, leave=Leave(frozenset({elsewhere}))).go().pending.steps == ["block"]


def test_an_effect_in_restore_asks_unless_it_is_named() -> None:
    compiled = usual(restore=[sql("replay")])
    asks = Simulation(compiled).go().approve().go().resolve().go()
    assert (asks.status.phase, asks.pending.steps) == (Phase.AWAITING_APPROVAL, ["replay"])
    assert asks.approve().go().done == ["serve", "rebuild", "replay", "undo-serve"]
    acts = unasked(compiled, "replay").go().approve().go().resolve().go()
    assert acts.done == ["serve", "rebuild", "replay", "undo-serve"]


def test_a_rejected_restore_step_does_not_hold_up_the_undos() -> None:
    simulation = Simulation(usual(restore=[sql("replay")])).go().approve().go().resolve().go()
    simulation.reject().go()
    assert simulation.done == ["serve", "rebuild", "undo-serve"]
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    assert "replay was rejected by" in simulation.status.message


def test_a_restore_step_that_nobody_answers_for_does_not_hold_up_the_undos() -> None:
    simulation = Simulation(usual(restore=[sql("replay")])).go().approve().go().resolve().go()
    assert simulation.done == ["serve", "rebuild"]
    simulation.go(simulation.pending.expires_at - simulation.now)
    assert simulation.done == ["serve", "rebuild", "undo-serve"]
    assert (simulation.status.phase, simulation.pending.steps) == (Phase.AWAITING_APPROVAL, ["replay"])
    assert simulation.approve().go().status.phase is Phase.RESOLVED


def test_where_nothing_acts_unasked_mitigations_and_undos_ask() -> None:
    simulation = Simulation(usual(remediate=[]), leave=NOTHING_ACTS).go()
    assert simulation.pending.steps == ["serve"]
    simulation.approve().go().resolve().go()
    assert (simulation.done, simulation.pending.steps) == (["serve"], ["undo-serve"])
    assert simulation.approve().go().done == ["serve", "undo-serve"]
    assert simulation.status.phase is Phase.RESOLVED


def test_where_nothing_acts_unasked_what_was_named_asks_too_and_reads_go_on() -> None:
    simulation = replace(unasked(runbook(diagnose=[read("look")], mitigate=[BLOCK]), "block"), leave=NOTHING_ACTS).go()
    assert (simulation.states()["look"], simulation.pending.steps) == ("Succeeded", ["block"])


def test_a_rejected_undo_calls_a_person_and_can_be_asked_for_again() -> None:
    simulation = Simulation(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go().reject().go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.RESTORE_FAILED)
    assert "The undo of serve failed: rejected by" in simulation.status.message
    assert simulation.retry().go().pending.steps == ["undo-serve"]
    assert simulation.approve().go().done == ["serve", "undo-serve"]


def test_an_undo_that_nobody_answers_for_calls_a_person_in_the_end() -> None:
    simulation = Simulation(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go()
    simulation.go(5 * HOUR)
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, reasons.APPROVAL_EXPIRED)
    assert "Nobody approved undo-serve in time" in simulation.status.message


def test_the_undos_of_a_failure_are_asked_for_while_the_alert_fires() -> None:
    simulation = Simulation(runbook(mitigate=[sql("serve", undo=UNDO), scale("grow")]), leave=NOTHING_ACTS)
    simulation.script["grow"] = [failed()]
    simulation.go().approve().go()
    while simulation.status.phase is Phase.AWAITING_APPROVAL:
        assert simulation.pending.steps in (["grow"], ["undo-serve"])
        simulation.approve().go()
    assert simulation.done == ["serve", "undo-serve"]
    assert "Undone: serve" in simulation.status.message


def test_an_undo_that_is_asked_for_is_not_wanted_any_more_when_the_alert_returns() -> None:
    simulation = Simulation(usual(remediate=[]), leave=NOTHING_ACTS).go().approve().go().resolve().go()
    assert simulation.pending.steps == ["undo-serve"]
    simulation.fire().go()
    assert simulation.status.pending_approval is None
    assert simulation.done == ["serve"]
    assert simulation.resolve().go().pending.steps == ["undo-serve"]
