"""Who else sets the replicas of a workload: Argo CD, Flux, an autoscaler, another controller. Pure.

An owner is one that looks again and again, and puts back what it wants: what people and pipelines write once (`kubectl apply`,
`helm upgrade`) is nobody's any more. The apiserver tells in `managedFields` who wrote `spec.replicas` last, whoever says what in
labels; but it forgets every other writer with the next change, which ours is. So labels that the tools leave count too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from incident_operator.actions import workloads
from incident_operator.core import texts
from incident_operator.core.outcomes import Json

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
        return shown(self.manager)


def of(workload: Json, scalers: Iterable[Json] | None) -> Sequence[str]:
    """Name the owners of a workload's replicas; `scalers` are the autoscalers that target it, None where nobody may tell."""
    found = [*islice(_scalers(scalers or ()), _MOST_SCALERS), *_argo_cd(workload), *_flux(workload)]
    return [*found, *_controllers(workload, found, scalers_known=scalers is not None)][:_MOST]


def writer(workload: Json) -> Writer | None:
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


def shown(name: str) -> str:
    """Return somebody else's text as people may read it."""
    return texts.cut(texts.unmistakable(name), _SHOWN)


def _scalers(scalers: Iterable[Json]) -> Iterator[str]:
    for scaler in scalers:
        name = f"HorizontalPodAutoscaler {shown(scaler['metadata']['name'])}"
        if is_event_driven(scaler):
            name = f"KEDA ScaledObject {shown(scaler['metadata']['labels'][_SCALED_OBJECT])} ({name})"
        yield name


def _argo_cd(workload: Json) -> Iterator[str]:
    meta = workload["metadata"]
    for beside in (meta.get("annotations") or {}, meta.get("labels") or {}):
        if tracking := next(filter(None, map(beside.get, _TRACKING)), None):
            yield f"Argo CD application {shown(tracking.partition(':')[0])}"
            return
    instance = (meta.get("labels") or {}).get(_INSTANCE)
    if instance and any(str(entry.get("manager", "")).startswith("argocd") for entry in _entries(workload)):
        yield f"Argo CD application {shown(instance)}"


def _flux(workload: Json) -> Iterator[str]:
    labels = workload["metadata"].get("labels") or {}
    for kind, prefix in _FLUX.items():
        if name := labels.get(f"{prefix}/name"):
            namespace = labels.get(f"{prefix}/namespace")
            yield f"Flux {kind} {shown(f'{namespace}/{name}' if namespace else name)}"


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
