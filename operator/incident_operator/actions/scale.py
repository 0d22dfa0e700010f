"""`scale`: sets a workload's replicas once, and takes that back (effect: k8s-patch).

Replicas, baseline and marker change in one patch that tests uid and resourceVersion, so either all happened or none did. The marker
found proves that it happened; a workload remembers the newest ten. The marker missing proves nothing: `kubectl rollout undo` gives a
Deployment the annotations of an older revision. What proves absence is the generation, which the apiserver alone counts: where it is the
one that was seen, nobody changed the specification, this step neither; and letting go of a workload that keeps its replicas is the same
however often it is done.

Where somebody else sets the replicas too (`actions/scale_owners.py`), it is done all the same, and looked at again a minute later.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, TypedDict

from pydantic import ConfigDict, Field, model_validator

from incident_operator.actions import scale_owners, workloads
from incident_operator.actions.clients import Clients
from incident_operator.actions.scale_owners import (
    BASELINE,
    Aim,
    is_event_driven,
    owners_of,
    shown_owners,
    targets,
    writer_of,
)
from incident_operator.api.meta import GROUP, Extra, Model, exactly_one, rule, validations
from incident_operator.core import reasons, texts
from incident_operator.core.action import Action, Call, Preview, kind_and_name, shown_marker
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import (
    LOOK_AGAIN,
    Effect,
    Failed,
    Failure,
    Json,
    NotDone,
    Outcome,
    Pending,
    RolledBack,
    Succeeded,
    Undetermined,
)
from incident_operator.core.runbooks import draft
from incident_operator.kubernetes import discovery, errors
from incident_operator.kubernetes.accounts import Account

SCALED_BY = f"{GROUP}/scaled-by"
"""The annotation in which a workload remembers who scaled it."""
_KEPT = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """One scaling: by which step of which Incident, from what to what."""

    key: str
    incident: str
    step: str
    before: int
    after: int


def added(workload: Json, mark: Mark) -> str:
    """Return the annotation's text with one mark more."""
    marks = [*(_marks(workload) or ()), mark][-_KEPT:]
    return json.dumps([asdict(one) for one in marks], separators=(",", ":"))


def find(workload: Json, key: str) -> Mark | None:
    """Return the mark with a key, if it is there."""
    return next((mark for mark in _marks(workload) or () if mark.key == key), None)


def _marks(workload: Json) -> Sequence[Mark] | None:
    """Return the marks, oldest first; None where somebody else wrote something into the annotation."""
    text = workloads.annotations(workload).get(SCALED_BY, "[]")
    try:
        return [_mark(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return None


def _mark(entry: Mapping[str, Any]) -> Mark:
    mark = Mark(**entry)
    kinds = (type(entry["key"]), type(entry["before"]), type(entry["after"]))
    if kinds != (str, int, int):
        raise TypeError("a mark has a key and two numbers of replicas")
    return mark


ScalableRef = Annotated[str, kind_and_name("deployment", "statefulset")]
"""A workload that has replicas, as kubectl writes it."""
_NUMBER = Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 1024})


def _a_number(field: str) -> Extra:
    number = f"self.{field} >= 0 && self.{field} <= self.maxReplicas"
    return rule(
        f"!has(self.{field}) || (type(self.{field}) == int ? {number} : self.{field}.contains('${{'))",
        f"{field} is a number from 0 to maxReplicas, or an expression for one: ${{…}}",
    )


class Scale(Model):
    """Scales a workload (effect: k8s-patch, naturally undoable)."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("number", ["replicas", "atLeast"]), _a_number("replicas"), _a_number("atLeast")
        )
    )

    target: ScalableRef
    """The workload as kubectl writes it, e.g. `deployment/web`."""
    replicas: Annotated[int | str | None, _NUMBER, Take.COUNT] = None
    """The wanted number, or an expression for it, e.g. `${steps.deploy.outputs.replicas + 2}`. A mitigation does not scale down to it."""
    at_least: Annotated[int | str | None, _NUMBER, Take.COUNT] = None
    """A minimum instead: where there are more replicas already, they stay."""
    lower: bool | None = None
    """Whether a mitigation may scale down to `replicas`; one that says `replicas: 0` may, unless this is false."""
    max_replicas: Annotated[int, Field(ge=0, le=1000)] = 100
    """Above this the step fails instead of scaling."""

    @model_validator(mode="before")
    @classmethod
    def _zero_lowers(cls, written: Any) -> Any:
        """Take a literal 0 as what it can only mean; one that an expression brings later finds `lower` said."""
        if isinstance(written, dict) and written.get("replicas") == 0 and "lower" not in written:
            return {**written, "lower": True}
        return written


class Result(TypedDict):
    """What `result` holds."""

    before: int
    after: int


def _check(spec: Scale, path: str) -> Iterator[Problem]:
    yield from draft.one_of(path, {"replicas": spec.replicas, "atLeast": spec.at_least})
    for name, number in (("replicas", spec.replicas), ("atLeast", spec.at_least)):
        if isinstance(number, str) and "${" not in number:
            yield Problem(f"{path}.{name}", f"{number!r} is text; write a number, or ${{…}} for one")
        elif isinstance(number, int) and not 0 <= number <= spec.max_replicas:
            yield Problem(f"{path}.{name}", f"{number} is not between 0 and maxReplicas ({spec.max_replicas})")
    if spec.at_least is not None and spec.lower:
        yield Problem(f"{path}.lower", "atLeast never scales down; to scale down, write replicas")


PUT_BACK_AFTER = 60.0
"""Seconds after which a workload is looked at again whose replicas somebody else sets too."""
_ATTEMPTS = 5
"""A Deployment's status changes often while it rolls out, and each change makes an earlier read stale."""
_PAUSE = 1.0
"""Seconds before the next such series of attempts."""
_MOST_NOTED = 300


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one scaling, before and after the patch; the intent keeps it."""

    uid: str
    before: int
    after: int
    note: str = ""
    """What people should know beside the numbers."""
    owners: Sequence[str] = ()
    """Who else sets the replicas."""
    holds: Mapping[str, Any] | None = None
    """What the undo needs besides, where the step holds the workload."""

    @property
    def captured(self) -> Mapping[str, Any]:
        """What the undo needs."""
        return {"before": self.before, "after": self.after, "uid": self.uid, **(self.holds or {})}


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to a workload as it was read."""

    path: str
    generation: int
    kept: str | None
    """The text of its baseline as it was read."""
    aim: Aim
    facts: Facts
    withdrawn: str
    """Another value means that somebody saw to it that this change is not made any more."""
    operations: Sequence[workloads.Operation]
    """Empty where nothing is to be written."""


async def show(call: Call[Scale], clients: Clients, trial: bool) -> Preview:
    """Say from what to what; in a trial after a dry run of the very patch as the Runbook's account."""
    account = clients.account_of(call)
    for _ in range(_ATTEMPTS - 1):
        with suppress(errors.Conflict):
            return await _shown(account, call, trial)
    return await _shown(account, call, trial)


async def act(call: Call[Scale], preview: Preview, clients: Clients) -> Outcome:
    """Scale; `captured` is {before, after, uid, …}. A change of anything but the specification in between does not matter."""
    change: Change = preview.thing
    if not change.operations:
        return _done(call, change.facts)
    account = clients.account_of(call)
    for _ in range(_ATTEMPTS):
        try:
            await account.json_patch(change.path, change.operations)
        except errors.Conflict:
            workload = await account.find(change.path)
            if workload is not None and _was_scaled(workload, call, change):
                # what the network sends twice is refused the second time
                return _written(call, change.facts)
            if workload is None or not _is_as_shown(workload, change):
                return NotDone(0, f"{call.spec.target} changed since it was looked at")
            change = replace(change, operations=_operations(call, workload, change.aim))
            continue
        return _written(call, change.facts)
    return NotDone(_PAUSE, f"{call.spec.target} changed {_ATTEMPTS} times while it was being scaled")


async def look(call: Call[Scale], clients: Clients) -> Outcome:
    """Find the marker of having scaled, or prove that there is none and that no earlier patch can apply any more."""
    account, path = clients.account_of(call), _path(call)
    if call.seen is None:
        return _of_an_older_version(call, await account.find(path))
    target, facts = call.spec.target, _facts_of(call.seen)
    for _ in range(_ATTEMPTS):
        workload = await account.find(path)
        if workload is None or workload["metadata"]["uid"] != facts.uid:
            return NotDone(LOOK_AGAIN, f"the {target} that was to be scaled was deleted")
        if find(workload, call.marker) is not None:
            return _followed(call, facts, workload, (clients.now() - call.started_at).total_seconds())
        # where the replicas stay, what is done is the same however often
        if _generation(workload) != call.seen.get("generation") and facts.before != facts.after:
            told = f"{target} was changed since, and its annotation {SCALED_BY} does not name this step"
            return Undetermined(f"{told}; nobody can tell whether it was scaled {facts.before} → {facts.after}")
        with suppress(errors.Conflict, errors.NotFound):
            await account.json_patch(path, workloads.withdrawal(workload))
            return NotDone(0, f"{target} was not scaled")
    raise Failure(reasons.CONFLICT, f"{target} changed {_ATTEMPTS} times while it was looked at", retryable=True)


async def _shown(account: Account, call: Call[Scale], trial: bool) -> Preview:
    """Return a preview. Raises `Conflict` where the workload changed during its trial."""
    workload = await account.get(_path(call))
    if (mark := find(workload, call.marker)) is not None:
        told = f"annotation {SCALED_BY} of {call.spec.target} says that it was scaled {mark.before} → {mark.after}"
        raise RolledBack(told)
    aim = scale_owners.aim(call, workload)
    operations = _operations(call, workload, aim) if aim.changes else []
    owners, beside = await _owners(account, call, workload, aim)
    notes = [aim.note, beside, _set_too(owners)]
    note = texts.cut("; ".join(filter(None, notes)), _MOST_NOTED)
    uid = str(workload["metadata"]["uid"])
    facts = Facts(uid, aim.before, aim.after, note, owners, aim.captured or None)
    if trial and operations:
        await account.json_patch(_path(call), operations, dry_run=True)
    kept, withdrawn = scale_owners.kept(workload), workloads.withdrawn(workload)
    change = Change(_path(call), _generation(workload), kept, aim, facts, withdrawn, operations)
    preview = _preview(call, change)
    return replace(preview, in_trial="accepted") if trial and operations else preview


def _preview(call: Call[Scale], change: Change) -> Preview:
    spec, facts = call.spec, change.facts
    shared = {"uid": facts.uid, "before": facts.before, "after": facts.after}
    floor = {"atLeast": spec.at_least} if spec.at_least is not None else {}
    known = {"baseline": facts.holds["baseline"]} if facts.holds else {}
    return Preview(
        _told(call, change),
        {"target": spec.target, **shared, **floor, **known, "maxReplicas": spec.max_replicas},
        allows=tuple(_allowed(owner, facts.after) for owner in facts.owners),
        thing=change,
        bound={"target": spec.target, "namespace": call.namespace, **shared, **known},
        seen={**shared, "generation": change.generation, "marker": shown_marker(call.marker), **_beside(facts)},
    )


def _told(call: Call[Scale], change: Change) -> str:
    where, facts = f"{call.spec.target} in {call.namespace}", change.facts
    if facts.before != facts.after:
        return f"scale {where} from {facts.before} to {texts.counted(facts.after, 'replica')}"
    note = f", {change.aim.note}" if change.aim.note else ""
    return f"{where} stays as it is, at {texts.counted(facts.after, 'replica')}{note}"


def _allowed(owner: str, after: int) -> str:
    return f"{owner} sets its replicas too, and may put back what it wants instead of {after}"


async def _owners(account: Account, call: Call[Scale], workload: Json, aim: Aim) -> tuple[Sequence[str], str]:
    """Return who else sets the replicas, and what has to be said of autoscalers; an undo leaves the workload to them all."""
    if call.undo_of is not None or aim.before == aim.after:
        return (), ""
    try:
        scalers = [each async for each in account.list(_scalers(call)) if targets(each, call.spec.target)]
    except errors.Forbidden:
        told = f"{call.service_account} may not list horizontalpodautoscalers, so whether one sets its replicas is not known"
        return owners_of(workload, None), told
    except errors.NotServed:
        scalers = []
    if aim.after > 0:
        return owners_of(workload, scalers), ""
    off = [each["metadata"]["name"] for each in scalers if not is_event_driven(each)]
    told = f"0 replicas switch HorizontalPodAutoscaler {', '.join(map(shown_owners, off))} off" if off else ""
    return owners_of(workload, filter(is_event_driven, scalers)), told


def _was_scaled(workload: Json, call: Call[Scale], change: Change) -> bool:
    return workload["metadata"]["uid"] == change.facts.uid and find(workload, call.marker) is not None


def _is_as_shown(workload: Json, change: Change) -> bool:
    """Whether a newer version of the workload has the same specification and baseline, and nobody took this change back."""
    uid, withdrawn = workload["metadata"]["uid"], workloads.withdrawn(workload)
    now = (uid, _generation(workload), scale_owners.kept(workload), withdrawn)
    return now == (change.facts.uid, change.generation, change.kept, change.withdrawn)


def _operations(call: Call[Scale], workload: Json, aim: Aim) -> Sequence[workloads.Operation]:
    mark = Mark(call.marker, call.incident, call.step, aim.before, aim.after)
    operations = [*workloads.tests(workload)]
    if "replicas" in workload["spec"]:
        operations.append({"op": "test", "path": "/spec/replicas", "value": aim.before})
    if aim.after != aim.before:
        operations.append({"op": "add", "path": "/spec/replicas", "value": aim.after})
    return [
        *operations,
        *workloads.all_annotated(workload, {BASELINE: aim.kept, SCALED_BY: added(workload, mark)}),
    ]


def _written(call: Call[Scale], facts: Facts) -> Outcome:
    """Return what it means that the patch was applied: done, unless somebody may put it back."""
    return _watched(call, facts, PUT_BACK_AFTER) if facts.owners else _done(call, facts)


def _followed(call: Call[Scale], facts: Facts, workload: Json, age: float) -> Outcome:
    """Return what became of a scaling that was done so many seconds ago."""
    if not facts.owners:
        return _done(call, facts, "already ")
    if age < PUT_BACK_AFTER:
        return _watched(call, facts, PUT_BACK_AFTER - age)
    now, writer = scale_owners.replicas(workload), writer_of(workload)
    if now == facts.after:
        return _done(call, facts)
    lost = now < facts.after if facts.after > facts.before else now > facts.after
    if not lost or (writer is not None and not writer.is_controller):
        by = f", set by {writer.told}" if writer is not None else ""
        return _done(call, replace(facts, note=f"{facts.note}; it has {now} since{by}"))
    by = writer.told if writer is not None else _listed(facts.owners)
    told = f"{call.spec.target} scaled {facts.before} → {facts.after}, and put back to {now} by {by}"
    return Failed(reasons.PUT_BACK, told, retryable=False, effected=True, captured=_captured(call, facts))


def _watched(call: Call[Scale], facts: Facts, left: float) -> Pending:
    told = f"{call.spec.target} scaled {facts.before} → {facts.after}; {facts.note}"
    return Pending(left, f"{told}; whether it stays is looked at {PUT_BACK_AFTER:.0f}s later")


def _done(call: Call[Scale], facts: Facts, already: str = "") -> Succeeded:
    summary = f"{call.spec.target} {already}scaled {facts.before} → {facts.after}"
    if facts.before == facts.after:
        summary = f"{call.spec.target} has {texts.counted(facts.after, 'replica')} already"
    told = "; ".join(filter(None, [summary, facts.note]))
    return Succeeded({"before": facts.before, "after": facts.after}, told, _captured(call, facts))


def _captured(call: Call[Scale], facts: Facts) -> Mapping[str, Any]:
    """Return what the undo needs, and the command by which a person does it instead."""
    if facts.before == facts.after:
        return facts.captured
    by_hand = f"kubectl scale -n {call.namespace} {call.spec.target} --replicas={facts.before}"
    return {**facts.captured, "undoWith": by_hand}


def _beside(facts: Facts) -> Mapping[str, Any]:
    """Return what the intent keeps beside the numbers."""
    found = {"note": facts.note, "owners": list(facts.owners), "holds": facts.holds}
    return {name: value for name, value in found.items() if value}


def _facts_of(seen: Mapping[str, Any]) -> Facts:
    beside = (seen.get("note", ""), seen.get("owners", ()), seen.get("holds"))
    return Facts(seen["uid"], int(seen["before"]), int(seen["after"]), *beside)


def _listed(owners: Sequence[str]) -> str:
    return " and ".join(owners)


def _set_too(owners: Sequence[str]) -> str:
    return f"{_listed(owners)} set{'s' if len(owners) == 1 else ''} its replicas too" if owners else ""


def _of_an_older_version(call: Call[Scale], workload: Json | None) -> Outcome:
    """Tell what an operator before this version did under the plain step key; it is never done again."""
    if workload is not None:
        mark = find(workload, call.key)
        if mark is not None:
            return _done(call, Facts(workload["metadata"]["uid"], mark.before, mark.after), "already ")
    told = f"{call.spec.target} has no mark of this step, which an older version of the operator began"
    return Undetermined(f"{told}; nobody can tell whether it was scaled")


def _generation(workload: Json) -> int:
    return int(workload["metadata"].get("generation", 0))


def _path(call: Call[Scale]) -> str:
    return workloads.path(call.namespace, call.spec.target)


def _scalers(call: Call[Scale]) -> str:
    return discovery.of("/apis/autoscaling/v2", call.namespace, "horizontalpodautoscalers")


ACTION = Action(
    "scale",
    Scale,
    Result,
    effect=Effect.K8S_PATCH,
    rights="get and patch the workload, list horizontalpodautoscalers",
    checks=(_check,),
    naturally_undoable=True,
    workload=lambda spec: spec.target,
    show=show,
    act=act,
    look=look,
)
