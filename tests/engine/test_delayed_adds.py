"""The heap of moments: each key has one, and it is the one that counts."""

from datetime import UTC, datetime, timedelta

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.engine.work_queue import DelayedAdds

NOW = datetime(2025, 10, 21, tzinfo=UTC)
A, B = ObjectKey("prod", "a"), ObjectKey("prod", "b")


class Clockwork:
    """Delayed adds with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.woken: list[ObjectKey] = []
        self.delayed = DelayedAdds(lambda: self.now, self.woken.append)

    def at(self, seconds: float) -> list[ObjectKey]:
        self.now = NOW + timedelta(seconds=seconds)
        self.delayed._wake_due()
        return self.woken


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def test_keys_are_woken_when_their_moment_has_come_and_not_before(clockwork: Clockwork) -> None:
    clockwork.delayed.set(A, seconds(5))
    clockwork.delayed.set(B, seconds(2))
    assert clockwork.at(1) == []
    assert clockwork.at(3) == [B]
    assert clockwork.at(5) == [B, A]


def test_a_newer_moment_replaces_the_older_one(clockwork: Clockwork) -> None:
    clockwork.delayed.set(A, seconds(2))
    clockwork.delayed.set(A, seconds(5))
    assert clockwork.at(3) == []
    assert clockwork.at(6) == [A]
    assert clockwork.at(9) == [A]


def test_a_moment_is_brought_forward_and_never_put_off(clockwork: Clockwork) -> None:
    clockwork.delayed.bring_forward(A, seconds(5))
    clockwork.delayed.bring_forward(A, seconds(9))
    clockwork.delayed.bring_forward(A, seconds(3))
    assert clockwork.at(3) == [A]
    assert clockwork.at(10) == [A]


def test_a_forgotten_key_is_not_woken(clockwork: Clockwork) -> None:
    clockwork.delayed.set(A, seconds(1))
    clockwork.delayed.set(A, None)
    assert clockwork.at(2) == []


def test_moments_that_no_longer_count_do_not_pile_up(clockwork: Clockwork) -> None:
    for count in range(10_000):
        clockwork.delayed.set(A, seconds(600 + count / 1000))
    assert len(clockwork.delayed._heap) < 100
    assert clockwork.at(700) == [A]
