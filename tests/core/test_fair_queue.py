"""Whose turn it is: the severest first, and within a severity the turn goes round the namespaces."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from incident_operator.kubernetes.fair_shares import FairQueue, Flow, in_turn

flows = st.builds(Flow, st.sampled_from(["eve", "prod", "shop"]), st.integers(0, 5))


def queue_of(*flows: tuple[str, int]) -> FairQueue[str]:
    queue = FairQueue[str]()
    for number, (namespace, level) in enumerate(flows):
        queue.push(Flow(namespace, level), f"{namespace} {number}")
    return queue


def all_of(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() or "nobody" for _ in range(len(queue))]


def test_the_severest_is_first_and_equals_of_a_namespace_go_in_the_order_in_which_they_came() -> None:
    queue = queue_of(("prod", 3), ("prod", 2), ("prod", 0), ("prod", 2))
    assert all_of(queue) == ["prod 2", "prod 1", "prod 3", "prod 0"]
    assert queue.pop() is None


def test_within_a_severity_the_turn_goes_round_the_namespaces() -> None:
    queue = queue_of(*[("eve", 2)] * 3, *[("prod", 2)] * 2, ("shop", 2))
    assert all_of(queue) == ["eve 0", "prod 3", "shop 5", "eve 1", "prod 4", "eve 2"]


def test_a_namespace_that_had_its_turn_is_the_last_of_its_round_whoever_comes() -> None:
    queue = queue_of(*[("eve", 2)] * 3)
    assert queue.pop() == "eve 0"
    queue.push(Flow("prod", 2), "prod")
    assert queue.pop() == "eve 1"
    queue.push(Flow("shop", 2), "shop")
    assert all_of(queue) == ["prod", "eve 2", "shop"]


def test_who_may_not_is_passed_over_and_keeps_its_turn() -> None:
    queue = queue_of(("eve", 0), ("eve", 2), ("prod", 2))
    assert queue.pop(lambda flow, _: flow.namespace != "eve") == "prod 2"
    assert queue.pop(lambda flow, _: flow.namespace != "eve") is None
    assert all_of(queue) == ["eve 0", "eve 1"]


def test_where_only_what_is_urgent_is_asked_for_nothing_milder_is_given() -> None:
    queue = queue_of(("prod", 2), ("prod", 1))
    assert [queue.pop(only_urgent=True), queue.pop(only_urgent=True)] == ["prod 1", None]
    assert queue.pop() == "prod 0"


def test_an_item_goes_before_the_first_that_it_is_told_to() -> None:
    queue = queue_of(("prod", 2), ("prod", 2))
    for back in ("back a", "back b"):
        queue.push(Flow("prod", 2), back, lambda other: not other.startswith("back"))
    queue.push(Flow("shop", 2), "back c", lambda other: not other.startswith("back"))
    assert all_of(queue) == ["back a", "back c", "back b", "prod 0", "prod 1"]


def test_what_is_removed_does_not_wait_any_more() -> None:
    queue = queue_of(("prod", 2), ("eve", 2), ("prod", 2))
    assert queue.remove(Flow("prod", 2), "prod 0")
    assert not queue.remove(Flow("prod", 2), "prod 0")
    assert not queue.remove(Flow("shop", 0), "prod 2")
    queue.keep(lambda item: item == "prod 2")
    assert (len(queue), all_of(queue), len(queue)) == (1, ["prod 2"], 0)


@given(st.lists(flows, max_size=40))
def test_everything_has_its_turn_once_the_severest_first_and_no_namespace_twice_while_another_waits(
    wanted: list[Flow],
) -> None:
    items = list(enumerate(wanted))
    ordered = [flow for _, flow in in_turn(items, lambda item: item[1])]
    assert Counter(ordered) == Counter(wanted)
    assert [flow.level for flow in ordered] == sorted(flow.level for flow in wanted)
    for at, (one, after) in enumerate(pairwise(ordered)):
        if one == after:
            assert {flow.namespace for flow in ordered[at:] if flow.level == one.level} == {one.namespace}
