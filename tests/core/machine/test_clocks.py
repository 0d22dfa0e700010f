"""A clock that jumps: nothing lives longer than it says, nothing waits longer than it has to, and nothing is done twice."""

from datetime import timedelta

import pytest

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase, StepRecord
from incident_operator.api.runbook import Stage
from incident_operator.core.machine import status
from tests.core.builders import START, UNDO, job, read, runbook, sql, usual
from tests.core.machine.simulation import Simulation, failed, unfinished

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def asked() -> Simulation:
    """A plan waits for a person; it says that it does so for 30 minutes."""
    simulation = Simulation(usual()).go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL
    return simulation


@pytest.mark.parametrize("waited", [0, 10, 29], ids=lambda minutes: f"after {minutes}m")
def test_a_clock_that_goes_back_an_hour_gives_no_question_a_longer_life(waited):
    simulation = asked()
    old = simulation.pending
    simulation.now += waited * MINUTE - HOUR
    simulation.approve()  # the answer is to the question of before
    simulation.go()
    assert "rebuild" not in simulation.done
    assert simulation.pending.plan_hash != old.plan_hash, "it is asked anew"
    assert simulation.pending.expires_at == simulation.now + 30 * MINUTE
    assert "the clock went back" in simulation.pending.changed
    assert simulation.status.approvals[-1].state is ApprovalState.VOIDED
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]


def test_a_clock_that_goes_forward_an_hour_ends_a_question_and_it_is_asked_again():
    simulation = asked()
    simulation.now += HOUR
    simulation.go()
    assert simulation.status.approvals[-1].state is ApprovalState.EXPIRED
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    ("jump", "why"),
    [(HOUR, "the approval was given too long ago"), (-HOUR, "the clock went back")],
    ids=["forward", "back"],
)
def test_an_approval_in_use_covers_nothing_more_after_a_jump(jump, why):
    simulation = Simulation(usual(remediate=[job("rebuild"), job("again")])).go()
    simulation.script["rebuild"] = [unfinished(60.0)]
    simulation.approve().go()
    simulation.now += jump
    simulation.go(2 * MINUTE)
    assert "again" not in simulation.done
    voided = [record.reason for record in simulation.status.approvals if record.state is ApprovalState.VOIDED]
    assert any(why in reason for reason in voided)
    assert simulation.pending.steps == ["again"]


@pytest.mark.parametrize("seconds", [1, 4])
def test_clocks_that_differ_by_seconds_end_nothing(seconds):
    simulation = asked()
    simulation.now -= timedelta(seconds=seconds)
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]


def test_a_pause_is_over_once_the_clock_went_back_behind_the_look_that_set_it():
    simulation = Simulation(usual(mitigate=[sql("serve", undo=UNDO, retry={"attempts": 3, "backoff": "5m"})]))
    simulation.script["serve"] = [failed(retryable=True)]
    simulation.go()
    assert simulation.done == []
    simulation.now -= HOUR
    simulation.go()
    assert simulation.done == ["serve"]


def test_a_look_at_what_is_under_way_comes_though_the_clock_went_back():
    simulation = asked()
    simulation.script["rebuild"] = [unfinished(600.0)]
    simulation.approve().go()
    simulation.now -= HOUR
    simulation.go()
    assert simulation.done == ["serve", "rebuild"]


def test_a_poll_comes_though_the_clock_went_back():
    polled = read("check", expect="result.rows == []", until={"every": "5m", "for": "20m"})
    simulation = Simulation(runbook(mitigate=[sql("serve", undo=UNDO)], verify=[polled]))
    simulation.script["check"] = [failed(retryable=True)]
    simulation.go()
    assert simulation.states()["check"] != "Succeeded"
    simulation.now -= HOUR
    simulation.go()
    assert simulation.states()["check"] == "Succeeded"


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 24 * HOUR], ids=["an hour forward", "an hour back", "a day forward"])
@pytest.mark.parametrize("at", range(1, 16))
def test_wherever_the_clock_jumps_it_comes_to_an_end_and_nothing_is_done_twice(jump, at):
    simulation = Simulation(usual())
    for moment in range(1, 60):
        if simulation.status.phase in {Phase.RESOLVED, Phase.FAILED}:
            break
        if moment == at:
            simulation.now += jump
        if simulation.status.pending_approval is not None:
            simulation.approve()
        elif simulation.status.pending_answer is not None and "retry" in simulation.status.pending_answer.verbs:
            simulation.retry()
        if moment == 6:
            simulation.resolve()
        simulation.go(MINUTE)
    assert simulation.status.phase is Phase.RESOLVED
    assert sorted(simulation.done) == ["rebuild", "serve", "undo-serve"]


@pytest.mark.parametrize(
    ("not_before", "polled_at", "waits"),
    [
        (None, None, False),
        (None, START, False),
        (START + MINUTE, None, True),
        (START + MINUTE, START, True),
        (START + MINUTE, START + timedelta(seconds=5), True),
        (START + MINUTE, START + timedelta(seconds=6), False),
        (START, None, False),
    ],
)
def test_a_record_waits_for_its_moment_unless_another_clock_has_set_it(not_before, polled_at, waits):
    record = StepRecord(name="x", stage=Stage.VERIFY, action="http", not_before=not_before, polled_at=polled_at)
    assert status.waits_until(record, START) == (not_before if waits else None)
