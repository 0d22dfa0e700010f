"""A lock that goes round those who ask for it."""

import threading
import time

import pytest

from incident_operator.clients.fair_lock import FairLock


def test_who_asks_often_waits_for_those_who_ask_seldom():
    lock, order, threads = FairLock(), [], []

    def take(who: str) -> None:
        with lock.held(who):
            order.append(who)

    with lock.held("test"):
        for who in ("eve", "eve", "eve", "prod", "shop", "prod"):
            threads.append(threading.Thread(target=take, args=(who,)))
            threads[-1].start()
            while lock.waiting < len(threads):
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == ["eve", "prod", "shop", "eve", "prod", "eve"]


def test_it_is_free_again_after_a_failure():
    lock = FairLock()
    with pytest.raises(ZeroDivisionError), lock.held("a"):
        1 / 0  # noqa: B018
    with lock.held("b"):
        assert lock.waiting == 0
