"""Long, random lives of an Incident: deeper than the exploration goes, and with several things going wrong at once."""

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.simulator import Crashed, World
from explore import endings, outcomes
from explore.models import RUNBOOKS
from incident_operator.core.outcomes import Effect

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
    world = World(RUNBOOKS[name])
    for event, trouble, crash in steps:
        world.script = {record: [outcome] for record, outcome in trouble.items()}
        world.crash_at = None if crash is None else world.moments + crash
        _happens(world, event)
        _reconcile(world)
    world.script, world.crash_at = {}, None
    keys = [effect.key for effect in world.effects]
    assert len(keys) == len(set(keys))
    endings.assert_can_be_brought_to_an_end(world, " > ".join(event for event, _, _ in steps))


def _reconcile(world: World) -> None:
    try:
        world.reconcile()
    except Crashed:
        world.crash_at = None
        world.reconcile()


def _happens(world: World, event: str) -> None:
    match event:
        case "approve" | "reject" if world.status.pending_approval is not None:
            getattr(world, event)()
        case "retry" if world.status.pending_answer is not None:
            world.retry()
        case "done" | "not-done" if world.status.pending_answer is not None:
            world.tell(event)
        case "resolve" | "fire" | "over" | "another" | "undo":
            getattr(world, event)()
        case "minute" | "hour":
            world.now += timedelta(**{f"{event}s": 1})
        case "drift":
            world.does["rebuild"] = f"another build, planned at {world.now}"
        case _:
            pass
