"""Whether people can bring an Incident to its end, wherever it is."""

from datetime import timedelta

from incident_operator.api.incident import CLOSED_PHASES
from tests.core.machine.simulation import Simulation

_ANSWERS = 30


def assert_can_be_brought_to_an_end(start: Simulation, path: str, *, by_people: bool = False) -> None:
    """Check that an Incident closes once the alert is gone, all works, and a person answers what is asked.

    Where nobody tells of the alert's end, people alone can.
    """
    simulation = start.copy()
    simulation.gone = None
    if simulation.stored.spec.alerts:
        simulation.over() if by_people else simulation.resolve()
    for _ in range(_ANSWERS):
        simulation.go(timedelta(minutes=9))
        if simulation.status.phase in CLOSED_PHASES:
            return
        if simulation.status.pending_approval is not None:
            simulation.approve()
        elif simulation.status.pending_answer is not None:
            _answer(simulation)
    raise AssertionError(f"{path}: {simulation.status.message}")


def _answer(simulation: Simulation) -> None:
    question = simulation.status.pending_answer
    assert question is not None
    if "retry" in question.verbs:
        simulation.retry()
    else:
        simulation.tell("done")
