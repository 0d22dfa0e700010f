"""The checks of steps: names and stages, how an effect is taken back, the Connections that actions name, times that can end.

A `verify` step that nothing could fail verifies nothing, so that is refused too.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from incident_operator.api.meta import seconds
from incident_operator.api.runbook import Stage
from incident_operator.core.expressions import cel, weight
from incident_operator.core.expressions.cel import NoAnswer, Problem, Program, Scope
from incident_operator.core.expressions.weight import Weight
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiled import CompiledStep
from incident_operator.core.runbooks.draft import Draft


def connections_exist(draft: Draft) -> Iterator[Problem]:
    """Require that every Connection is in the namespace, and of the type that the action talks to."""
    known = draft.connections
    if known is None:
        return
    for action in draft.actions:
        spec = action.spec.model_dump(by_alias=True) if action.action.connections else {}
        for field, wanted in action.action.connections.items():
            name, path = spec[field], f"{action.path}.{field}"
            if not isinstance(name, str) or "${" in name:
                continue  # that is told where the text is prepared
            if name not in known:
                others = ", ".join(sorted(each for each, kind in known.items() if kind == wanted))
                told = f"; of type {wanted}: {others}" if others else ""
                yield Problem(path, f"there is no Connection {name} in this namespace{told}", elsewhere=True)
            elif known[name] not in {None, wanted}:
                told = f"Connection {name} is of type {known[name]}; {action.key} needs {wanted}"
                yield Problem(path, told, elsewhere=True)


def actions_keep_their_own_rules(draft: Draft) -> Iterator[Problem]:
    """Require what each action's declaration requires of its fields."""
    for action in draft.actions:
        for check in action.action.checks:
            yield from check(action.spec, action.path)


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
        undo, path = placed.undo, f"{placed.path}.undo"
        if undo is None:
            continue
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


_NOW = "now"
_HAS = re.compile(r"\bhas\(\s*result\.(\w+)\s*\)")
_ANY_TIME = datetime(2025, 1, 1, tzinfo=UTC)


def verify_steps_can_fail(draft: Draft) -> Iterator[Problem]:
    """Require of each step of `verify` an `expect` that something can make false."""
    for placed in draft.steps:
        # of an act there is more to be told, and of an until that is told by itself
        proves_nothing = placed.step.expect is None and placed.step.until is None
        if placed.stage is Stage.VERIFY and placed.is_read and proves_nothing:
            told = "a verify step needs an expect: without one, any result counts as verified"
            example = _EXAMPLES.get(placed.act.key, "result.truncated == false")
            yield Problem(f"{placed.path}.expect", f"{told}; say what has to be true, e.g. {example}")
    for step in draft.compiled:
        if step.stage is Stage.VERIFY and step.act.effect is Effect.READ and _is_constant(step):
            told = "has the same value whatever the step finds; say what has to be true of result"
            yield Problem(f"{step.path}.expect", told)


def _is_constant(step: CompiledStep) -> bool:
    """Tell whether an expectation does not depend on anything, also where it names something: `true || result.x`."""
    program = step.expect
    if program is None or any(token.text == _NOW for token in weight.tokens(program.source)):
        return False
    if not program.references:
        return True
    # with `true` for each question whether the result has a field that it always has
    names, always = step.act.action.result_names, program
    source = _HAS.sub(lambda found: "true" if found[1] in names else found[0], program.source)
    if source != program.source:
        with cel.compiled_at_most(weight.MAX_PARTS):
            compiled = cel.compile_condition(source, Scope.RESULT)
        always = compiled if isinstance(compiled, Program) else program
    # whatever is named is not there, so it has an answer only where that does not matter
    return always.weight is not Weight.HEAVY and not isinstance(cel.evaluate(always, {}, _ANY_TIME), NoAnswer)


_EXAMPLES = {
    "http": "result.status == 200",
    "promql": "result.value < 0.01",
    "sqlQuery": "result.rows[0].fresh",
    "get": "result.object.status.readyReplicas > 0",
    "logs": "result.matches.size() == 0",
}
"""Of actions that people verify with."""


def polls_can_end(draft: Draft) -> Iterator[Problem]:
    """Require that a poll repeats a read until its `expect` holds."""
    for placed in draft.steps:
        until, path = placed.step.until, f"{placed.path}.until"
        if until is None:
            continue
        if placed.step.expect is None:
            yield Problem(path, "polls until expect is true, but the step has no expect")
        if not placed.is_read:
            yield Problem(path, f"would repeat an act ({placed.effect.value}); only a read can be polled")
        if placed.step.retry is not None:
            yield Problem(f"{placed.path}.retry", "a polled step is tried again anyway; leave out retry or until")
        if seconds(until.every) > seconds(until.for_):
            told = f"{until.every} is longer than for ({until.for_}), so it would look only once"
            yield Problem(f"{path}.every", told)


def durations_are_some_time(draft: Draft) -> Iterator[Problem]:
    """Require that nothing takes, lasts or waits no time at all."""
    for path, duration in _durations(draft):
        if duration is not None and seconds(duration) <= 0:
            yield Problem(path, f"{duration} is not longer than 0s; write for example 30s")


def _durations(draft: Draft) -> Iterator[tuple[str, str | None]]:
    spec = draft.spec
    yield "spec.resolveTimeout", spec.resolve_timeout
    for name in ("acknowledge", "mitigate", "resolve"):
        yield f"spec.objectives.{name}", getattr(spec.objectives, name)
    for placed in draft.steps:
        step, path = placed.step, placed.path
        yield f"{path}.timeout", step.timeout
        if step.until is not None:
            yield f"{path}.until.every", step.until.every
            yield f"{path}.until.for", step.until.for_
        if step.approval is not None:
            yield f"{path}.approval.expiresAfter", step.approval.expires_after
