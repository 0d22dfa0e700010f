"""What an act or a read may turn out to be, whatever the world is like."""

from dataclasses import dataclass, replace

from incident_operator.core.outcomes import (
    Effect,
    Failed,
    Failure,
    NotDone,
    Outcome,
    Pending,
    Succeeded,
    Undetermined,
    outcome_of_look,
)
from incident_operator.core.runbooks.compiled import CompiledStep
from tests.core.machine.simulation import OK, failed, unfinished


@dataclass(frozen=True, slots=True)
class End:
    """How an act ends for the operator, and whether the world was changed by it."""

    name: str
    outcome: Outcome
    happened: bool = False
    goes_on: bool = False
    """Whether it was sent, and may still happen."""


ODD = Succeeded({"json": {"done": False}, "status": 200, "rows": [{"id": 1}], "before": 2, "after": 5}, "not as wished")
WELL = End("goes well", OK, happened=True)
UNFINISHED = End("is not finished", unfinished(), goes_on=True)
FAILS = End("fails", failed())
MAY_BE_TRIED_AGAIN = End("fails, may be tried again", failed(retryable=True))
NOT_BEGUN = End("has not started", NotDone(2.0, "connection refused"))
_ACT = (
    WELL,
    FAILS,
    MAY_BE_TRIED_AGAIN,
    End("fails after its effect", failed(effected=True), happened=True),
    UNFINISHED,
    NOT_BEGUN,
    End("times out after its effect", unfinished(), happened=True),
    End("may have happened", Undetermined("connection lost")),
    End("may have happened, and did", Undetermined("connection lost"), happened=True),
)
_CANNOT_LOOK = End("cannot be looked up", outcome_of_look(Failure("Forbidden", "forbidden")))


def of_act(effect: Effect) -> tuple[End, ...]:
    """Return how an act may end. One that can be looked up is unfinished, not unknown, when no answer comes; no other is."""
    if effect is Effect.UNKEYED:
        return tuple(end for end in _ACT if not isinstance(end.outcome, Pending | NotDone))
    return _ACT[:-1]


def of_another_try(known: Outcome | None, *, under_way: bool) -> tuple[End, ...]:
    """Return how a call may end that is sent again under its key: an earlier try may have got through, or still may.

    The service answers what happened under the key; or it is not reached, or refuses for a reason of its own.
    """
    if known is not None:
        done = (End("is found", known, happened=True), End("is not finished", unfinished(), happened=True))
        return (*done, *(replace(end, happened=True) for end in (FAILS, MAY_BE_TRIED_AGAIN, NOT_BEGUN)))
    if under_way:
        return tuple(end if end.happened else replace(end, goes_on=True) for end in _ACT[:-1])
    return _ACT[:-1]


def of_lookup(known: Outcome | None, *, under_way: bool) -> tuple[End, ...]:
    """Return what a look may find: what happened, what goes on, or that it was not done; or it cannot look."""
    if known is not None:
        return (End("is found", known, happened=True), replace(_CANNOT_LOOK, name="cannot be looked up"))
    if under_way:
        late = (WELL, _ACT[3], UNFINISHED)
        return (*late, End("was not done", NotDone(0.0, "it was not done")), replace(_CANNOT_LOOK, goes_on=True))
    return (End("was not done", NotDone(0.0, "it was not done")), _CANNOT_LOOK)


def of_read(step: CompiledStep) -> tuple[End, ...]:
    """Return how a read may end."""
    again = (MAY_BE_TRIED_AGAIN,) if step.step.retry is not None else ()
    odd = (End("does not find it so", ODD),) if step.expect is not None or step.outputs else ()
    return (WELL, FAILS, *again, *odd)


def probed(*, happened: bool) -> End:
    """Return what a probe tells."""
    return End("tells", Succeeded({"json": {"done": happened}}, "answered"))


def found(outcome: Outcome) -> Outcome:
    """Return what a later look finds of an act that happened."""
    return outcome if isinstance(outcome, Succeeded | Failed) else OK
