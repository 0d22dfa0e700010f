"""Who wrote what a Runbook does: nobody of them may approve it (four eyes). The names are made trustworthy by a policy."""

from collections.abc import Mapping

from incident_operator.api.annotations import EDITORS, LAST_EDITOR, REVIEWED
from incident_operator.api.runbook import Runbook
from incident_operator.core import texts

UNKNOWN = "it is not known who wrote this Runbook; edit it once so that the policies record who wrote it"
_MESSAGE_LIMIT = 2048
_WHOAMI = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"

Editors = tuple[str, ...]
"""User names, sorted; none where the Runbook was reviewed as it is."""


def of(runbook: Runbook) -> Editors | None:
    """Return who changed the spec since it was last reviewed; None where nobody is known to have written it."""
    meta = runbook.metadata
    names = _stamped(meta.annotations)
    return () if names and _is_reviewed(meta.annotations, meta.generation) else names


def kept(known: Editors | None) -> dict[str, str]:
    """Return the annotations by which a revision keeps its editors, whatever the Runbook's are later."""
    return {} if known is None else {EDITORS: "\n".join(known)}


def of_kept(annotations: Mapping[str, str]) -> Editors | None:
    """Return the editors that a revision keeps: no name where it was reviewed. One of a version before keeps the last."""
    return () if annotations.get(EDITORS) == "" else _stamped(annotations)


def warning(runbook: Runbook) -> str:
    """Return what to do in daylight so that a plan of this Runbook finds somebody who may approve it; empty if nothing."""
    known, meta = of(runbook), runbook.metadata
    if known is None:
        return f"Nobody may approve what it asks: {UNKNOWN}."
    if len(known) < 2:
        return ""
    command = (
        f'kubectl annotate --overwrite -n {meta.namespace} runbook {meta.name} {REVIEWED}="{meta.generation} {_WHOAMI}"'
    )
    names = texts.cut(", ".join(map(texts.exact, known)), _MESSAGE_LIMIT)
    return (
        f"{len(known)} people changed it since it was last reviewed, and may not approve what it asks: {names}. "
        f"Somebody else who may approve it reviews it: {command}"
    )


def _stamped(annotations: Mapping[str, str]) -> Editors | None:
    names = annotations.get(EDITORS, annotations.get(LAST_EDITOR, "")).split("\n")
    return tuple(sorted({name for name in names if name})) or None


def _is_reviewed(annotations: Mapping[str, str], generation: int) -> bool:
    reviewed, _, by = annotations.get(REVIEWED, "").partition(" ")
    return bool(by) and reviewed == str(generation)
