"""What people say without being asked: the alert is over, I am on it; and an abort that takes back what is in place."""

from datetime import timedelta

import pytest

from core.builders import UNDO, by_hand, keyed, post, runbook, scale, sql, usual
from core.simulator import World, failed, unasked, unfinished
from incident_operator.api.incident import ObjectiveState, Phase, Silence, Verb
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Blocked, Wait
from incident_operator.core.outcomes import Undetermined
from incident_operator.core.runbooks.reviews import Leave
from incident_operator.core.status import report

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}
PROMISES = {"objectives": {"acknowledge": "10m"}}


def silence(**fields) -> Silence:
    return Silence.model_validate({"alerts": 1, "connection": "alerts", "by": "bob@dawsos.com", **fields})


def silenced(world: World, kept: Silence) -> World:
    """Have a Connection say that the alert is silenced."""
    spec = world.stored.spec.model_copy(update={"silence": kept})
    world.stored = world.stored.model_copy(update={"spec": spec})
    return world


# over


@pytest.mark.parametrize("approved", [True, False], ids=["verified", "asked"])
def test_who_says_that_the_alert_is_over_has_it_restored_undone_and_closed(approved):
    world = World(usual(**TWO)).go()
    if approved:
        world.approve().go()
    world.over().go()
    assert world.status.phase is Phase.RESOLVED
    assert world.done[-2:] == ["undo-serve", "undo-grow"]
    assert world.status.message.endswith("alice@dawsos.com said that the alert is over.")
    assert [alert.status.value for alert in world.stored.spec.alerts] == ["firing"], "what Alertmanager told stays"
    assert world.status.over is not None
    assert (world.status.over.by, world.status.over.alerts) == ("alice@dawsos.com", 1)


def test_an_alert_of_which_no_end_is_ever_told_is_ended_by_a_person():
    world = World(usual(resolveTimeout="10s")).go().approve().go(timedelta(minutes=1))
    assert world.status.reason == reasons.ALERT_STILL_FIRING
    assert (
        'If the alert is over: kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1 incidents.dev/over="1 '
        in (world.status.message)
    )
    assert '("undo" instead of "now" undoes what is in place)' in world.status.message
    assert world.over().go().status.phase is Phase.RESOLVED


def test_what_has_not_begun_is_left_out_and_says_by_whose_word():
    world = World(usual()).go().over().go()
    left_out = next(record for record in world.status.steps if record.name == "rebuild")
    assert left_out.summary == "alice@dawsos.com said that the alert is over before this started"
    assert world.done == ["serve", "undo-serve"]


def test_an_incident_that_was_opened_by_hand_is_over_by_word_too():
    world = World(usual(), by_hand()).go().over().go()
    assert world.done == ["serve", "undo-serve"]
    assert world.status.phase is Phase.RESOLVED


def test_without_a_runbook_nothing_was_done_and_it_closes():
    missing = Blocked(reasons.RUNBOOK_NOT_FOUND, "Runbook rb does not exist.")
    world = World(usual(), gone=missing).go().over().go()
    assert (world.status.phase, world.status.message) == (
        Phase.RESOLVED, "alice@dawsos.com said that the alert is over; nothing was done.",
    )  # fmt: skip


def test_an_alert_that_comes_after_it_was_said_to_be_over_fires_as_one_that_comes_back():
    world = World(usual(restore=[sql("replay", approval={})])).go().over().go()
    assert world.states()["rebuild"] == "Skipped"
    assert world.pending.steps == ["replay"]
    world.another().go()
    assert world.pending.steps == ["rebuild"], "what was left out is wanted again"
    world.approve().go()
    assert world.status.message.startswith("Verified. Waiting for the alert to resolve")
    world.over().go()
    assert world.pending.steps == ["replay"], "the same person may say it of both"


@pytest.mark.parametrize("token", ["0", "2", "now", "", "1.0", "-1", "99999"])
def test_over_names_the_alerts_that_are_listed_and_nothing_else(token):
    world = World(usual()).go().annotate(Verb.OVER, token).go()
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_a_question_that_only_a_person_can_answer_stays_though_it_is_over():
    world = World(usual(remediate=[post("replay")]))
    world.script["replay"] = [Undetermined("connection lost")]
    world.go().approve().go().over().go()
    assert world.status.reason == reasons.STEP_UNKNOWN
    assert world.tell("done").go().status.phase is Phase.RESOLVED


# on it


def test_who_is_on_it_meets_the_promise_and_is_shown_until_then():
    world = World(usual(**PROMISES)).go()
    (asked,) = (each for each in world.status.conditions if each.type == "Acknowledged")
    assert asked.status == "False"
    assert (
        "to say that you are on it: kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1" in asked.message
    )
    assert 'incidents.dev/acknowledge="30m/$(date -u +%H:%M) $(kubectl auth whoami' in asked.message
    world.acknowledge().go(timedelta(minutes=1))
    (promise,) = world.status.objectives
    assert promise.state is ObjectiveState.MET
    assert world.status.waiting_for == "approval until 01:00 (alice@dawsos.com is on it until 01:00)"
    assert world.status.message.endswith("alice@dawsos.com is on it until 01:00 UTC.")
    (there,) = (each for each in world.status.conditions if each.type == "Acknowledged")
    assert there.message == "alice@dawsos.com is on it until 2025-10-21T01:00:00Z"
    assert world.status.phase is Phase.AWAITING_APPROVAL, "nothing else comes of it"


def test_it_runs_out_and_the_promise_stays_kept():
    world = World(usual(remediate=[sql("rebuild", approval={"expiresAfter": "2h"})], **PROMISES)).go()
    world.acknowledge("5m").go(timedelta(minutes=6))
    world.go()
    assert world.status.waiting_for == "approval until 02:30"
    assert not [each for each in world.status.conditions if each.type == "Acknowledged"]
    assert world.status.objectives[0].state is ObjectiveState.MET


def test_saying_it_again_extends_it_and_another_takes_it_over():
    world = World(usual()).go().acknowledge("30m").go(timedelta(minutes=10))
    writes = world.writes
    world.acknowledge("30m").go()
    assert world.writes == writes, "the same words change nothing"
    world.acknowledge("30m/00:40").go()
    assert world.status.waiting_for.endswith("(alice@dawsos.com is on it until 01:10)")
    world.acknowledge("1h", by="bob@dawsos.com").go()
    assert world.status.waiting_for.endswith("(bob@dawsos.com is on it until 01:40)")


def test_who_takes_it_back_is_not_on_it_any_more():
    world = World(usual()).go().acknowledge().go()
    world.stored = world.stored.model_copy(
        update={"metadata": world.stored.metadata.model_copy(update={"annotations": {}})}
    )
    assert world.go().status.waiting_for == "approval until 01:00"


def test_who_is_called_is_seen_to_be_on_it():
    world = World(usual())
    world.script["serve"] = [failed()]
    world.go().acknowledge("1h30m").go()
    assert world.status.waiting_for == "a person: a step failed (alice@dawsos.com is on it until 02:00)"


@pytest.mark.parametrize("token", ["", "soon", "0m", "25h", "24h1m", "30", "90s", "1d", "30m/", "99999m"])
def test_what_is_not_a_time_acknowledges_nothing(token):
    world = World(usual()).go().acknowledge(token).go()
    assert world.status.acknowledgement is None
    assert world.status.times.acknowledged is None


def test_however_often_it_is_said_an_abort_is_not_forgotten():
    world = World(usual(**TWO))
    world.script["undo-serve"] = [failed()] * 60
    world.go().undo().go()
    for _ in range(55):
        world.retry().go()
    assert world.status.phase is Phase.NEEDS_HUMAN
    world.resolve().go()
    assert world.status.answers[0].verb == "abort"
    world.script["undo-serve"] = []
    assert world.retry().go().status.reason == reasons.ABORTED


# abort, with undo


def test_an_abort_may_take_back_what_is_in_place_the_newest_first():
    world = World(usual(**TWO)).go().undo().go()
    assert world.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert (world.status.phase, world.status.message) == (
        Phase.FAILED,
        "Aborted by alice@dawsos.com; nothing more is done. Undone: grow, serve. Nothing temporary is left in place.",
    )


def test_what_undo_on_says_does_not_matter_then():
    world = World(usual(mitigate=[scale("grow", undoOn=["Failed"])])).go().undo().go()
    assert world.done == ["grow", "undo-grow"]


def test_an_act_under_way_is_followed_first_and_undone_then():
    world = World(usual())
    world.script["serve"] = [unfinished()] * 2
    world.go()
    world.undo().reconcile()
    assert "then what was changed is undone" in world.status.message
    world.go(HOUR)
    assert world.done == ["serve", "undo-serve"]
    assert world.status.reason == reasons.ABORTED


def test_an_undo_that_fails_then_calls_a_person_who_may_stop_it_for_good():
    world = World(usual(**TWO))
    world.script["undo-serve"] = [failed("7 replicas now, not 5; left alone")]
    world.go().undo().go()
    assert world.status.reason == reasons.RESTORE_FAILED
    world.abort().go()
    assert world.status.phase is Phase.FAILED
    assert "Still in place, not undone: grow (ok), serve (ok)." in world.status.message


def test_where_nothing_acts_unasked_an_undo_is_asked_for_after_an_abort_too():
    leave = Leave(not_acting=frozenset({"prod"}))
    world = World(usual(mitigate=[sql("serve", undo=UNDO)]), leave=leave).go().approve().go()
    world.undo().go()
    assert world.pending.steps == ["undo-serve"]
    assert world.done == ["serve"]
    assert world.approve().go().status.message.endswith("Undone: serve. Nothing temporary is left in place.")


def test_an_undo_whose_fate_nobody_knows_is_not_repeated_after_an_abort():
    delete = {"http": {"connection": "api", "method": "DELETE", "path": "/block"}}
    world = World(runbook(mitigate=[sql("block", undo=delete)]))
    world.script["undo-block"] = [Undetermined("connection lost")]
    world.go().undo().go()
    assert world.status.reason == reasons.STEP_UNKNOWN
    assert world.tell("done").go().status.message.endswith("Undone: block. Nothing temporary is left in place.")
    assert world.done == ["block"]


def test_a_keyed_undo_is_asked_again_after_an_abort():
    world = World(runbook(mitigate=[sql("block", undo={"http": keyed("x")["http"]})]))
    world.script["undo-block"] = [unfinished()]
    world.go().undo().go(HOUR)
    assert world.states()["block"] == "Undone"


def test_without_its_runbook_nothing_is_undone_and_that_is_told():
    world = World(usual()).go()
    world.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    world.undo().go()
    assert world.done == ["serve"]
    assert "Still in place, not undone: serve (ok)." in world.status.message


def test_what_stays_in_place_is_told_with_the_command_that_puts_it_back():
    world = World(usual(mitigate=[scale("grow")])).go()
    put_back = "kubectl scale -n prod deployment/web --replicas=2"
    steps = [
        record.model_copy(update={"captured": {"before": 2, "after": 5, "undoWith": put_back}, "summary": "deployment/web scaled 2 → 5"})
        if record.name == "grow" else record
        for record in world.status.steps
    ]  # fmt: skip
    world.stored = world.stored.model_copy(update={"status": world.status.model_copy(update={"steps": steps})})
    world.abort().go()
    assert (
        f"Still in place, not undone: grow (deployment/web scaled 2 → 5; put it back: {put_back})."
        in world.status.message
    )
    told = report.markdown(world.stored, None)
    assert "| no, it is still in place; put it back: kubectl scale" in told
    assert "| not yet |" not in told


# answers that do nothing, and silences


def test_an_approval_of_an_older_plan_is_told_as_one():
    world = World(usual()).go().approve()
    world.does["rebuild"] = "build something else"
    older = world.pending.plan_hash[:12]
    world.go()
    assert (
        f"The approval by alice@dawsos.com is for an older plan ({older}); this one is {world.pending.plan_hash[:12]}."
        in (world.status.message)
    )
    world.approve().go()
    assert world.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    ("noticed", "words"),
    [(True, "This Connection notices when they end."), (False, "If it is over: kubectl annotate")],
    ids=["noticed", "by people alone"],
)
def test_a_silenced_alert_is_told_as_silenced(noticed, words):
    kept = silence(until="2025-10-21T03:00:00Z", endIsNoticed=noticed)
    world = silenced(World(usual()), kept).go()
    (told,) = (each for each in world.status.conditions if each.type == "AlertSilenced")
    assert told.message.startswith(
        "Connection alerts sees 1 of its alerts silenced until 2025-10-21T03:00:00Z by bob@dawsos.com;"
    )
    assert words in told.message
    world.approve().go()
    assert (
        "Alertmanager silences 1 of its alerts until 03:00 UTC by bob@dawsos.com. If it is over: "
        in world.status.message
    )
    world.resolve().go()
    assert not [each for each in world.status.conditions if each.type == "AlertSilenced"]


def test_a_silence_that_is_over_is_not_told_any_more():
    world = silenced(World(usual()), silence(until="2025-10-21T00:40:00Z")).go()
    assert [each for each in world.status.conditions if each.type == "AlertSilenced"]
    world.approve().go(timedelta(minutes=11))
    world.go()
    assert not [each for each in world.status.conditions if each.type == "AlertSilenced"]
    assert "silences" not in world.status.message


def test_an_answer_costs_one_write():
    world = unasked(usual()).go()
    before = world.writes
    world.acknowledge().go()
    assert world.writes == before + 1
    assert isinstance(machine.decide(world.view(world.status)), Wait)
