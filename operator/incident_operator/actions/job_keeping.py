"""Which labels and annotations of a workload's Pods a Job's Pod has too. Pure.

No label unless the step names it, for a Service or a workload finds its Pods by them. All annotations, which nothing finds a Pod by,
unless the step names those to keep.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from incident_operator.actions import pod_state, workloads
from incident_operator.api import rules
from incident_operator.api.meta import Model
from incident_operator.core.errors import Unusable
from incident_operator.core.outcomes import Json

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_MOST_LISTED = 20
Key = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=317),
]
"""The key of a label or an annotation."""


class Keep(Model):
    """What a Job's Pod keeps of the workload's Pods."""

    labels: Annotated[list[Key], Field(max_length=16, json_schema_extra=rules.unordered())] = Field(
        default_factory=list
    )
    """Labels, e.g. one that a webhook needs; none unless named."""
    annotations: Annotated[list[Key], Field(max_length=16, json_schema_extra=rules.unordered())] | None = None
    """Annotations; all unless some are named."""


def metadata(workload: Json, keep: Keep | None, container: str) -> dict[str, Any]:
    """Return the metadata of a Job's Pod. Raises `Unusable` for a key that is not there, and for labels that make it the workload's."""
    there = workloads.pod_template(workload).get("metadata") or {}
    labels, annotations = there.get("labels") or {}, dict(there.get("annotations") or {})
    annotations.pop(_RESTARTED_AT, None)
    if annotations.get(pod_state.DEFAULT_CONTAINER, container) != container:
        del annotations[pod_state.DEFAULT_CONTAINER]  # it names a container that the Job's Pod does not have
    if keep is None:
        return {"annotations": annotations}
    kept = _named(labels, keep.labels, "label")
    _refuse_its_own(workload, kept)
    noted = annotations if keep.annotations is None else _named(annotations, keep.annotations, "annotation")
    return {"annotations": noted, **({"labels": kept} if kept else {})}


def _named(there: Mapping[str, str], wanted: list[str], what: str) -> dict[str, str]:
    missing = next((key for key in wanted if key not in there), None)
    if missing is not None:
        listed = ", ".join(sorted(there)[:_MOST_LISTED]) or "none"
        raise Unusable(f"keep: the workload's Pods have no {what} {missing}; they have {listed}")
    return {key: there[key] for key in wanted}


def _refuse_its_own(workload: Json, kept: Mapping[str, str]) -> None:
    """Raise `Unusable` where the labels would make the Job's Pod one of the workload's own: it would get its traffic."""
    wanted = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    if wanted and wanted.items() <= kept.items():
        told = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        raise Unusable(
            f"keep: with {told} the Job's Pod would be one of the workload's own; leave one of these labels out"
        )
