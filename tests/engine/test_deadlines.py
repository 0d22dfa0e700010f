"""The heap of moments: each key has one, and it is the one that counts."""

from datetime import UTC, datetime, timedelta

import pytest

from incident_operator.engine.deadlines import Deadlines
from incident_operator.engine.keys import Key

NOW = datetime(2025, 10, 21, tzinfo=UTC)
A, B = Key("prod", "a"), Key("prod", "b")


class Clockwork:
    """Deadlines with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.woken: list[Key] = []
        self.deadlines = Deadlines(lambda: self.now, self.woken.append)

    def at(self, seconds: float) -> list[Key]:
        self.now = NOW + timedelta(seconds=seconds)
        self.deadlines._wake_due()
        return self.woken


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def test_keys_are_woken_when_their_moment_has_come_and_not_before(clockwork: Clockwork) -> None:
    clockwork.deadlines.set(A, seconds(5))
    clockwork.deadlines.set(B, seconds(2))
    assert clockwork.at(1) == []
    assert clockwork.at(3) == [B]
    assert clockwork.at(5) == [B, A]


def test_a_newer_moment_replaces_the_older_one(clockwork: Clockwork) -> None:
    clockwork.deadlines.set(A, seconds(2))
    clockwork.deadlines.set(A, seconds(5))
    assert clockwork.at(3) == []
    assert clockwork.at(6) == [A]
    assert clockwork.at(9) == [A]


def test_a_moment_is_brought_forward_and_never_put_off(clockwork: Clockwork) -> None:
    clockwork.deadlines.bring_forward(A, seconds(5))
    clockwork.deadlines.bring_forward(A, seconds(9))
    clockwork.deadlines.bring_forward(A, seconds(3))
    assert clockwork.at(3) == [A]
    assert clockwork.at(10) == [A]


def test_a_forgotten_key_is_not_woken(clockwork: Clockwork) -> None:
    clockwork.deadlines.set(A, seconds(1))
    clockwork.deadlines.set(A, None)
    assert clockwork.at(2) == []


def test_moments_that_no_longer_count_do_not_pile_up(clockwork: Clockwork) -> None:
    for count in range(10_000):
        clockwork.deadlines.set(A, seconds(600 + count / 1000))
    assert len(clockwork.deadlines._heap) < 100
    assert clockwork.at(700) == [A]
