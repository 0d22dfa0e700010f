"""What is kept where not all can be: the first that fit a budget, the last that were used."""

from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.texts import fitting


def test_items_are_kept_up_to_the_first_that_does_not_fit() -> None:
    assert fitting(["aa", "bbb", "cccc", "d"], len, 6) == (["aa", "bbb"], 0)


def test_what_is_left_of_the_budget_is_told_where_all_fit() -> None:
    assert fitting(["aa", "bbb"], len, 6) == (["aa", "bbb"], 1)
    assert fitting([], len, 6) == ([], 6)


def test_items_after_the_first_that_does_not_fit_are_not_even_made() -> None:
    made = []
    items = (made.append(size) or "x" * size for size in (3, 4, 5))
    assert fitting(items, len, 6) == (["xxx"], 0)
    assert made == [3, 4]


def test_the_value_that_was_not_used_for_the_longest_time_makes_room() -> None:
    cache = LRUCache[str, int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_a_value_that_is_stored_again_counts_as_used_and_takes_no_more_room() -> None:
    cache = LRUCache[str, int](2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value)
    assert [cache.get(key) for key in "abc"] == [3, None, 4]
    assert len(cache) == 2


def test_a_dropped_value_is_forgotten_and_may_be_dropped_again() -> None:
    cache = LRUCache[str, int](2)
    cache.put("a", 1)
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a") is None


def test_heavy_values_make_room_for_one_another_and_one_is_kept_whatever_it_weighs() -> None:
    cache = LRUCache[str, int](10, 100)
    for key, weight in (("a", 60), ("b", 30), ("c", 20), ("d", 500)):
        cache.put(key, weight, weight)
    assert [cache.get(key) for key in "abcd"] == [None, None, None, 500]
    for key, weight in (("e", 60), ("e", 30), ("f", 70)):
        cache.put(key, weight, weight)
    assert [cache.get(key) for key in "def"] == [None, 30, 70], "what is stored again is weighed once"
