"""From a Runbook as written to one that can run, or to everything that is wrong with it.

Two passes: compile every expression and template, then run the named checks over the result, in the order in which they are told.
Only the text is judged; whether an endpoint answers or a Secret may be read is found out elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from incident_operator.api.runbook import Runbook, Stage, Step
from incident_operator.core.action import Actions
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher
from incident_operator.core.expressions import cel, templates, weight
from incident_operator.core.expressions.cel import CompileError, Problem, Program, Scope
from incident_operator.core.expressions.weight import Weight
from incident_operator.core.runbooks import checks, draft, untrusted
from incident_operator.core.runbooks.compiled import (
    Compiled,
    CompiledAction,
    CompiledProbe,
    CompiledStep,
    CompiledUndo,
    expressions,
)
from incident_operator.core.runbooks.draft import Draft, PlacedStep, compile_parameter, names_exist
from incident_operator.core.runbooks.parameters import CompiledParameter
from incident_operator.core.runbooks.reading import PlacedAction
from incident_operator.core.sanitize import RUNBOOK_BYTES, pattern_bytes

Check = Callable[[Draft], Iterator[Problem]]

CHECKS: tuple[Check, ...] = (
    checks.names_are_unique,
    checks.effects_fit_their_stage,
    checks.mitigations_can_be_taken_back,
    checks.undos_take_something_back,
    checks.protection_is_for_mitigations,
    checks.probes_are_reads,
    checks.approvals_are_for_acts,
    checks.verify_steps_can_fail,
    checks.polls_can_end,
    checks.durations_are_some_time,
    names_exist,
    untrusted.labels_enter_by_parameters_only,
    untrusted.texts_reach_a_command_by_a_pattern,
    untrusted.acts_render_the_same_again,
    checks.connections_exist,
    checks.actions_keep_their_own_rules,
)


def run(draft: Draft) -> Iterator[Problem]:
    """Yield what all checks find. Whoever has enough of it stops: what is behind that costs nothing."""
    return (problem for check in CHECKS for problem in check(draft))


__all__ = ["Compiled", "CompiledAction", "CompiledProbe", "CompiledStep", "CompiledUndo", "Problem", "compile_runbook"]

MAX_PROBLEMS = 50
"""More would not fit into a condition's message."""

Problems = tuple[Problem, ...]


def compile_runbook(
    runbook: Runbook, connections: Mapping[str, str | None] | None, actions: Actions
) -> Compiled | Problems:
    """Return the Runbook ready to run, or its defects in the order of the text, at most 50.

    `connections` are those of its namespace, or of them those that it names, name → type; None skips the checks that need them, for
    all or, in place of a type, for one that is not there yet. `actions` are those there are.
    """
    spec = runbook.spec
    placed = list(draft.placed(spec, actions))
    written = tuple(each for each in placed if isinstance(each, PlacedStep))
    with cel.compiled_at_most(weight.RUNBOOK_PARTS):
        parameters = [compile_parameter(each, f"spec.parameters[{at}]") for at, each in enumerate(spec.parameters)]
        steps = [_step(each) for each in written]
    matchers = [_matcher(text, f"spec.match[{at}]") for at, text in enumerate(spec.match)]
    good_steps = tuple(step for step in steps if isinstance(step, CompiledStep))
    checks = run(Draft(spec, written, good_steps, connections))
    heavy = _heavy_patterns(matchers, parameters)
    parts = chain((each for each in placed if isinstance(each, tuple)), matchers, parameters, steps, heavy)
    found = tuple(islice(chain(_problems(parts), checks), MAX_PROBLEMS))
    if found:
        return found
    compiled = Compiled(
        spec=spec,
        parameters=tuple(each for each in parameters if isinstance(each, CompiledParameter)),
        matchers=tuple(each for each in matchers if isinstance(each, Matcher)),
        steps={step.step.name: step for step in good_steps},
    )
    programs = [each.program for each in expressions(compiled)]
    heavy_ones = any(program.weight is not Weight.LIGHT for program in programs)
    return replace(compiled, heavy=heavy_ones, parts=sum(program.parts for program in programs))


def _problems(parts: Iterable[object]) -> Iterator[Problem]:
    for part in parts:
        if isinstance(part, Problem):
            yield part
        if isinstance(part, tuple):
            yield from part


def _matcher(text: str, path: str) -> Matcher | Problem:
    found = matching.parse(text)
    if isinstance(found, matching.MatcherError):
        return cel.of_expression(path, CompileError(found.message, text, column=found.column))
    return found


def _heavy_patterns(matchers: Iterable[object], parameters: Iterable[object]) -> Iterator[Problem]:
    """Require that the patterns which are kept as long as the Runbook is take little memory together."""
    taken = pattern_bytes(
        each.pattern for each in (*matchers, *parameters) if isinstance(each, Matcher | CompiledParameter)
    )
    if taken > RUNBOOK_BYTES:
        told = f"the patterns of match and parameters take {taken // 1024} KiB together, a Runbook's {RUNBOOK_BYTES // 1024}"
        yield Problem("spec", f"{told}; use fewer repetitions in them, or smaller character classes")


def _step(placed: PlacedStep) -> CompiledStep | Problems:
    step, path = placed.step, placed.path
    act, undo, probe = _action(placed.act), _optional(placed.undo), _optional(placed.probe)
    tried = {at: _program(source, scope, f"{path}.{at}") for at, source, scope in _expressions(step)}
    acts = (each for each in (act, undo, probe) if each is not None)
    found = (*_problems(tried.values()), *(problem for each in acts for problem in each.template.problems))
    if found:
        return found
    programs = {at: program for at, program in tried.items() if isinstance(program, Program)}
    return CompiledStep(
        step=step,
        stage=placed.stage,
        path=path,
        act=act,
        when=programs.get("when"),
        expect=programs.get("expect"),
        outputs={name: programs[f"outputs.{name}"] for name in step.outputs},
        undo=_undo(placed.stage, act, undo),
        probe=CompiledProbe(probe, programs["probe.expect"]) if probe else None,
    )


def _expressions(step: Step) -> Iterator[tuple[str, str, Scope]]:
    """Yield every bare expression of a step: its place below the step, its text, what it may name."""
    if step.when is not None:
        yield "when", step.when, Scope.STEP
    if step.expect is not None:
        yield "expect", step.expect, Scope.RESULT
    for name, source in step.outputs.items():
        yield f"outputs.{name}", source, Scope.RESULT
    if step.probe is not None:
        yield "probe.expect", step.probe.expect, Scope.RESULT


def _program(source: str, scope: Scope, path: str) -> Program | Problem:
    compiled = cel.compile_value if ".outputs." in path else cel.compile_condition
    program = compiled(source, scope)
    return cel.of_expression(path, program) if isinstance(program, CompileError) else program


def _action(placed: PlacedAction) -> CompiledAction:
    template = templates.prepare(placed.spec, placed.action.rendering, placed.path)
    return CompiledAction(placed.action, placed.spec, placed.effect, template)


def _optional(placed: PlacedAction | None) -> CompiledAction | None:
    return None if placed is None else _action(placed)


def _undo(stage: Stage, own: CompiledAction, declared: CompiledAction | None) -> CompiledUndo | None:
    """Return how a step is undone; a mitigation that can put back what it captured needs no declared undo."""
    if declared is not None:
        return CompiledUndo(declared, natural=False)
    if stage is Stage.MITIGATE and own.action.naturally_undoable:
        return CompiledUndo(own, natural=True)
    return None
