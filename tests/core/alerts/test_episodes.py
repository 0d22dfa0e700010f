"""Which Incident of its group an alert goes into."""

import pytest

from incident_operator.core.alerts import episodes
from incident_operator.core.alerts.episodes import Episode, Merge, Open, Plan
from tests.receiver import messages

GROUP = "d1"
A, B = messages.received(messages.alert("A")), messages.received(messages.alert("B"))
A_ENDED, B_ENDED = messages.received(messages.resolved("A")), messages.received(messages.resolved("B"))
A_AGAIN = messages.received(messages.alert("A", starts="2025-10-22T00:00:00Z"))
A_AGAIN_ENDED = messages.received(messages.resolved("A", starts="2025-10-22T00:00:00Z", ends="2025-10-22T00:10:00Z"))
A_MOVED_ENDED = messages.received(messages.resolved("A", starts="2025-10-21T00:10:00Z"))


def foreign(number: int) -> Episode:
    """One that the operator did not make."""
    return Episode(number, "", open=False, own=False)


def episode(number: int, *, closed: bool = False, firing=(), resolved=(), group=GROUP, truncated=0) -> Episode:
    ids = [tuple(each.id for each in listed) for listed in (firing, resolved)]
    return Episode(number, group, not closed, *ids, truncated)


@pytest.mark.parametrize(
    ("stored", "changes", "plan"),
    [
        pytest.param([], [A, B], Plan((Open(1, (A, B)),)), id="nothing is stored: the first Incident"),
        pytest.param([episode(1, firing=[A])], [A], Plan(), id="known"),
        pytest.param([episode(1, firing=[A])], [A, B], Plan((Merge(1, (B,)),)), id="the open one takes in"),
        pytest.param([episode(1, firing=[A])], [A_ENDED], Plan((Merge(1, (A_ENDED,)),)), id="resolved"),
        pytest.param([episode(1, resolved=[A])], [A_ENDED], Plan(), id="known to be resolved"),
        pytest.param([episode(1, resolved=[A])], [A], Plan(), id="fires too late: it has resolved"),
        pytest.param(
            [episode(2, firing=[A]), episode(1, closed=True, resolved=[A_AGAIN])],
            [A_AGAIN_ENDED],
            Plan((Merge(2, (A_AGAIN_ENDED,)),)),
            id="an end that is told again ends what began before it and was told since",
        ),
        pytest.param(
            [episode(1, firing=[A_AGAIN, B], resolved=[A])], [A_ENDED], Plan(), id="but nothing that began after it, nor another"
        ),
        pytest.param([episode(1, resolved=[A])], [A_AGAIN], Plan((Merge(1, (A_AGAIN,)),)), id="again, still open"),
        pytest.param([episode(1, closed=True, resolved=[A])], [A_AGAIN], Plan((Open(2, (A_AGAIN,)),)), id="again"),
        pytest.param([episode(1, closed=True, firing=[A])], [A], Plan(), id="a repeat after it was closed"),
        pytest.param(
            [episode(1, closed=True, firing=[A])], [A_ENDED], Plan((Merge(1, (A_ENDED,)),)), id="resolved after closing"
        ),
        pytest.param(
            [episode(2, firing=[B]), episode(1, closed=True, firing=[A])],
            [A_ENDED, B_ENDED],
            Plan((Merge(1, (A_ENDED,)), Merge(2, (B_ENDED,)))),
            id="each to the one that holds it",
        ),
        pytest.param([], [A_ENDED], Plan((), (A_ENDED,), unsure=True), id="resolved, never stored"),
        pytest.param([episode(1, firing=[A])], [B_ENDED], Plan((), (B_ENDED,), unsure=True), id="resolved, never stored here"),
        pytest.param(
            [episode(1, firing=[A])], [A_MOVED_ENDED], Plan((Merge(1, (A_MOVED_ENDED,)),), unsure=True), id="the start was moved"
        ),
        pytest.param(
            [episode(7, closed=True, resolved=[A]), episode(1, closed=True)], [B], Plan((Open(8, (B,)),)), id="next number"
        ),
        pytest.param(
            [episode(7, closed=True, resolved=[A])], [B], Plan((Open(1, (B,)),)), id="the first number: it leads to the others"
        ),
        pytest.param([episode(7, firing=[A])], [B], Plan((Merge(7, (B,)),)), id="open, though the first is gone"),
        pytest.param(
            [episode(1, group="other", firing=[A])], [A], Plan((Open(2, (A,)),)), id="another group has the name"
        ),
        pytest.param([foreign(1)], [A], Plan((Open(2, (A,)),)), id="somebody else has the first name"),
        pytest.param([foreign(1), foreign(999_999)], [A], Plan((Open(2, (A,)),)), id="somebody else's numbers do not count"),
        pytest.param(
            [episode(1, closed=True), episode(2, closed=True), foreign(3), foreign(4)], [A], Plan((Open(5, (A,)),)),
            id="numbers that somebody else has are left out",
        ),
        pytest.param([episode(2, firing=[A]), foreign(1)], [B], Plan((Merge(2, (B,)),)), id="its own open one takes in"),
        pytest.param(
            [episode(1, firing=[A]), episode(2, firing=[B])], [A_AGAIN], Plan((Merge(2, (A_AGAIN,)),)), id="newest open"
        ),
    ],
)  # fmt: skip
def test_each_alert_goes_where_it_belongs(stored, changes, plan):
    assert episodes.plan(stored, GROUP, changes, 0) == plan


def test_more_alerts_left_out_are_news_and_fewer_are_not():
    stored = [episode(1, firing=[A], truncated=3)]
    assert episodes.plan(stored, GROUP, [A], 4) == Plan((Merge(1, ()),))
    assert episodes.plan(stored, GROUP, [A], 3) == Plan()
    assert episodes.plan([episode(1, closed=True, firing=[A])], GROUP, [A], 4) == Plan()
