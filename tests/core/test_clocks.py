"""A clock that jumps: nothing lives longer than it says, nothing waits longer than it has to, and nothing is done twice."""

from datetime import timedelta

import pytest

from core.builders import START, UNDO, job, read, runbook, sql, usual
from core.simulator import World, failed, unfinished
from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase, StepRecord
from incident_operator.api.runbook import Stage
from incident_operator.core.machine import status

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def asked() -> World:
    """A plan waits for a person; it says that it does so for 30 minutes."""
    world = World(usual()).go()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    return world


@pytest.mark.parametrize("waited", [0, 10, 29], ids=lambda minutes: f"after {minutes}m")
def test_a_clock_that_goes_back_an_hour_gives_no_question_a_longer_life(waited):
    world = asked()
    old = world.pending
    world.now += waited * MINUTE - HOUR
    world.approve()  # the answer is to the question of before
    world.go()
    assert "rebuild" not in world.done
    assert world.pending.plan_hash != old.plan_hash, "it is asked anew"
    assert world.pending.expires_at == world.now + 30 * MINUTE
    assert "the clock went back" in world.pending.changed
    assert world.status.approvals[-1].state is ApprovalState.VOIDED
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


def test_a_clock_that_goes_forward_an_hour_ends_a_question_and_it_is_asked_again():
    world = asked()
    world.now += HOUR
    world.go()
    assert world.status.approvals[-1].state is ApprovalState.EXPIRED
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    ("jump", "why"),
    [(HOUR, "the approval was given too long ago"), (-HOUR, "the clock went back")],
    ids=["forward", "back"],
)
def test_an_approval_in_use_covers_nothing_more_after_a_jump(jump, why):
    world = World(usual(remediate=[job("rebuild"), job("again")])).go()
    world.script["rebuild"] = [unfinished(60.0)]
    world.approve().go()
    world.now += jump
    world.go(2 * MINUTE)
    assert "again" not in world.done
    voided = [record.reason for record in world.status.approvals if record.state is ApprovalState.VOIDED]
    assert any(why in reason for reason in voided)
    assert world.pending.steps == ["again"]


@pytest.mark.parametrize("seconds", [1, 4])
def test_clocks_that_differ_by_seconds_end_nothing(seconds):
    world = asked()
    world.now -= timedelta(seconds=seconds)
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


def test_a_pause_is_over_once_the_clock_went_back_behind_the_look_that_set_it():
    world = World(usual(mitigate=[sql("serve", undo=UNDO, retry={"attempts": 3, "backoff": "5m"})]))
    world.script["serve"] = [failed(retryable=True)]
    world.go()
    assert world.done == []
    world.now -= HOUR
    world.go()
    assert world.done == ["serve"]


def test_a_look_at_what_is_under_way_comes_though_the_clock_went_back():
    world = asked()
    world.script["rebuild"] = [unfinished(600.0)]
    world.approve().go()
    world.now -= HOUR
    world.go()
    assert world.done == ["serve", "rebuild"]


def test_a_poll_comes_though_the_clock_went_back():
    polled = read("check", expect="result.rows == []", until={"every": "5m", "for": "20m"})
    world = World(runbook(mitigate=[sql("serve", undo=UNDO)], verify=[polled]))
    world.script["check"] = [failed(retryable=True)]
    world.go()
    assert world.states()["check"] != "Succeeded"
    world.now -= HOUR
    world.go()
    assert world.states()["check"] == "Succeeded"


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 24 * HOUR], ids=["an hour forward", "an hour back", "a day forward"])
@pytest.mark.parametrize("at", range(1, 16))
def test_wherever_the_clock_jumps_it_comes_to_an_end_and_nothing_is_done_twice(jump, at):
    world = World(usual())
    for moment in range(1, 60):
        if world.status.phase in {Phase.RESOLVED, Phase.FAILED}:
            break
        if moment == at:
            world.now += jump
        if world.status.pending_approval is not None:
            world.approve()
        elif world.status.pending_answer is not None and "retry" in world.status.pending_answer.verbs:
            world.retry()
        if moment == 6:
            world.resolve()
        world.go(MINUTE)
    assert world.status.phase is Phase.RESOLVED
    assert sorted(world.done) == ["rebuild", "serve", "undo-serve"]


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
