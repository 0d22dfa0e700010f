"""Checks of steps and stages: names, what kind of effect may live where, and how it is taken back."""

from collections import Counter
from collections.abc import Iterator

from incident_operator.api.runbook import Stage
from incident_operator.core.effects import Effect
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep

READ_ONLY = frozenset({Stage.DIAGNOSE, Stage.VERIFY})
_RESERVED_PREFIX = "undo-"


def names_are_unique(draft: Draft) -> Iterator[Problem]:
    """Require one name for each step in all stages, outside the prefix that records of undos have."""
    counts = Counter(placed.step.name for placed in draft.steps)
    for placed in draft.steps:
        name = placed.step.name
        if counts[name] > 1:
            yield Problem(f"{placed.path}.name", f"{name} is the name of {counts[name]} steps; each needs its own")
        if name.startswith(_RESERVED_PREFIX):
            yield Problem(f"{placed.path}.name", f"{name} begins with {_RESERVED_PREFIX}, which is kept for undos")


def effects_fit_their_stage(draft: Draft) -> Iterator[Problem]:
    """Require that diagnosis and verification only look."""
    for placed in draft.steps:
        if placed.stage in READ_ONLY and not placed.is_read:
            key, instead = placed.act.key, placed.act.action.instead
            message = f"{placed.stage.value} only reads, and this {key} changes things ({placed.effect.value})"
            yield Problem(placed.act.path, f"{message}; {instead}" if instead else message)


def mitigations_can_be_taken_back(draft: Draft) -> Iterator[Problem]:
    """Require that a mitigation is temporary, or says that it protects."""
    for placed in draft.steps:
        if placed.stage is not Stage.MITIGATE or placed.is_read or placed.step.protective:
            continue
        if placed.undo is None and not placed.act.action.naturally_undoable:
            message = (
                f"{placed.act.key} in mitigate needs an undo; or move it to remediate, or declare it protective: true"
            )
            yield Problem(f"{placed.path}.undo", message)


def undos_take_something_back(draft: Draft) -> Iterator[Problem]:
    """Require that an undo is an act, and belongs to an act."""
    for placed in draft.steps:
        yield from _undo_problems(placed)


def _undo_problems(placed: PlacedStep) -> Iterator[Problem]:
    undo = placed.undo
    if undo is None:
        return
    path = f"{placed.path}.undo"
    if undo.effect is Effect.READ:
        yield Problem(undo.path, f"{undo.key} only reads, so it undoes nothing")
    if placed.is_read:
        yield Problem(path, "the step only reads, so there is nothing to undo")
    elif placed.stage is Stage.RESTORE:
        yield Problem(path, "restore is where things are taken back; its own steps are not undone")
    if placed.stage is Stage.REMEDIATE:
        yield Problem(path, "a remediation is permanent; a change that is to be undone belongs in mitigate")


def protection_is_for_mitigations(draft: Draft) -> Iterator[Problem]:
    """Require that `protective` excuses a mitigation from having an undo, which is all that it means."""
    for placed in draft.steps:
        if not placed.step.protective:
            continue
        if placed.stage is not Stage.MITIGATE:
            yield Problem(f"{placed.path}.protective", f"is for mitigate only; {placed.stage.value} does not need it")
        elif placed.step.undo is not None:
            yield Problem(f"{placed.path}.protective", "is for what cannot be undone, and this step declares an undo")


def probes_are_reads(draft: Draft) -> Iterator[Problem]:
    """Require that what finds out whether an interrupted act happened does not act itself."""
    for placed in draft.steps:
        probe = placed.probe
        if probe is None:
            continue
        if probe.effect is not Effect.READ:
            yield Problem(probe.path, f"a probe only reads, and this {probe.key} changes things")
        if placed.effect.is_known:
            message = f"is for an unkeyed act; {placed.effect.value} needs no probe after a crash"
            yield Problem(f"{placed.path}.probe", message)


def approvals_are_for_acts(draft: Draft) -> Iterator[Problem]:
    """Require that nobody is asked about a read."""
    for placed in draft.steps:
        if placed.step.approval is not None and placed.is_read:
            yield Problem(f"{placed.path}.approval", "the step only reads, so nobody is asked")
