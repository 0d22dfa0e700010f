"""The rules that every run has to keep, whatever went wrong. Pure: a history in, findings out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from proofs.faults.history import Approval, Effect, History, Intent, Moment, Plan

CLOSED = frozenset({"Resolved", "Failed", "Suppressed"})
_WAITS = frozenset({"NeedsHuman"})
ASKS = frozenset({"NeedsHuman", "AwaitingApproval", "Verifying"})
"""Where an Incident rests that nobody attends to."""
_UNDO = "undo-"


class Kind(StrEnum):
    """What is wrong, as the table counts it."""

    DOUBLED = "doubled"
    LOST = "lost"
    STUCK = "stuck"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was not kept."""

    kind: Kind
    rule: str
    told: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.told}"


Rule = Callable[[History], Iterator[Finding]]


def check(history: History) -> list[Finding]:
    """Return everything that is wrong with a run."""
    return [finding for rule in RULES for finding in rule(history)]


def one_effect_per_key(history: History) -> Iterator[Finding]:
    """No step key has two effects."""
    seen: set[tuple[str, str]] = set()
    for effect in history.effects:
        intent = intent_of(history, effect)
        mark = (effect.step or "", effect.key or (intent.key if intent else ""))
        if mark[1] and mark in seen:
            yield Finding(Kind.DOUBLED, "one effect per step key", f"{effect.what} again under {mark[1][:12]}")
        seen.add(mark)


def never_again_while_it_holds(history: History) -> Iterator[Finding]:
    """No further attempt of a step is begun while an effect of an earlier one is there."""
    for effect in history.effects:
        own = intent_of(history, effect)
        if own is None:
            continue
        for again in history.intents:
            follows = again.step == own.step and effect.moment.precedes(again.moment)
            if follows and not _undone(history, own.step, effect.moment, again.moment):
                told = f"{own.step} was begun again although it had happened: {effect.what}"
                yield Finding(Kind.DOUBLED, "never again while it holds", told)
                break


def intent_before_effect(history: History) -> Iterator[Finding]:
    """No effect is there before a status in etcd says that its attempt runs."""
    for effect in history.effects:
        intent = intent_of(history, effect)
        if intent is None:
            yield Finding(Kind.OTHER, "intent before effect", f"{effect.what}: nothing in etcd says that it was meant")
        elif not intent.moment.precedes(effect.moment):
            yield Finding(Kind.OTHER, "intent before effect", f"{effect.what} came before the intent of {intent.step}")


def order_is_kept(history: History) -> Iterator[Finding]:
    """Steps are first begun in the order of the Runbook, and have their effect before the next one is begun.

    Undos have an order among themselves: where something fails they come early, and a person may have all tried again.
    """
    place = {name: number for number, name in enumerate(history.rules.order)}
    first = {intent.step: intent for intent in reversed(history.intents)}
    for effect in history.effects:
        own = intent_of(history, effect)
        if own is None or own.step not in place:
            continue
        for later in history.intents:
            begun = later.moment.precedes(effect.moment)
            overtook = own.moment.precedes(later.moment) or own == first[own.step]
            alike = later.step.startswith(_UNDO) == own.step.startswith(_UNDO)
            if begun and overtook and alike and place.get(later.step, -1) > place[own.step]:
                told = f"{effect.what} ({own.step}) after {later.step} had begun"
                yield Finding(Kind.OTHER, "order is kept", told)
                break


def approved_before_it_acts(history: History) -> Iterator[Finding]:
    """A step that asks begins only under a person's approval of the very plan, given in time."""
    for intent in history.intents:
        if intent.step in history.rules.asks and (why := _not_approved(history, intent)):
            yield Finding(Kind.OTHER, "approved before it acts", f"{intent.step}: {why}")


def done_as_approved(history: History) -> Iterator[Finding]:
    """What was done is what the approved plan said, unless somebody changed it after the approval."""
    for effect in history.effects:
        intent = intent_of(history, effect)
        if intent is None or intent.step not in history.rules.asks:
            continue
        approval, plan = _approved(history, intent)
        if approval is None or plan is None or _meddled_between(history, approval, effect):
            continue
        promised = plan.entries.get(intent.step, {})
        for name, value in effect.facts.items():
            if promised.get(name) != value:
                told = f"{effect.what}: {name} is {value!r}, approved was {promised.get(name)!r}"
                yield Finding(Kind.OTHER, "done as approved", told)


def nothing_begins_after_abort(history: History) -> Iterator[Finding]:
    """Once an abort is acknowledged, no attempt of anything is begun."""
    for aborted in history.aborts:
        for intent in history.intents:
            if aborted.precedes(intent.moment):
                yield Finding(Kind.OTHER, "nothing begins after abort", f"{intent.step} was begun")


def nothing_without_its_guards(history: History) -> Iterator[Finding]:
    """Once a guard of every act does not hold any more, nothing has an effect: judged by when the effect is there."""
    for ban in history.bans:
        for effect in history.effects:
            if ban.moment.precedes(effect.moment):
                told = f"{effect.what}, though {ban.why} before"
                yield Finding(Kind.OTHER, "nothing without its guards", told)


def told_as_not_done_is_never_done(history: History) -> Iterator[Finding]:
    """Once an attempt is told as not done, nothing that was sent under its key has an effect any more, however late."""
    for verdict in history.verdicts:
        for effect in history.effects:
            intent = intent_of(history, effect)
            if intent is not None and intent.key == verdict.key and verdict.moment.precedes(effect.moment):
                told = f"{effect.what}, after {verdict.step} was told as {verdict.state}"
                yield Finding(Kind.LOST, "told as not done is never done", told)


def alert_becomes_one_incident(history: History) -> Iterator[Finding]:
    """An alert that was acknowledged is an Incident in etcd, and one alone."""
    if history.acknowledged and not history.incidents:
        yield Finding(Kind.LOST, "an alert becomes one Incident", "it was acknowledged and there is none")
    if len(set(history.incidents)) > 1:
        yield Finding(Kind.DOUBLED, "an alert becomes one Incident", f"there are {', '.join(history.incidents)}")


def told_is_done(history: History) -> Iterator[Finding]:
    """A step that is told as done has had its effect."""
    if history.end is None:
        return
    happened = {intent.step for effect in history.effects if (intent := intent_of(history, effect))}
    for step, state in history.end.steps.items():
        if step in history.rules.order and state in {"Succeeded", "Undone"} and step not in happened:
            yield Finding(Kind.LOST, "told is done", f"{step} is {state}, and nothing has happened")


def done_is_told(history: History) -> Iterator[Finding]:
    """An effect that is there is never told as one that failed, or was skipped."""
    if history.end is None:
        return
    for effect in history.effects:
        intent = intent_of(history, effect)
        if intent is None or _undone(history, intent.step, effect.moment):
            continue
        state = history.end.steps.get(intent.step, "gone")
        if state in {"Failed", "Skipped", "Pending", "Rejected", "gone"}:
            yield Finding(Kind.LOST, "done is told", f"{effect.what} happened, and {intent.step} is told as {state}")


def ends_with_a_reason(history: History) -> Iterator[Finding]:
    """A run comes to an end: closed, or waiting for a person and saying why."""
    if not history.in_time:
        stands = f"{history.end.phase}: {history.end.message}" if history.end else "no Incident"
        yield Finding(Kind.STUCK, "ends with a reason", f"not within the bound; {stands}")
    elif history.end is not None and history.end.phase not in CLOSED | (_WAITS if history.attended else ASKS):
        yield Finding(Kind.STUCK, "ends with a reason", f"it rests in {history.end.phase}")
    elif history.end is not None and not (history.end.reason and history.end.message):
        yield Finding(Kind.OTHER, "ends with a reason", f"{history.end.phase} without a word")


def mitigations_are_undone_or_reported(history: History) -> Iterator[Finding]:
    """What was changed for a while is changed back, or the Incident names it."""
    if history.end is None or not history.in_time:
        return
    happened = {intent.step for effect in history.effects if (intent := intent_of(history, effect))}
    for step in sorted(history.rules.temporary & happened):
        if f"undo-{step}" in happened or step in history.end.message:
            continue
        if history.end.phase == "NeedsHuman" and history.end.undo.get(step) in {"Pending", "Failed"}:
            continue
        yield Finding(Kind.LOST, "mitigations are undone or reported", f"{step} is still in place, and nothing says so")


def scales_only_what_it_saw(history: History) -> Iterator[Finding]:
    """A scaling starts from the replicas that are there: nobody else's number is overwritten unseen."""
    for scaling in history.scalings:
        if scaling.claims is not None and scaling.claims != (scaling.before, scaling.after):
            told = f"{scaling.name} went {scaling.before} → {scaling.after}, the mark says {scaling.claims}"
            yield Finding(Kind.OTHER, "scales only what it saw", told)


RULES: tuple[Rule, ...] = (
    one_effect_per_key,
    never_again_while_it_holds,
    intent_before_effect,
    order_is_kept,
    approved_before_it_acts,
    done_as_approved,
    nothing_begins_after_abort,
    nothing_without_its_guards,
    told_as_not_done_is_never_done,
    alert_becomes_one_incident,
    told_is_done,
    done_is_told,
    ends_with_a_reason,
    mitigations_are_undone_or_reported,
    scales_only_what_it_saw,
)


def intent_of(history: History, effect: Effect) -> Intent | None:
    """Return the intent of an effect: by its key, or the last one of its step that came before it."""
    if effect.key:
        return next((intent for intent in history.intents if intent.key == effect.key), None)
    earlier = [one for one in history.intents if one.step == effect.step and one.moment.precedes(effect.moment)]
    return earlier[-1] if earlier else None


def _not_approved(history: History, intent: Intent) -> str:
    approval, plan = _approved(history, intent)
    if approval is None or plan is None:
        return "begun without an approval of a plan that holds it"
    if approval.by != approval.signed:
        return f"approved by {approval.by} in the name of {approval.signed}"
    if approval.moment.at > plan.expires:
        return "approved after the plan had expired"
    newer = [other for other in history.plans if intent.step in other.steps and plan.moment.precedes(other.moment)]
    if any(other.moment.precedes(intent.moment) for other in newer):
        return "begun under an approval although it was asked for anew"
    return ""


def _approved(history: History, intent: Intent) -> tuple[Approval | None, Plan | None]:
    """Return the last approval before an intent, with the plan that it was given for."""
    for approval in reversed(history.approvals):
        if not approval.moment.precedes(intent.moment):
            continue
        for plan in reversed(history.plans):
            right = plan.hashed.startswith(approval.token) and len(approval.token) >= 8
            if right and intent.step in plan.steps and plan.moment.precedes(approval.moment):
                return approval, plan
    return None, None


def _meddled_between(history: History, approval: Approval, effect: Effect) -> bool:
    return any(approval.moment.precedes(one.moment) and one.moment.precedes(effect.moment) for one in history.meddling)


def _undone(history: History, step: str, since: Moment, until: Moment | None = None) -> bool:
    """Tell whether an effect of a step was taken back after a moment (and before another)."""
    opposite = step.removeprefix(_UNDO) if step.startswith(_UNDO) else f"{_UNDO}{step}"
    moments = [one.moment for one in history.effects if (own := intent_of(history, one)) and own.step == opposite]
    return any(since.precedes(moment) and (until is None or moment.precedes(until)) for moment in moments)
