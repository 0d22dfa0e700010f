"""Who wrote what a Runbook does, and what an administrator lets it do unasked. Pure.

Nobody who wrote it may approve it (four eyes); the names are made trustworthy by a policy. A mitigation that takes itself back runs unasked
by its nature. What else may is named one by one in the operator's settings, by the digest that `incident-operator check` prints; a step that
is changed has another digest, and asks.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from incident_operator.api.incident import EDITORS, LAST_EDITOR, REVIEWED
from incident_operator.api.meta import Model, is_dns_label, is_object_name
from incident_operator.api.runbook import Runbook, Stage, Step
from incident_operator.core import sanitize, texts
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiled import Compiled, CompiledStep, dependencies_of

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FIELDS = ("namespace", "runbook", "step", "digest")
_OWN_FIELDS = set(Step.model_fields) - {"description", "undo", "probe"}
"""Of a step, beside its actions; what is said about it decides nothing."""


@dataclass(frozen=True, slots=True)
class UnaskedStep:
    """One step that may run without asking."""

    namespace: str
    runbook: str
    step: str
    digest: str
    """`sha256:` and 64 hex characters, of `digest_of`."""


@dataclass(frozen=True, slots=True)
class Leave:
    """What the settings allow."""

    steps: frozenset[UnaskedStep] = frozenset()
    not_acting: frozenset[str] = frozenset()
    """Namespaces in which nothing at all runs unasked, not even an undo: the kill switch."""

    def acts_in(self, namespace: str) -> bool:
        """Tell whether anything may run unasked in a namespace."""
        return namespace not in self.not_acting


ALL_ASK = Leave()
"""Nothing is named: whatever may ask does."""


def steps_of(text: str) -> frozenset[UnaskedStep]:
    """Return the steps that a setting names: a JSON list of objects. Raises `ValueError`, whose message says what would be right."""
    try:
        listed = orjson.loads(text)
    except orjson.JSONDecodeError:
        listed = None
    match listed:
        case list():
            return frozenset(_step_of(each) for each in listed)
        case _:
            raise ValueError(f"{text[:80]!r} is not a JSON list of {{{', '.join(_FIELDS)}}}")


def _step_of(entry: object) -> UnaskedStep:
    if not isinstance(entry, Mapping) or set(entry) != set(_FIELDS):
        raise ValueError(f"{str(entry)[:80]!r} does not have exactly the fields {', '.join(_FIELDS)}")
    found = UnaskedStep(*(str(entry[field]) for field in _FIELDS))
    if not is_dns_label(found.namespace) or not is_object_name(found.runbook) or not is_dns_label(found.step):
        raise ValueError(
            f"{found.namespace}/{found.runbook}, step {found.step}: not names of a namespace, Runbook and step"
        )
    if not _DIGEST.fullmatch(found.digest):
        raise ValueError(f"{found.digest[:80]!r} is not a digest; `incident-operator check` prints it: sha256:…")
    return found


def can_be_named(step: CompiledStep) -> bool:
    """Tell whether a step asks unless it is named: one that protects, and an effect of restore that is not an undo."""
    if step.act.effect is Effect.READ or step.step.approval is not None:
        return False
    return step.step.protective or step.stage is Stage.RESTORE


def digest_of(compiled: Compiled, step: CompiledStep) -> str:
    """Return the digest of all in the Runbook that decides what the step does.

    It covers the step, its stage and account, every parameter, and the steps whose outputs it uses, theirs included. What is
    left to its default counts as not written, so that the digest of a file is that of the object which the apiserver stores.
    """
    covered = {
        "serviceAccountName": compiled.spec.service_account_name,
        "parameters": [_written(parameter) for parameter in compiled.spec.parameters],
        "stage": step.stage.value,
        "step": _step_as_written(step),
        "uses": {name: _step_as_written(compiled.steps[name]) for name in _used(compiled, step)},
    }
    return texts.digest(json.dumps(sanitize.distinct(covered), sort_keys=True))


def _step_as_written(step: CompiledStep) -> dict[str, Any]:
    found = _written(step.step, include=_OWN_FIELDS) | {step.act.key: _written(step.act.spec)}
    if step.undo is not None and not step.undo.natural:
        found["undo"] = {step.undo.act.key: _written(step.undo.act.spec)}
    if step.probe is not None and step.step.probe is not None:
        found["probe"] = {step.probe.act.key: _written(step.probe.act.spec), "expect": step.step.probe.expect}
    return found


def _written(model: Model, include: set[str] | None = None) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=include)


def _used(compiled: Compiled, step: CompiledStep) -> set[str]:
    found, waiting = set[str](), [step]
    while waiting:
        for name in dependencies_of(waiting.pop()) - found:
            found.add(name)
            waiting.append(compiled.steps[name])
    return found


def is_named(leave: Leave, compiled: Compiled, namespace: str, runbook: str, step: CompiledStep) -> bool:
    """Tell whether the step, as it is written now, is one of those that the settings name."""
    name = step.step.name
    named = [each for each in leave.steps if (each.namespace, each.runbook, each.step) == (namespace, runbook, name)]
    return bool(named) and digest_of(compiled, step) in {each.digest for each in named}


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
