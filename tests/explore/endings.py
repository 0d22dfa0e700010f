"""Whether people can bring an Incident to its end, wherever it is."""

from datetime import timedelta

from core.simulator import World
from incident_operator.api.incident import CLOSED_PHASES

_ANSWERS = 30


def assert_can_be_brought_to_an_end(start: World, path: str, *, by_people: bool = False) -> None:
    """Check that an Incident closes once the alert is gone, all works, and a person answers what is asked.

    Where nobody tells of the alert's end, people alone can.
    """
    world = start.copy()
    world.gone = None
    if world.stored.spec.alerts:
        world.over() if by_people else world.resolve()
    for _ in range(_ANSWERS):
        world.go(timedelta(minutes=9))
        if world.status.phase in CLOSED_PHASES:
            return
        if world.status.pending_approval is not None:
            world.approve()
        elif world.status.pending_answer is not None:
            _answer(world)
    raise AssertionError(f"{path}: {world.status.message}")


def _answer(world: World) -> None:
    question = world.status.pending_answer
    assert question is not None
    if "retry" in question.verbs:
        world.retry()
    else:
        world.tell("done")
