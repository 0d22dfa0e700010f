"""What runs without asking a person, as an administrator has named it: single steps, each exactly as it is written now. Pure.

A mitigation that takes itself back runs unasked by its nature. What else may is named one by one in the operator's settings,
by the digest that `incident-operator check` prints; a step that is changed has another digest, and asks.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from incident_operator.api.meta import Model, is_dns_label, is_object_name
from incident_operator.api.runbook import Stage, Step
from incident_operator.core import sanitize, texts
from incident_operator.core.effects import Effect
from incident_operator.core.runbooks import dependencies
from incident_operator.core.runbooks.compiled import Compiled, CompiledStep

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
        for name in dependencies.of(waiting.pop()) - found:
            found.add(name)
            waiting.append(compiled.steps[name])
    return found


def is_named(leave: Leave, compiled: Compiled, namespace: str, runbook: str, step: CompiledStep) -> bool:
    """Tell whether the step, as it is written now, is one of those that the settings name."""
    name = step.step.name
    named = [each for each in leave.steps if (each.namespace, each.runbook, each.step) == (namespace, runbook, name)]
    return bool(named) and digest_of(compiled, step) in {each.digest for each in named}
