"""A lock between threads: whose turn it is."""

import threading
import time

import pytest

from incident_operator.kubernetes.fair_shares import OWN, FairLock, Flow

P0, P1, P2, P3 = range(4)


def in_turn(*flows: Flow) -> list[Flow]:
    """The order in which those have their turn who asked for it in this order, while somebody held it."""
    lock, order, threads = FairLock(), list[Flow](), list[threading.Thread]()

    def take(flow: Flow) -> None:
        with lock.held(flow):
            order.append(flow)

    with lock.held(OWN):
        for flow in flows:
            threads.append(threading.Thread(target=take, args=(flow,)))
            threads[-1].start()
            while lock.waiting < len(threads):
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    return order


def test_who_asks_often_waits_for_those_who_ask_seldom():
    eve, prod, shop = (Flow(namespace, P2) for namespace in ("eve", "prod", "shop"))
    assert in_turn(eve, eve, eve, prod, shop, prod) == [eve, prod, shop, eve, prod, eve]


def test_the_severest_is_next_whoever_came_before():
    mild, severe, worst = Flow("eve", P3), Flow("prod", P1), Flow("shop", P0)
    assert in_turn(mild, mild, severe, worst, severe) == [worst, severe, severe, mild, mild]


def test_only_one_holds_it_at_a_time():
    lock, holders, most = FairLock(), [], []

    def take(number: int) -> None:
        with lock.held(Flow(f"ns-{number % 3}", number % 2)):
            holders.append(number)
            most.append(len(holders))
            time.sleep(0.001)
            holders.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 24


def test_it_is_free_again_after_a_failure():
    lock = FairLock()
    with pytest.raises(ZeroDivisionError), lock.held(Flow("a", P2)):
        1 / 0  # noqa: B018
    with lock.held(Flow("b", P2)):
        assert lock.waiting == 0
