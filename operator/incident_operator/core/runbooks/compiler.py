"""From a Runbook as written to one that can run, or to everything that is wrong with it.

Two passes: compile every expression and template (here), then run the named checks over the result (`compiler_checks`).
Only the text is judged; whether an endpoint answers or a Secret may be read is found out elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping

from incident_operator.api.actions import ActionHolder
from incident_operator.api.connection import ConnectionType
from incident_operator.api.runbook import Runbook, RunbookSpec, Stage, Step
from incident_operator.core import effects, json_depth
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher
from incident_operator.core.expressions import expr, problems, render
from incident_operator.core.expressions.expr import CompileError, Program, Scope
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import compiler_checks, compiler_draft
from incident_operator.core.runbooks.compiled import Compiled, CompiledAction, CompiledProbe, CompiledStep, CompiledUndo
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep
from incident_operator.core.runbooks.compiler_parameters import compile_parameter
from incident_operator.core.runbooks.parameters import CompiledParameter

__all__ = ["Compiled", "CompiledAction", "CompiledProbe", "CompiledStep", "CompiledUndo", "Problem", "compile_runbook"]

MAX_PROBLEMS = 50
"""More would not fit into a condition's message."""

Problems = tuple[Problem, ...]


def compile_runbook(runbook: Runbook, connections: Mapping[str, ConnectionType] | None) -> Compiled | Problems:
    """Return the Runbook ready to run, or its defects in the order of the text, at most 50.

    `connections` are those of its namespace by name; None skips the checks that need them.
    """
    spec = runbook.spec
    malformed = tuple(_malformed(spec))
    if malformed:
        return malformed[:MAX_PROBLEMS]
    parameters = [compile_parameter(each, f"spec.parameters[{at}]") for at, each in enumerate(spec.parameters)]
    matchers = [_matcher(text, f"spec.match[{at}]") for at, text in enumerate(spec.match)]
    steps = [_step(placed) for placed in compiler_draft.placed(spec)]
    good_steps = tuple(step for step in steps if isinstance(step, CompiledStep))
    found = [*_problems(matchers), *_problems(parameters), *_problems(steps)]
    found += compiler_checks.run(Draft(spec, good_steps, connections))
    if found:
        return tuple(found[:MAX_PROBLEMS])
    return Compiled(
        spec=spec,
        parameters=tuple(each for each in parameters if isinstance(each, CompiledParameter)),
        matchers=tuple(each for each in matchers if isinstance(each, Matcher)),
        steps={step.step.name: step for step in good_steps},
    )


def _malformed(spec: RunbookSpec) -> Iterator[Problem]:
    """Yield what the CRD refuses already, and no later pass could live with."""
    for step in compiler_draft.placed(spec):
        for path, holder in compiler_draft.holders(step):
            keys = compiler_draft.action_keys(holder)
            if len(keys) != 1:
                yield Problem(path, f"exactly one action (found {', '.join(keys) or 'none'})")
            if _too_deep(holder):
                yield Problem(path, f"is nested more than {json_depth.KEPT} levels deep")


def _too_deep(holder: ActionHolder) -> bool:
    try:
        return json_depth.is_deeper(holder.to_json(), json_depth.KEPT)
    except ValueError:  # pydantic's own bound
        return True


def _problems(parts: Iterable[object]) -> Iterator[Problem]:
    for part in parts:
        if isinstance(part, Problem):
            yield part
        if isinstance(part, tuple):
            yield from part


def _matcher(text: str, path: str) -> Matcher | Problem:
    found = matching.parse(text)
    if isinstance(found, matching.MatcherError):
        return problems.of_expression(path, CompileError(found.message, text, column=found.column))
    return found


def _step(placed: PlacedStep) -> CompiledStep | Problems:
    step, path = placed.step, placed.path
    acts = {at: _action(holder, at) for at, holder in compiler_draft.holders(placed)}
    tried = {at: _program(source, scope, f"{path}.{at}") for at, source, scope in _expressions(step)}
    found = (*_problems(tried.values()), *(problem for act in acts.values() for problem in act.template.problems))
    if found:
        return found
    programs = {at: program for at, program in tried.items() if isinstance(program, Program)}
    probe = acts.get(f"{path}.probe")
    return CompiledStep(
        step=step,
        stage=placed.stage,
        path=path,
        act=acts[path],
        when=programs.get("when"),
        expect=programs.get("expect"),
        outputs={name: programs[f"outputs.{name}"] for name in step.outputs},
        undo=_undo(placed, acts),
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
    compiled = expr.compile_value if ".outputs." in path else expr.compile_condition
    program = compiled(source, scope)
    return problems.of_expression(path, program) if isinstance(program, CompileError) else program


def _action(holder: ActionHolder, path: str) -> CompiledAction:
    key, spec = holder.action
    return CompiledAction(key, spec, effects.of(key, spec), render.prepare(key, spec, path))


def _undo(placed: PlacedStep, acts: Mapping[str, CompiledAction]) -> CompiledUndo | None:
    """Return how the step is undone; a mitigation that can put back what it captured needs no declared undo."""
    declared = acts.get(f"{placed.path}.undo")
    if declared is not None:
        return CompiledUndo(declared, natural=False)
    own = acts[placed.path]
    if placed.stage is Stage.MITIGATE and own.key in effects.NATURALLY_UNDOABLE:
        return CompiledUndo(own, natural=True)
    return None
