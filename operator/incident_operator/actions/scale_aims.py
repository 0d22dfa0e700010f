"""What a `scale`, or its undo, makes of a workload as it stands. Pure.

A mitigation holds the workload until it is undone (`actions/baseline.py`), and never lowers it unless the step says so: whoever
had more replicas had a reason. A step of another stage sets what it says, which its approval is for, and holds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from incident_operator.actions import baseline, kube_patches
from incident_operator.actions.baseline import BASELINE, Baseline, Holder
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons
from incident_operator.core.action import Call
from incident_operator.core.errors import Failure, Unusable
from incident_operator.core.machine import keys
from incident_operator.core.outcomes import Json
from incident_operator.core.texts import counted

if TYPE_CHECKING:
    from incident_operator.actions.scale import Scale


@dataclass(frozen=True, slots=True)
class Aim:
    """What a workload is to have afterwards."""

    before: int
    after: int
    kept: str | None
    """The text of its annotation `incidents.dev/baseline` afterwards; None for none."""
    changes: bool = True
    """Whether anything is to be written at all."""
    note: str = ""
    """What people should know beside the numbers; empty where they say it all."""
    captured: Mapping[str, Any] = field(default_factory=dict)
    """What the undo needs besides the two numbers."""


def aim(call: "Call[Scale]", workload: Json) -> Aim:
    """Return what a step aims at. Raises `Unusable` for what cannot be set, a `Failure` where an undo leaves it alone."""
    if call.undo_of is not None:
        return _undo(call, call.undo_of.captured, workload)
    wanted, floor = _wanted(call.spec), _is_floor(call)
    if call.stage is not Stage.MITIGATE:
        return _set(workload, wanted, floor=floor)
    return _held(call, workload, wanted, floor=floor)


def replicas(workload: Json) -> int:
    """Return the replicas that a workload is to have."""
    return int(workload["spec"].get("replicas", 1))


def kept(workload: Json) -> str | None:
    """Return the annotation's text as it stands."""
    return kube_patches.annotations(workload).get(BASELINE)


def _set(workload: Json, wanted: int, *, floor: bool) -> Aim:
    before = replicas(workload)
    after = max(before, wanted) if floor else wanted
    return Aim(before, after, kept(workload), changes=after != before)


def _held(call: "Call[Scale]", workload: Json, wanted: int, *, floor: bool) -> Aim:
    before = replicas(workload)
    found = baseline.of(workload)
    if found is None or found.wanted != before:
        found = Baseline(
            before
        )  # nobody holds it, or somebody scaled it since: what it has now is what it goes back to
    me = _me(call, wanted, floor=floor)
    if (mine := found.holder(me)) is not None and floor:
        me = _me(call, max(wanted, mine.replicas), floor=True)
    after = me.after(before)
    note = f"not lowered to {wanted}" if before > wanted and floor and call.spec.at_least is None else ""
    if after == before and (not found.holders or found.replicas == me.after(found.replicas)):
        return Aim(before, before, kept(workload), changes=False, note=note)
    held = found.held_by(me)
    _refuse_too_many(call, held)
    captured = {"held": True, "baseline": held.replicas}
    return Aim(before, after, baseline.written(held), note=note, captured=captured)


def _undo(call: "Call[Scale]", captured: Mapping[str, Any], workload: Json) -> Aim:
    now, text = replicas(workload), kept(workload)
    nothing = "before" in captured and captured["before"] == captured.get("after")
    if nothing and not captured.get("held"):
        return Aim(now, now, text, changes=False)
    _refuse_another(call, captured, workload)
    me, found = _me(call, 0, floor=True), baseline.of(workload)
    if captured.get("held") and found is not None and found.holder(me) is not None:
        return _let_go(call, captured, found, now)
    if nothing or now == captured["before"]:
        return Aim(now, now, text, changes=False)
    if now != captured["after"]:
        raise _changed(call, now, captured["after"])
    if found is not None and found.wanted == now:
        told = f"{call.spec.target} is held by {baseline.told(found.holders)}, and no longer by this step; left alone"
        raise Failure(reasons.CHANGED_SINCE, told)
    return Aim(now, int(captured["before"]), text)


def _let_go(call: "Call[Scale]", captured: Mapping[str, Any], found: Baseline, now: int) -> Aim:
    """Take a step from the holders; the replicas are what those that are left want together."""
    rest = found.without(_me(call, 0, floor=True))
    if found.replicas != captured.get("baseline"):
        raise Failure(
            reasons.CHANGED_SINCE, f"the annotation {BASELINE} of {call.spec.target} was changed since; left alone"
        )
    known = (int(captured["before"]), found.replicas, now)
    if now == found.wanted and min(known) <= rest.wanted <= max(known):
        after = rest.wanted
    elif now in {captured["before"], found.replicas, rest.wanted}:
        after = now  # it stands as an undo would leave it
    elif now == found.wanted:
        told = f"{call.spec.target} would be scaled {now} → {rest.wanted}, as {baseline.told(rest.holders)} wants it"
        raise Failure(reasons.CHANGED_SINCE, f"{told}, beyond what it had when this step began; left alone")
    else:
        raise _changed(call, now, found.wanted)
    note = f"still held by {baseline.told(rest.holders)}" if rest.holders else ""
    return Aim(now, after, baseline.written(rest), note=note)


def _refuse_another(call: "Call[Scale]", captured: Mapping[str, Any], workload: Json) -> None:
    target = call.spec.target
    if "before" not in captured:
        raise Failure(reasons.CHANGED_SINCE, f"what {target} was scaled from is not recorded; left alone")
    if workload["metadata"]["uid"] != captured.get("uid"):
        told = f"{target} was deleted and created again after it was scaled; left alone"
        raise Failure(reasons.CHANGED_SINCE, told)


def _changed(call: "Call[Scale]", now: int, wanted: int) -> Failure:
    told = f"{call.spec.target} has {counted(now, 'replica')} now, not the {wanted} that were set; left alone"
    return Failure(reasons.CHANGED_SINCE, told)


def _refuse_too_many(call: "Call[Scale]", held: Baseline) -> None:
    if len(held.holders) > baseline.MOST_HOLDERS:
        told = f"{call.spec.target} is held by {baseline.told(held.holders[:-1])}, and at most {baseline.MOST_HOLDERS} steps may hold it"
        raise Unusable(f"{told}; not scaled")


def _wanted(spec: "Scale") -> int:
    """Return the replicas to set. Raises `Unusable` for what is not a number of replicas, or too many."""
    name, written = ("replicas", spec.replicas) if spec.at_least is None else ("atLeast", spec.at_least)
    try:
        wanted = int(str(written))
    except ValueError:
        raise Unusable(f"{name} is {str(written)[:100]!r}; it has to be a whole number") from None
    if wanted < 0:
        raise Unusable(f"{name} is {wanted}; it has to be 0 or more")
    if wanted > spec.max_replicas:
        raise Unusable(f"would scale {spec.target} to {wanted}, maxReplicas is {spec.max_replicas}; not scaled")
    return wanted


def _is_floor(call: "Call[Scale]") -> bool:
    return call.spec.at_least is not None or (call.stage is Stage.MITIGATE and not call.spec.lower)


def _me(call: "Call[Scale]", wanted: int, *, floor: bool) -> Holder:
    """Return the step as a holder; its undo is the same one."""
    step = call.step if call.undo_of is None else call.step.removeprefix(keys.UNDO_PREFIX)
    return Holder(call.incident, call.incident_uid, step, wanted, floor)
