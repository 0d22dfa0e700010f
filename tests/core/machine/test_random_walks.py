"""Long, random lives of an Incident: deeper than the exploration goes, and with several things going wrong at once."""

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incident_operator.core.outcomes import Effect
from proofs.explore import endings, outcomes
from proofs.explore.models import RUNBOOKS
from tests.core.machine.simulation import Crashed, Simulation

RECORDS = ("look", "serve", "grow", "block", "rebuild", "replay", "drain", "check", "users", "undo-serve", "undo-grow")
BAD = outcomes.of_act(Effect.K8S_CREATE)[1:]
EVENTS = st.sampled_from(
    (
        "approve",
        "reject",
        "retry",
        "done",
        "not-done",
        "resolve",
        "fire",
        "minute",
        "hour",
        "drift",
        "over",
        "another",
        "undo",
    )
)
TROUBLE = st.dictionaries(st.sampled_from(RECORDS), st.sampled_from([end.outcome for end in BAD]), max_size=3)
STEPS = st.lists(st.tuples(EVENTS, TROUBLE, st.none() | st.integers(1, 8)), max_size=12)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(RUNBOOKS)), STEPS)
def test_whatever_happens_no_rule_is_broken_and_people_can_bring_it_to_an_end(name, steps):
    simulation = Simulation(RUNBOOKS[name])
    for event, trouble, crash in steps:
        simulation.script = {record: [outcome] for record, outcome in trouble.items()}
        simulation.crash_at = None if crash is None else simulation.moments + crash
        _happens(simulation, event)
        _reconcile(simulation)
    simulation.script, simulation.crash_at = {}, None
    keys = [effect.key for effect in simulation.effects]
    assert len(keys) == len(set(keys))
    endings.assert_can_be_brought_to_an_end(simulation, " > ".join(event for event, _, _ in steps))


def _reconcile(simulation: Simulation) -> None:
    try:
        simulation.reconcile()
    except Crashed:
        simulation.crash_at = None
        simulation.reconcile()


def _happens(simulation: Simulation, event: str) -> None:
    match event:
        case "approve" | "reject" if simulation.status.pending_approval is not None:
            getattr(simulation, event)()
        case "retry" if simulation.status.pending_answer is not None:
            simulation.retry()
        case "done" | "not-done" if simulation.status.pending_answer is not None:
            simulation.tell(event)
        case "resolve" | "fire" | "over" | "another" | "undo":
            getattr(simulation, event)()
        case "minute" | "hour":
            simulation.now += timedelta(**{f"{event}s": 1})
        case "drift":
            simulation.does["rebuild"] = f"another build, planned at {simulation.now}"
        case _:
            pass
