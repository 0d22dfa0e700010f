"""What an act or a read may turn out to be, whatever the world is like."""

from collections.abc import Iterator
from dataclasses import dataclass

from core.simulator import OK, failed, unfinished
from incident_operator.core.effects import Effect
from incident_operator.core.machine import status
from incident_operator.core.machine.outcome import evaluate_probe
from incident_operator.core.machine.view import View
from incident_operator.core.outcomes import Failed, Outcome, Succeeded, Undetermined
from incident_operator.core.runbooks.compiled import CompiledStep


@dataclass(frozen=True, slots=True)
class End:
    """How an act ends for the operator, and whether the world was changed by it."""

    name: str
    outcome: Outcome
    happened: bool = False


ODD = Succeeded({"json": {"done": False}, "status": 200, "rows": [{"id": 1}], "before": 2, "after": 5}, "not as wished")
WELL = End("goes well", OK, happened=True)
UNFINISHED = End("is not finished", unfinished())
FAILS = End("fails", failed())
MAY_BE_TRIED_AGAIN = End("fails, may be tried again", failed(retryable=True))
_ACT = (
    WELL,
    FAILS,
    MAY_BE_TRIED_AGAIN,
    End("fails after its effect", failed(effected=True), happened=True),
    UNFINISHED,
    End("times out after its effect", unfinished(), happened=True),
    End("may have happened", Undetermined("connection lost")),
    End("may have happened, and did", Undetermined("connection lost"), happened=True),
)
_CANNOT_LOOK = End("cannot be looked up", failed("forbidden", retryable=True), happened=True)


def of_act(effect: Effect) -> tuple[End, ...]:
    """Return how an act may end. One that can be looked up is unfinished, not unknown, when no answer comes."""
    return _ACT if effect is Effect.UNKEYED else _ACT[:-1]


def of_lookup(known: Outcome | None, effect: Effect) -> tuple[End, ...]:
    """Return how it may end to run an act again that was begun: what happened is found, or cannot be looked up."""
    if known is None:
        return of_act(effect)
    return (End("is found", known, happened=True), _CANNOT_LOOK)


def of_read(step: CompiledStep) -> Iterator[End]:
    """Yield how a read may end."""
    yield WELL
    yield FAILS
    if step.step.retry is not None:
        yield MAY_BE_TRIED_AGAIN
    if step.expect is not None or step.outputs:
        yield End("does not find it so", ODD)


def found(outcome: Outcome) -> Outcome:
    """Return what a later look finds of an act that happened."""
    return outcome if isinstance(outcome, Succeeded | Failed) else OK


def probe_fails(view: View, step: CompiledStep) -> status.StepResult:
    """Return what a probe that gets no answer says."""
    return evaluate_probe(view.incident, step, failed(), view.now)
