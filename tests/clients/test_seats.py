"""Who holds how many of what all share: half while another waits, all of it where nobody does, and what is kept is for the urgent."""

import asyncio
from functools import partial

import pytest

from incident_operator.kubernetes.fair_shares import Flow, Seat, Seats

P0, P1, P2, P3 = range(4)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Holders:
    """Who asked for a place, in the order in which they got one."""

    def __init__(self, seats: Seats) -> None:
        self.seats = seats
        self.seated: list[str] = []
        self.held: dict[str, Seat] = {}

    def ask(self, namespace: str, level: int = P2, times: int = 1, *, returns: bool = False) -> None:
        for _ in range(times):
            self.seats.ask(Flow(namespace, level), self._sit, returns=returns)
        self.seats.look()

    def _sit(self, seat: Seat) -> bool:
        self.held[f"{seat.flow.namespace} {len(self.seated)}"] = seat
        self.seated.append(seat.flow.namespace)
        return True

    def leave(self, namespace: str) -> None:
        name = next(name for name in self.held if name.split()[0] == namespace)
        self.seats.leave(self.held.pop(name))

    def holds(self, namespace: str) -> int:
        return sum(name.split()[0] == namespace for name in self.held)


def test_a_namespace_alone_may_hold_all_and_one_more_waits() -> None:
    holders = Holders(Seats(4))
    holders.ask("eve", times=5)
    assert (holders.holds("eve"), holders.seats.waiting, holders.seats.used) == (4, 1, 4)
    holders.leave("eve")
    assert (holders.holds("eve"), holders.seats.waiting) == (4, 0)


@pytest.mark.parametrize("lends", [False, True])
def test_while_another_waits_none_gets_more_than_half_however_severe_it_is(lends: bool) -> None:
    holders = Holders(Seats(4, lends=lends))
    holders.ask("shop", times=4)
    holders.ask("eve", P0, times=10)
    holders.ask("prod", P3, times=10)
    for _ in range(4):
        holders.leave("shop")
    assert (holders.holds("eve"), holders.holds("prod")) == (2, 2)
    holders.leave("prod")
    assert (holders.holds("eve"), holders.holds("prod")) == (2, 2)


def test_what_a_namespace_holds_beyond_its_half_is_lent_and_others_find_theirs_at_once() -> None:
    holders = Holders(Seats(4, lends=True))
    holders.ask("eve", times=10)
    assert holders.holds("eve") == 4
    holders.ask("prod", P3, times=10)
    holders.ask("shop", P0, times=10)
    assert (holders.holds("eve"), holders.holds("prod"), holders.holds("shop")) == (4, 2, 0)
    assert holders.seats.used == holders.seats.most == 6
    for _ in range(2):
        holders.leave("eve")
    assert (holders.holds("eve"), holders.holds("shop")) == (2, 0), "only what was lent came back"
    holders.leave("eve")
    assert (holders.holds("eve"), holders.holds("shop")) == (1, 1)


def test_where_nothing_is_lent_others_wait_for_the_next_that_comes_back() -> None:
    holders = Holders(Seats(4))
    holders.ask("eve", P0, times=10)
    holders.ask("prod", P3, times=10)
    assert (holders.holds("prod"), holders.seats.most) == (0, 4)
    for _ in range(2):
        holders.leave("eve")
    assert (holders.holds("eve"), holders.holds("prod")) == (2, 2)


def test_what_is_kept_is_for_the_urgent_and_one_namespace_holds_one_of_it_while_another_waits() -> None:
    holders = Holders(Seats(2, kept=2))
    holders.ask("shop", P3, times=3)
    assert holders.holds("shop") == 2
    holders.ask("eve", P1)
    holders.ask("prod", P1)
    assert (holders.holds("eve"), holders.holds("prod")) == (1, 1)
    holders.ask("eve", P0, times=2)
    holders.ask("prod", P1)
    holders.leave("eve")
    assert (holders.holds("eve"), holders.holds("prod")) == (1, 1)
    holders.leave("prod")
    assert (holders.holds("eve"), holders.holds("prod")) == (1, 1)


def test_a_namespace_alone_may_hold_all_that_is_kept() -> None:
    holders = Holders(Seats(2, kept=2))
    holders.ask("shop", P3, times=2)
    holders.ask("eve", P0, times=3)
    assert (holders.holds("eve"), holders.seats.waiting) == (2, 1)


def test_a_kept_place_that_is_given_back_is_kept_again() -> None:
    holders = Holders(Seats(2, kept=1))
    holders.ask("shop", P3, times=3)
    holders.ask("eve", P0)
    holders.leave("eve")
    assert (holders.holds("shop"), holders.seats.waiting) == (2, 1)
    holders.leave("shop")
    assert (holders.holds("shop"), holders.seats.waiting) == (2, 0)


def test_who_may_not_begin_yet_is_passed_over_and_whoever_returns_is_not_asked() -> None:
    shut = {"eve"}
    holders = Holders(Seats(4, may_begin=lambda flow: flow.namespace not in shut))
    holders.ask("eve", P0, times=2)
    holders.ask("prod", P3, times=3)
    holders.ask("eve", P3, returns=True)
    assert holders.seated == ["prod", "prod", "prod", "eve"]
    shut.clear()
    holders.leave("prod")
    holders.seats.look()
    assert holders.holds("eve") == 2


def test_those_who_return_go_before_those_of_their_flow_who_have_not_begun_in_the_order_in_which_they_came() -> None:
    seats, order, flow = Seats(1), list[str](), Flow("prod", P2)
    busy = seats.at_once(flow)

    def sit(name: str, seat: Seat) -> bool:
        order.append(name)
        seats._unseat(seat)
        return True

    for name, returns in (("new", False), ("back a", True), ("back b", True)):
        seats.ask(flow, partial(sit, name), returns=returns)
    seats.leave(busy)
    assert order == ["back a", "back b", "new"]


def test_who_returns_is_not_forgotten_with_those_who_have_not_begun() -> None:
    holders = Holders(Seats(1))
    holders.ask("shop")
    holders.ask("eve")
    holders.ask("eve", returns=True)
    holders.seats.clear()
    assert holders.seats.waiting == 1
    holders.leave("shop")
    assert holders.seated == ["shop", "eve"]
    holders.leave("eve")
    assert holders.seats.used == 0


def test_what_must_not_wait_has_a_place_at_once_and_others_wait_the_longer() -> None:
    holders = Holders(Seats(1))
    holders.ask("shop", times=2)
    more = holders.seats.at_once(Flow("eve", P3))
    holders.leave("shop")
    assert holders.holds("shop") == 0
    holders.seats.leave(more)
    assert holders.holds("shop") == 1


def test_there_may_be_more_places_or_fewer_later() -> None:
    holders = Holders(Seats(2, kept=1))
    holders.ask("shop", P3, times=6)
    holders.seats.resize(4, 1)
    assert holders.holds("shop") == 4
    holders.seats.resize(2, 1)
    holders.leave("shop")
    holders.leave("shop")
    assert holders.holds("shop") == 2
    holders.leave("shop")
    assert (holders.holds("shop"), holders.seats.waiting) == (2, 1)


def test_nothing_is_remembered_of_those_who_have_left() -> None:
    holders = Holders(Seats(1, kept=1))
    holders.ask("shop", P3)
    holders.ask("eve", P0)
    holders.leave("shop")
    holders.leave("eve")
    assert (holders.seats._held, holders.seats._kept_held, holders.seats.used) == ({}, {}, 0)


@pytest.mark.parametrize("handed", [False, True])
async def test_who_gives_up_waiting_loses_nobody_a_place(handed: bool) -> None:
    seats = Seats(1)
    busy = seats.at_once(Flow("prod", P2))
    gives_up = asyncio.create_task(seats.wait(Flow("prod", P0)))
    after = asyncio.create_task(seats.wait(Flow("prod", P3)))
    await settle()
    if handed:
        seats.leave(busy)
    gives_up.cancel()
    if not handed:
        await settle()
        assert seats.waiting == 1
        seats.leave(busy)
    await settle()
    assert (after.done(), seats.waiting, seats.used) == (True, 0, 1)


async def test_who_gave_up_in_the_moment_before_its_turn_is_passed_over() -> None:
    seats = Seats(1)
    busy = seats.at_once(Flow("prod", P2))
    gives_up, after = (asyncio.create_task(seats.wait(Flow("prod", level))) for level in (P0, P3))
    await settle()
    gives_up.cancel()
    seats.leave(busy)
    await settle()
    assert (gives_up.cancelled(), after.done(), seats.used) == (True, True, 1)


async def test_never_more_than_so_many_hold_a_place_at_a_time() -> None:
    seats, at_once, most = Seats(8), 0, 0

    async def hold(flow: Flow) -> None:
        nonlocal at_once, most
        async with seats.taken(flow):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    wanted = [Flow(namespace, level) for level in (P3, P0, P2, P1) for namespace in ("eve", "prod")] * 25
    await asyncio.gather(*(hold(flow) for flow in wanted))
    assert (most, seats.used, seats.waiting) == (8, 0, 0)
