"""What a `scale`, or its undo, makes of a workload as it stands, and who else sets its replicas. Pure.

A mitigation holds the workload until it is undone, and never lowers it unless the step says so: whoever had more replicas had a reason. A
step of another stage sets what it says, which its approval is for, and holds nothing. The baseline, what the workload had before Incidents
scaled it, is kept on it in one annotation, which changes in the same patch as the replicas. Each holder says what it wants; what the
workload has is what they want together, one after the other. So whoever lets go changes only what is its own: the last gives back the
baseline. Whoever may write the workload may write this too; what it says counts only within bounds.

An owner (Argo CD, Flux, an autoscaler, another controller) looks again and again, and puts back what it wants: what people and pipelines
write once is nobody's any more. The apiserver tells in `managedFields` who wrote `spec.replicas` last, but forgets every other writer with
the next change, which ours is. So labels that the tools leave count too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from incident_operator.actions import workloads
from incident_operator.api.meta import GROUP
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons, texts
from incident_operator.core.action import Call
from incident_operator.core.machine.view import UNDO_PREFIX
from incident_operator.core.outcomes import Failure, Json, Unusable
from incident_operator.core.texts import counted

if TYPE_CHECKING:
    from incident_operator.actions.scale import Scale

OURS = "incident-operator"
"""As the apiserver names this operator's writes."""
_TRACKING = ("argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance")
_INSTANCE = "app.kubernetes.io/instance"
"""Argo CD's by default, and set by many charts: it counts where Argo CD wrote to the object."""
_FLUX = {"Kustomization": "kustomize.toolkit.fluxcd.io", "HelmRelease": "helm.toolkit.fluxcd.io"}
_FLUX_NAMES = {"Kustomization": "kustomize-controller", "HelmRelease": "helm-controller"}
_SCALED_OBJECT = "scaledobject.keda.sh/name"
_CONTROLLER = re.compile(
    r"controller|operator|scaler|argo|flux|keda|fleet|rancher|crossplane|kapp|sync|reconcil|\Amanager\Z"
)
_PERSON = re.compile(r"kubectl|helm\Z|before-first-apply|terraform|pulumi|mozilla")
_AUTOSCALER = ("kube-controller-manager", "scale")
"""How the horizontal autoscaler writes: through the subresource `scale`."""
_SHOWN = 100
_MOST, _MOST_SCALERS = 8, 4
"""Owners that are told, and autoscalers among them; there may be any number of either."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote `spec.replicas` last."""

    manager: str
    subresource: str = ""

    @property
    def is_controller(self) -> bool:
        """Whether it is one that puts back what it wants, and not a person, a pipeline or this operator."""
        name = self.manager.lower()
        return name != OURS and not _PERSON.match(name) and _CONTROLLER.search(name) is not None

    @property
    def is_autoscaler(self) -> bool:
        """Whether it is the horizontal autoscaler."""
        return (self.manager, self.subresource) == _AUTOSCALER

    @property
    def told(self) -> str:
        """Its name for people."""
        if self.is_autoscaler:
            return "an autoscaler (kube-controller-manager)"
        return shown_owners(self.manager)


def owners_of(workload: Json, scalers: Iterable[Json] | None) -> Sequence[str]:
    """Name the owners of a workload's replicas; `scalers` are the autoscalers that target it, None where nobody may tell."""
    found = [*islice(_scalers(scalers or ()), _MOST_SCALERS), *_argo_cd(workload), *_flux(workload)]
    return [*found, *_controllers(workload, found, scalers_known=scalers is not None)][:_MOST]


def writer_of(workload: Json) -> Writer | None:
    """Return who wrote the replicas last; None where the apiserver does not know, as where they are 0."""
    newest = max(_writers(workload), key=lambda entry: str(entry.get("time", "")), default=None)
    return None if newest is None else _writer(newest)


def targets(scaler: Json, reference: str) -> bool:
    """Return whether a HorizontalPodAutoscaler sets the replicas of a workload, written `deployment/web`."""
    kind, _, name = reference.partition("/")
    target = scaler.get("spec", {}).get("scaleTargetRef", {})
    return (target.get("kind"), target.get("name")) == (workloads.KINDS[kind], name)


def is_event_driven(scaler: Json) -> bool:
    """Return whether it is KEDA's, which scales up from 0 as well; any other is off while there are 0 replicas."""
    return _SCALED_OBJECT in (scaler["metadata"].get("labels") or {})


def shown_owners(name: str) -> str:
    """Return somebody else's text as people may read it."""
    return texts.cut(texts.unmistakable(name), _SHOWN)


def _scalers(scalers: Iterable[Json]) -> Iterator[str]:
    for scaler in scalers:
        name = f"HorizontalPodAutoscaler {shown_owners(scaler['metadata']['name'])}"
        if is_event_driven(scaler):
            name = f"KEDA ScaledObject {shown_owners(scaler['metadata']['labels'][_SCALED_OBJECT])} ({name})"
        yield name


def _argo_cd(workload: Json) -> Iterator[str]:
    meta = workload["metadata"]
    for beside in (meta.get("annotations") or {}, meta.get("labels") or {}):
        if tracking := next(filter(None, map(beside.get, _TRACKING)), None):
            yield f"Argo CD application {shown_owners(tracking.partition(':')[0])}"
            return
    instance = (meta.get("labels") or {}).get(_INSTANCE)
    if instance and any(str(entry.get("manager", "")).startswith("argocd") for entry in _entries(workload)):
        yield f"Argo CD application {shown_owners(instance)}"


def _flux(workload: Json) -> Iterator[str]:
    labels = workload["metadata"].get("labels") or {}
    for kind, prefix in _FLUX.items():
        if name := labels.get(f"{prefix}/name"):
            namespace = labels.get(f"{prefix}/namespace")
            yield f"Flux {kind} {shown_owners(f'{namespace}/{name}' if namespace else name)}"


def _controllers(workload: Json, known: Sequence[str], *, scalers_known: bool) -> Iterator[str]:
    """Name the controllers that wrote the replicas, or the rest of the specification before this operator changed these."""
    last = _writers(workload)
    ours_is_last = any(entry.get("manager") == OURS for entry in last)
    named = {_tool(each) for each in known}
    for entry in [*last, *(_others(workload) if ours_is_last else ())]:
        who = _writer(entry)
        if not who.is_controller or _tool(who.manager) in named or (who.is_autoscaler and scalers_known):
            continue  # an autoscaler that there is was found by name
        named.add(_tool(who.manager))
        yield who.told


def _tool(name: str) -> str:
    """Return what is the same for two names of one tool, as a label and as a field manager tell it."""
    if name.startswith(("Argo CD", "argocd")):
        return "argocd"
    if name.startswith("KEDA") or name == "keda":
        return "keda"
    return next((who for kind, who in _FLUX_NAMES.items() if name == who or name.startswith(f"Flux {kind}")), name)


def _writers(workload: Json) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in _entries(workload) if "f:replicas" in _spec(entry)]


def _others(workload: Json) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in _entries(workload) if _spec(entry) and not entry.get("subresource")]


def _spec(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = entry.get("fieldsV1") or {}
    found: Mapping[str, Any] = fields.get("f:spec") or {}
    return found


def _entries(workload: Json) -> Sequence[Mapping[str, Any]]:
    return workload["metadata"].get("managedFields") or []


def _writer(entry: Mapping[str, Any]) -> Writer:
    return Writer(str(entry.get("manager", "")), str(entry.get("subresource", "")))


BASELINE = f"{GROUP}/baseline"
"""The annotation in which a workload keeps it."""
MOST_HOLDERS = 20
"""Steps that may hold one workload at a time."""
_MOST_REPLICAS = 100_000
_MOST_CHARACTERS = 16_384
_MOST_OF_A_NAME = 253
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """A step of an open Incident that has scaled the workload, and has not taken that back."""

    incident: str
    uid: str
    """Of the Incident."""
    step: str
    replicas: int
    """What it wants."""
    floor: bool
    """Whether it wants so many at least; else exactly so many."""

    def is_of(self, other: "Holder") -> bool:
        """Return whether it is the same step of the same Incident."""
        return (self.uid, self.step) == (other.uid, other.step)

    def after(self, replicas: int) -> int:
        """Return what it makes of so many replicas."""
        return max(replicas, self.replicas) if self.floor else self.replicas


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the annotation says."""

    replicas: int
    """What the workload had before the first holder."""
    holders: Sequence[Holder] = field(default_factory=tuple)
    """The oldest first."""

    @property
    def wanted(self) -> int:
        """The replicas that all holders together want."""
        found = self.replicas
        for holder in self.holders:
            found = holder.after(found)
        return found

    def holder(self, me: Holder) -> Holder | None:
        """Return what is recorded of a step; None where it holds nothing."""
        return next((each for each in self.holders if each.is_of(me)), None)

    def without(self, me: Holder) -> "Baseline":
        """Return it once a step has let go."""
        return replace(self, holders=tuple(each for each in self.holders if not each.is_of(me)))

    def held_by(self, me: Holder) -> "Baseline":
        """Return it with a step as its newest holder."""
        return replace(self, holders=(*self.without(me).holders, me))


def baseline_of(workload: Json) -> Baseline | None:
    """Return what a workload keeps; None where there is none, or where it is not what the operator writes."""
    text = workloads.annotations(workload).get(BASELINE, "")
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    try:
        found = json.loads(text)
        kept = Baseline(_number(found["replicas"]), tuple(_holder(each) for each in found["holders"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return kept if 0 < len(kept.holders) <= MOST_HOLDERS else None


def baseline_text(kept: Baseline) -> str | None:
    """Return the annotation's text; None where nobody holds the workload any more, so that it goes."""
    if not kept.holders:
        return None
    found = {"replicas": kept.replicas, "holders": [asdict(each) for each in kept.holders]}
    return json.dumps(found, separators=(",", ":"))


def told_baseline(holders: Iterable[Holder]) -> str:
    """Name the holders for people, e.g. `Incident web-5f2c1-1 (step scale-up)`; empty where there is none."""
    names = [f"Incident {texts.unmistakable(each.incident)} (step {texts.unmistakable(each.step)})" for each in holders]
    more = [f"{len(names) - _TOLD} more"] if len(names) > _TOLD else []
    return " and ".join(filter(None, [", ".join(names[:_TOLD]), *more]))


def _holder(entry: Any) -> Holder:
    if not isinstance(entry["floor"], bool):
        raise TypeError("floor is true or false")
    return Holder(
        _name(entry["incident"]), _name(entry["uid"]), _name(entry["step"]), _number(entry["replicas"]), entry["floor"]
    )


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_OF_A_NAME:
        raise TypeError("a name is a short text")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_REPLICAS:
        raise TypeError("replicas are a whole number")
    return value


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
    return workloads.annotations(workload).get(BASELINE)


def _set(workload: Json, wanted: int, *, floor: bool) -> Aim:
    before = replicas(workload)
    after = max(before, wanted) if floor else wanted
    return Aim(before, after, kept(workload), changes=after != before)


def _held(call: "Call[Scale]", workload: Json, wanted: int, *, floor: bool) -> Aim:
    before = replicas(workload)
    found = baseline_of(workload)
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
    return Aim(before, after, baseline_text(held), note=note, captured=captured)


def _undo(call: "Call[Scale]", captured: Mapping[str, Any], workload: Json) -> Aim:
    now, text = replicas(workload), kept(workload)
    nothing = "before" in captured and captured["before"] == captured.get("after")
    if nothing and not captured.get("held"):
        return Aim(now, now, text, changes=False)
    _refuse_another(call, captured, workload)
    me, found = _me(call, 0, floor=True), baseline_of(workload)
    if captured.get("held") and found is not None and found.holder(me) is not None:
        return _let_go(call, captured, found, now)
    if nothing or now == captured["before"]:
        return Aim(now, now, text, changes=False)
    if now != captured["after"]:
        raise _changed(call, now, captured["after"])
    if found is not None and found.wanted == now:
        told = f"{call.spec.target} is held by {told_baseline(found.holders)}, and no longer by this step; left alone"
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
        told = f"{call.spec.target} would be scaled {now} → {rest.wanted}, as {told_baseline(rest.holders)} wants it"
        raise Failure(reasons.CHANGED_SINCE, f"{told}, beyond what it had when this step began; left alone")
    else:
        raise _changed(call, now, found.wanted)
    note = f"still held by {told_baseline(rest.holders)}" if rest.holders else ""
    return Aim(now, after, baseline_text(rest), note=note)


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
    if len(held.holders) > MOST_HOLDERS:
        told = f"{call.spec.target} is held by {told_baseline(held.holders[:-1])}, and at most {MOST_HOLDERS} steps may hold it"
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
    step = call.step if call.undo_of is None else call.step.removeprefix(UNDO_PREFIX)
    return Holder(call.incident, call.incident_uid, step, wanted, floor)
