"""Who may lead: judged by what was seen and when; two processes never may act at once, whatever their clocks say."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from incident_operator.engine.leader_election import Move, Observation, acting_until, next_move, observe

SECONDS = 15


def lease(version, holder, **spec):
    return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder, **spec}}


def test_a_lease_that_nobody_holds_is_taken():
    for free in (
        None,
        observe(lease("1", ""), None, 0, SECONDS),
        observe(lease("1", None), None, 0, 1),
    ):
        assert next_move(free, "me", 0) is Move.ACQUIRE


def test_our_own_is_renewed():
    assert next_move(observe(lease("1", "me"), None, 0, SECONDS), "me", 100) is Move.RENEW


def test_anothers_is_taken_once_no_renewal_was_seen_for_its_whole_duration():
    seen = observe(lease("1", "other", leaseDurationSeconds=15), None, 100, SECONDS)
    again = observe(lease("1", "other", leaseDurationSeconds=15), seen, 114, SECONDS)
    assert [next_move(again, "me", now) for now in (114.9, 115)] == [Move.WAIT, Move.ACQUIRE]
    renewed = observe(lease("2", "other", leaseDurationSeconds=15), again, 114, SECONDS)
    assert [next_move(renewed, "me", now) for now in (115, 128.9, 129)] == [Move.WAIT, Move.WAIT, Move.ACQUIRE]


def test_it_counts_for_as_long_as_its_holder_says_and_not_as_long_as_we_would():
    seen = observe(lease("1", "other", leaseDurationSeconds=60), None, 0, SECONDS)
    assert next_move(seen, "me", 59) is Move.WAIT
    assert observe(lease("1", "other"), None, 0, SECONDS).over_at == SECONDS


def test_what_it_says_of_times_is_not_looked_at():
    future = lease("1", "other", renewTime="2999-01-01T00:00:00.000000Z", acquireTime="1970-01-01T00:00:00.000000Z")
    past = lease("1", "other", renewTime="1970-01-01T00:00:00.000000Z")
    assert observe(future, None, 0, SECONDS) == observe(past, None, 0, SECONDS)


@dataclass
class Process:
    """One that follows the rules, with a steady clock that started at a moment of its own."""

    name: str
    offset: float
    observation: Observation | None = None
    until: float = float("-inf")

    def look(self, stored, now):
        self.observation = observe(stored, self.observation, now + self.offset, SECONDS)

    def may_act(self, now):
        return now + self.offset < self.until


@dataclass
class LeaseRace:
    """A Lease that is written only over the version that was seen."""

    processes: tuple[Process, ...]
    now: float = 0.0
    version: int = 1
    holder: str = ""
    asked: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Who has a write on its way: when it asked, and over which version."""

    def stored(self):
        return lease(str(self.version), self.holder, leaseDurationSeconds=SECONDS)

    def look(self, who):
        who.look(self.stored(), self.now)

    def ask(self, who):
        if who.observation is not None and next_move(who.observation, who.name, self.now + who.offset) is not Move.WAIT:
            self.asked[who.name] = (self.now + who.offset, int(who.observation.version))

    def answer(self, who):
        asked = self.asked.pop(who.name, None)
        if asked is not None and asked[1] == self.version:
            self.version, self.holder = self.version + 1, who.name
            self.look(who)
            who.until = acting_until(asked[0], SECONDS)


ACTS = st.tuples(st.sampled_from(["look", "ask", "answer"]), st.integers(0, 2), st.floats(0, 12))


@given(st.lists(ACTS, max_size=60), st.tuples(*[st.floats(-1e6, 1e6)] * 3))
def test_two_never_may_act_at_once_however_late_looks_and_answers_come(acts, offsets):
    race = LeaseRace(tuple(Process(name, offset) for name, offset in zip("abc", offsets, strict=True)))
    for act, number, pause in acts:
        race.now += pause
        getattr(race, act)(race.processes[number])
        assert len([who for who in race.processes if who.may_act(race.now)]) <= 1
