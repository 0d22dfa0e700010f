"""How many requests at a time: the limit comes to rest near what the server takes well, whatever that is, and never starves."""

import random
from dataclasses import dataclass, field

import pytest

from incident_operator.kubernetes.priority import LEAST, MOST, QUEUE, TOLERANCE, GradientLimit


@dataclass
class Server:
    """Answers so many at a time at its own pace; more of them wait in it."""

    cores: float
    seconds: float = 0.003
    spread: float = 0.0
    """Up to how much longer an answer takes by chance, as a part of it."""
    chance: random.Random = field(default_factory=lambda: random.Random(20251021))

    def answer(self, under_way: int) -> float:
        return self.seconds * max(1.0, under_way / self.cores) * (1 + self.spread * self.chance.random())


def loaded(limit: GradientLimit, server: Server, answers: int = 3000, under_way: int | None = None) -> GradientLimit:
    """Ask as many at a time as the limit says (all but the place that is kept), again and again."""
    for _ in range(answers):
        at_once = under_way or limit.whole - 1
        limit = limit.after(server.answer(at_once), at_once)
    return limit


def idle(server: Server) -> GradientLimit:
    """What is known after a while in which little happened."""
    return loaded(GradientLimit(), server, 200, under_way=1)


@pytest.mark.parametrize(
    ("limit", "seconds", "under_way", "wanted"),
    [
        (GradientLimit(5.0), 0.01, 4, 5.4),
        (GradientLimit(5.0), 0.01, 2, 5.0),
        (GradientLimit(10.0, 0.01, 0.01), 0.01, 5, 10.4),
        (GradientLimit(10.0, 0.01, 0.015), 0.015, 9, 10.4),
        (GradientLimit(10.0, 0.01, 0.02), 0.02, 9, 9.9),
        (GradientLimit(10.0, 0.01, 1.0), 1.0, 9, 9.0),
        (GradientLimit(float(LEAST), 0.01, 1.0), 1.0, 3, LEAST),
        (GradientLimit(float(MOST), 0.01, 0.01), 0.01, 15, MOST),
        (GradientLimit(5.0, 0.0, 0.0), 0.0, 4, 5.4),
    ],
    ids=["first", "few", "quick", "tolerated", "slow", "a part at most", "least", "most", "no time"],
)
def test_one_answer_moves_the_limit(limit: GradientLimit, seconds: float, under_way: int, wanted: float) -> None:
    assert limit.after(seconds, under_way).exact == pytest.approx(wanted)


@pytest.mark.parametrize("cores", [2, 4, 8])
@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("began", [float(LEAST), 5.0, float(MOST)])
def test_it_comes_to_rest_near_the_knee(cores: int, spread: float, began: float) -> None:
    server = Server(cores, spread=spread)
    known = idle(server)
    limit = loaded(GradientLimit(began, known.long, known.short), server)
    rests = [(limit := loaded(limit, server, 10)).exact for _ in range(100)]
    wanted = TOLERANCE * cores + QUEUE
    assert 0.75 * wanted <= min(rests) <= max(rests) <= 1.5 * wanted


def test_on_two_cores_it_rests_where_it_was_measured_to_be_best() -> None:
    assert loaded(idle(Server(2)), Server(2)).whole in {5, 6}


def test_it_falls_when_the_server_slows_and_recovers_when_that_is_over() -> None:
    server = Server(8)
    limit = loaded(idle(server), server)
    before = limit.whole
    slow = loaded(limit, Server(8, seconds=0.03), 60)
    assert slow.whole <= before / 2
    assert loaded(slow, server, 500).whole >= before - 1


def test_it_finds_the_knee_anew_after_a_lull_where_the_server_is_slower_for_good() -> None:
    before = loaded(idle(Server(8)), Server(8))
    slower = Server(4, seconds=0.03)
    stormy = loaded(before, slower)
    assert stormy.whole < before.whole / 2
    calm = loaded(stormy, slower, 200, under_way=1)
    assert loaded(calm, slower).exact == pytest.approx(TOLERANCE * 4 + QUEUE, rel=0.5)


def test_hours_of_load_do_not_make_it_take_waiting_for_the_servers_own_pace() -> None:
    server = Server(4, spread=0.5)
    limit = loaded(idle(server), server, 50_000)
    assert limit.whole <= 1.5 * (TOLERANCE * 4 + QUEUE)


@pytest.mark.parametrize("others", [2, 8, 16])
def test_where_others_keep_the_server_busy_it_takes_less(others: int) -> None:
    limit = loaded(idle(Server(2)), Server(2))
    for _ in range(2000):
        limit = limit.after(Server(2).answer(others + limit.whole - 1), limit.whole - 1)
    assert LEAST <= limit.whole <= 5


def test_what_is_turned_away_or_not_answered_takes_a_part_of_it_and_never_all() -> None:
    limit = GradientLimit(10.0, 0.01, 0.01)
    assert limit.after_drop() == GradientLimit(7.0, 0.01, 0.01)
    for _ in range(20):
        limit = limit.after_drop()
    assert limit.whole == LEAST
    assert loaded(limit, Server(8, seconds=0.01), 300).whole > LEAST
