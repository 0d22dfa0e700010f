"""The checker, rule by rule: a history that breaks it, and one that looks like it and is innocent."""

from dataclasses import replace

import pytest

from proofs.faults import checker
from proofs.faults.checker import Kind
from proofs.faults.history import (
    Approval,
    Ban,
    Effect,
    End,
    History,
    Intent,
    Interference,
    Moment,
    Plan,
    Rules,
    Scaling,
    Verdict,
)

RULES = Rules(order=("scale", "wipe", "undo-scale"), asks=frozenset({"wipe"}), temporary=frozenset({"scale"}))


def at(number: int) -> Moment:
    """A moment that etcd knows."""
    return Moment(float(number), number)


def by_clock(number: float) -> Moment:
    """A moment that only the clock knows."""
    return Moment(number)


SCALE, WIPE, UNDO = Intent("scale", "k1", at(10)), Intent("wipe", "k2", at(40)), Intent("undo-scale", "k3", at(60))
SCALED, WIPED = Effect("scaled", at(11), "k1"), Effect("wiped", by_clock(41.5), "k2", facts={"inTrial": "1 row"})
UNDONE = Effect("scaled back", at(61), "k3")
PLAN = Plan("abcdef0123456789", at(20), 100.0, ("wipe",), {"wipe": {"inTrial": "1 row"}})
APPROVED = Approval("abcdef01", "alice", "alice", at(30))
END = End("Resolved", "Done", "All is well.", {"scale": "Undone", "wipe": "Succeeded", "undo-scale": "Succeeded"})
GOOD = History(
    rules=RULES,
    intents=(SCALE, WIPE, UNDO),
    effects=(SCALED, WIPED, UNDONE),
    plans=(PLAN,),
    approvals=(APPROVED,),
    end=END,
)
HALTED = End(
    "NeedsHuman", "StepFailed", "Step wipe failed.", {"scale": "Succeeded", "wipe": "Failed"}, {"scale": "Pending"}
)
STOPPED = replace(GOOD, intents=(SCALE,), effects=(SCALED,), plans=(), approvals=(), end=HALTED)


def test_a_run_in_which_all_went_well_has_no_findings() -> None:
    assert checker.check(GOOD) == []
    assert checker.check(STOPPED) == []


BROKEN = {
    "two effects under one key": (
        checker.one_effect_per_key, Kind.DOUBLED,
        replace(GOOD, effects=(*GOOD.effects, replace(SCALED, moment=at(12)))),
    ),
    "two effects without a key after one intent": (
        checker.one_effect_per_key, Kind.DOUBLED,
        replace(GOOD, effects=(Effect("a", by_clock(41), step="wipe"), Effect("b", by_clock(42), step="wipe"))),
    ),
    "another attempt while the first one holds": (
        checker.never_again_while_it_holds, Kind.DOUBLED,
        replace(GOOD, intents=(SCALE, Intent("scale", "k1b", at(15)), WIPE, UNDO)),
    ),
    "an effect after its Incident was aborted": (
        checker.nothing_without_its_guards, Kind.OTHER, replace(GOOD, bans=(Ban("it was aborted", at(41)),)),
    ),
    "an effect after its attempt was told as not done": (
        checker.told_as_not_done_is_never_done, Kind.LOST,
        replace(GOOD, verdicts=(Verdict("wipe", "k2", "Pending", at(41)),)),
    ),
    "an effect that nothing in etcd tells of": (
        checker.intent_before_effect, Kind.OTHER, replace(GOOD, intents=(SCALE, UNDO)),
    ),
    "an effect before its intent, by etcd": (
        checker.intent_before_effect, Kind.OTHER, replace(GOOD, effects=(replace(SCALED, moment=at(9)),)),
    ),
    "an effect before its intent, by the clock": (
        checker.intent_before_effect, Kind.OTHER, replace(GOOD, effects=(replace(WIPED, moment=by_clock(39.9)),)),
    ),
    "an effect without a key before any intent": (
        checker.intent_before_effect, Kind.OTHER, replace(GOOD, effects=(Effect("a", by_clock(39), step="wipe"),)),
    ),
    "an effect after the next step has begun": (
        checker.order_is_kept, Kind.OTHER, replace(GOOD, effects=(replace(SCALED, moment=at(45)),)),
    ),
    "the second step first": (
        checker.order_is_kept, Kind.OTHER,
        replace(GOOD, intents=(WIPE, replace(SCALE, moment=at(45)), UNDO), effects=(replace(SCALED, moment=at(46)),)),
    ),
    "no approval": (checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, approvals=())),
    "approved too late": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, approvals=(replace(APPROVED, moment=at(41)),)),
    ),
    "approved after it expired": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, plans=(replace(PLAN, expires=29.0),)),
    ),
    "approved another plan": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, approvals=(replace(APPROVED, token="99999999"),)),
    ),
    "approved by a token that is no token": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, approvals=(replace(APPROVED, token="ab"),)),
    ),
    "approved a plan without the step": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, plans=(replace(PLAN, steps=("other",)),)),
    ),
    "approved in somebody's name": (
        checker.approved_before_it_acts, Kind.OTHER, replace(GOOD, approvals=(replace(APPROVED, by="mallory"),)),
    ),
    "begun although it was asked for anew": (
        checker.approved_before_it_acts, Kind.OTHER,
        replace(GOOD, plans=(PLAN, replace(PLAN, hashed="fedcba9876543210", moment=at(35)))),
    ),
    "done otherwise than approved": (
        checker.done_as_approved, Kind.OTHER, replace(GOOD, effects=(replace(WIPED, facts={"inTrial": "9 rows"}),)),
    ),
    "begun after the abort": (checker.nothing_begins_after_abort, Kind.OTHER, replace(GOOD, aborts=(at(35),))),
    "no Incident of an alert that was acknowledged": (
        checker.alert_becomes_one_incident, Kind.LOST, replace(GOOD, incidents=(), end=None),
    ),
    "two Incidents of one alert": (
        checker.alert_becomes_one_incident, Kind.DOUBLED, replace(GOOD, incidents=("a-1", "a-2")),
    ),
    "told as done, and nothing happened": (
        checker.told_is_done, Kind.LOST, replace(GOOD, effects=(SCALED, UNDONE)),
    ),
    "done, and told as failed": (
        checker.done_is_told, Kind.LOST,
        replace(GOOD, end=replace(END, steps={**END.steps, "wipe": "Failed"})),
    ),
    "no end in time": (checker.ends_with_a_reason, Kind.STUCK, replace(GOOD, in_time=False)),
    "rests in a phase that is no end": (
        checker.ends_with_a_reason, Kind.STUCK, replace(GOOD, end=replace(END, phase="Mitigating")),
    ),
    "ends without a word": (checker.ends_with_a_reason, Kind.OTHER, replace(GOOD, end=replace(END, message=""))),
    "closed with a mitigation in place": (
        checker.mitigations_are_undone_or_reported, Kind.LOST,
        replace(GOOD, intents=(SCALE, WIPE), effects=(SCALED, WIPED)),
    ),
    "stopped, and forgot the mitigation": (
        checker.mitigations_are_undone_or_reported, Kind.LOST, replace(STOPPED, end=replace(HALTED, undo={})),
    ),
    "scaled from a number that was not there": (
        checker.scales_only_what_it_saw, Kind.OTHER, replace(GOOD, scalings=(Scaling("web", 3, 5, "k1", (2, 5)),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_found_by_its_rule(case: str) -> None:
    rule, kind, history = BROKEN[case]
    found = list(rule(history))
    assert [one.kind for one in found[:1]] == [kind]
    assert found[0] in checker.check(history)


INNOCENT = {
    "the same key in two Incidents' steps of other names": replace(
        GOOD, effects=(*GOOD.effects[:2], UNDONE), intents=(SCALE, WIPE, UNDO)
    ),
    "two attempts without a key, one effect each": replace(
        GOOD,
        intents=(SCALE, WIPE, Intent("wipe", "k2b", at(50)), UNDO),
        effects=(SCALED, Effect("b", by_clock(51), step="wipe"), UNDONE),
    ),
    "tried again after it was undone": replace(
        GOOD,
        intents=(SCALE, Intent("undo-scale", "k0", at(12)), Intent("scale", "k1b", at(15)), WIPE, UNDO),
        effects=(SCALED, Effect("back", at(13), "k0"), Effect("scaled", at(16), "k1b"), WIPED, UNDONE),
    ),
    "a failed attempt that had no effect, and another": replace(
        GOOD, intents=(Intent("scale", "k0", at(5)), SCALE, WIPE, UNDO)
    ),
    "changed by somebody after the approval": replace(
        GOOD,
        effects=(SCALED, replace(WIPED, facts={"inTrial": "9 rows"}), UNDONE),
        meddling=(Interference("a row", at(35)),),
    ),
    "approved anew": replace(
        GOOD,
        plans=(PLAN, replace(PLAN, hashed="fedcba9876543210", moment=at(33))),
        approvals=(APPROVED, replace(APPROVED, token="fedcba98", moment=at(35))),
    ),
    "a guard that does not hold after all was done": replace(GOOD, bans=(Ban("its alert had resolved", at(62)),)),
    "told as not done, and done by another attempt": replace(
        GOOD,
        intents=(SCALE, Intent("wipe", "k0", at(35)), WIPE, UNDO),
        verdicts=(Verdict("wipe", "k0", "Pending", at(38)),),
    ),
    "it rests with a question that nobody attends to": replace(
        STOPPED,
        rules=replace(RULES, temporary=frozenset()),
        end=replace(HALTED, phase="AwaitingApproval"),
        attended=False,
    ),
    "aborted after all had begun": replace(GOOD, aborts=(at(65),)),
    "not acknowledged, and no Incident": replace(
        GOOD, acknowledged=False, incidents=(), intents=(), effects=(), end=None
    ),
    "stopped, and says that the mitigation is to be undone": STOPPED,
    "aborted, and names the mitigation": replace(
        STOPPED, end=End("Failed", "Aborted", "Still in place, not undone: scale.", {"scale": "Succeeded"})
    ),
    "may or may not have happened": replace(
        STOPPED, end=replace(HALTED, steps={"scale": "Succeeded", "wipe": "Unknown"})
    ),
    "scaled from what was there": replace(GOOD, scalings=(Scaling("web", 2, 5, "k1", (2, 5)),)),
}


@pytest.mark.parametrize("case", INNOCENT)
def test_an_innocent_history_has_no_findings(case: str) -> None:
    assert checker.check(INNOCENT[case]) == []


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BROKEN.values()} == set(checker.RULES)
