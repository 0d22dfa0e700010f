"""What people say without being asked: the alert is over, I am on it; and an abort that takes back what is in place."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import ObjectiveState, Phase, Silence, Verb
from incident_operator.core import reasons
from incident_operator.core.machine import machine
from incident_operator.core.machine.view import Blocked, Wait
from incident_operator.core.outcomes import Undetermined
from incident_operator.core.runbooks.reviews import Leave
from incident_operator.core.status import report
from tests.core.builders import UNDO, by_hand, keyed, post, runbook, scale, sql, usual
from tests.core.machine.simulation import Simulation, failed, unasked, unfinished

HOUR = timedelta(hours=1)
TWO = {"mitigate": [scale("grow"), sql("serve", undo=UNDO)]}
PROMISES = {"objectives": {"acknowledge": "10m"}}


def silence(**fields) -> Silence:
    return Silence.model_validate({"alerts": 1, "connection": "alerts", "by": "bob@dawsos.com", **fields})


def silenced(simulation: Simulation, kept: Silence) -> Simulation:
    """Have a Connection say that the alert is silenced."""
    spec = simulation.stored.spec.model_copy(update={"silence": kept})
    simulation.stored = simulation.stored.model_copy(update={"spec": spec})
    return simulation


# over


@pytest.mark.parametrize("approved", [True, False], ids=["verified", "asked"])
def test_who_says_that_the_alert_is_over_has_it_restored_undone_and_closed(approved):
    simulation = Simulation(usual(**TWO)).go()
    if approved:
        simulation.approve().go()
    simulation.over().go()
    assert simulation.status.phase is Phase.RESOLVED
    assert simulation.done[-2:] == ["undo-serve", "undo-grow"]
    assert simulation.status.message.endswith("alice@dawsos.com said that the alert is over.")
    assert [alert.status.value for alert in simulation.stored.spec.alerts] == ["firing"], "what Alertmanager told stays"
    assert simulation.status.over is not None
    assert (simulation.status.over.by, simulation.status.over.alerts) == ("alice@dawsos.com", 1)


def test_an_alert_of_which_no_end_is_ever_told_is_ended_by_a_person():
    simulation = Simulation(usual(resolveTimeout="10s")).go().approve().go(timedelta(minutes=1))
    assert simulation.status.reason == reasons.ALERT_STILL_FIRING
    assert (
        'If the alert is over: kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1 incidents.dev/over="1 '
        in (simulation.status.message)
    )
    assert '("undo" instead of "now" undoes what is in place)' in simulation.status.message
    assert simulation.over().go().status.phase is Phase.RESOLVED


def test_what_has_not_begun_is_left_out_and_says_by_whose_word():
    simulation = Simulation(usual()).go().over().go()
    left_out = next(record for record in simulation.status.steps if record.name == "rebuild")
    assert left_out.summary == "alice@dawsos.com said that the alert is over before this started"
    assert simulation.done == ["serve", "undo-serve"]


def test_an_incident_that_was_opened_by_hand_is_over_by_word_too():
    simulation = Simulation(usual(), by_hand()).go().over().go()
    assert simulation.done == ["serve", "undo-serve"]
    assert simulation.status.phase is Phase.RESOLVED


def test_without_a_runbook_nothing_was_done_and_it_closes():
    missing = Blocked(reasons.RUNBOOK_NOT_FOUND, "Runbook rb does not exist.")
    simulation = Simulation(usual(), gone=missing).go().over().go()
    assert (simulation.status.phase, simulation.status.message) == (
        Phase.RESOLVED, "alice@dawsos.com said that the alert is over; nothing was done.",
    )  # fmt: skip


def test_an_alert_that_comes_after_it_was_said_to_be_over_fires_as_one_that_comes_back():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().over().go()
    assert simulation.states()["rebuild"] == "Skipped"
    assert simulation.pending.steps == ["replay"]
    simulation.another().go()
    assert simulation.pending.steps == ["rebuild"], "what was left out is wanted again"
    simulation.approve().go()
    assert simulation.status.message.startswith("Verified. Waiting for the alert to resolve")
    simulation.over().go()
    assert simulation.pending.steps == ["replay"], "the same person may say it of both"


@pytest.mark.parametrize("token", ["0", "2", "now", "", "1.0", "-1", "99999"])
def test_over_names_the_alerts_that_are_listed_and_nothing_else(token):
    simulation = Simulation(usual()).go().annotate(Verb.OVER, token).go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL


def test_a_question_that_only_a_person_can_answer_stays_though_it_is_over():
    simulation = Simulation(usual(remediate=[post("replay")]))
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go().over().go()
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert simulation.tell("done").go().status.phase is Phase.RESOLVED


# on it


def test_who_is_on_it_meets_the_promise_and_is_shown_until_then():
    simulation = Simulation(usual(**PROMISES)).go()
    (asked,) = (each for each in simulation.status.conditions if each.type == "Acknowledged")
    assert asked.status == "False"
    assert (
        "to say that you are on it: kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1" in asked.message
    )
    assert 'incidents.dev/acknowledge="30m/$(date -u +%H:%M) $(kubectl auth whoami' in asked.message
    simulation.acknowledge().go(timedelta(minutes=1))
    (promise,) = simulation.status.objectives
    assert promise.state is ObjectiveState.MET
    assert simulation.status.waiting_for == "approval until 01:00 (alice@dawsos.com is on it until 01:00)"
    assert simulation.status.message.endswith("alice@dawsos.com is on it until 01:00 UTC.")
    (there,) = (each for each in simulation.status.conditions if each.type == "Acknowledged")
    assert there.message == "alice@dawsos.com is on it until 2025-10-21T01:00:00Z"
    assert simulation.status.phase is Phase.AWAITING_APPROVAL, "nothing else comes of it"


def test_it_runs_out_and_the_promise_stays_kept():
    simulation = Simulation(usual(remediate=[sql("rebuild", approval={"expiresAfter": "2h"})], **PROMISES)).go()
    simulation.acknowledge("5m").go(timedelta(minutes=6))
    simulation.go()
    assert simulation.status.waiting_for == "approval until 02:30"
    assert not [each for each in simulation.status.conditions if each.type == "Acknowledged"]
    assert simulation.status.objectives[0].state is ObjectiveState.MET


def test_saying_it_again_extends_it_and_another_takes_it_over():
    simulation = Simulation(usual()).go().acknowledge("30m").go(timedelta(minutes=10))
    writes = simulation.writes
    simulation.acknowledge("30m").go()
    assert simulation.writes == writes, "the same words change nothing"
    simulation.acknowledge("30m/00:40").go()
    assert simulation.status.waiting_for.endswith("(alice@dawsos.com is on it until 01:10)")
    simulation.acknowledge("1h", by="bob@dawsos.com").go()
    assert simulation.status.waiting_for.endswith("(bob@dawsos.com is on it until 01:40)")


def test_who_takes_it_back_is_not_on_it_any_more():
    simulation = Simulation(usual()).go().acknowledge().go()
    simulation.stored = simulation.stored.model_copy(
        update={"metadata": simulation.stored.metadata.model_copy(update={"annotations": {}})}
    )
    assert simulation.go().status.waiting_for == "approval until 01:00"


def test_who_is_called_is_seen_to_be_on_it():
    simulation = Simulation(usual())
    simulation.script["serve"] = [failed()]
    simulation.go().acknowledge("1h30m").go()
    assert simulation.status.waiting_for == "a person: a step failed (alice@dawsos.com is on it until 02:00)"


@pytest.mark.parametrize("token", ["", "soon", "0m", "25h", "24h1m", "30", "90s", "1d", "30m/", "99999m"])
def test_what_is_not_a_time_acknowledges_nothing(token):
    simulation = Simulation(usual()).go().acknowledge(token).go()
    assert simulation.status.acknowledgement is None
    assert simulation.status.times.acknowledged is None


def test_however_often_it_is_said_an_abort_is_not_forgotten():
    simulation = Simulation(usual(**TWO))
    simulation.script["undo-serve"] = [failed()] * 60
    simulation.go().undo().go()
    for _ in range(55):
        simulation.retry().go()
    assert simulation.status.phase is Phase.NEEDS_HUMAN
    simulation.resolve().go()
    assert simulation.status.answers[0].verb == "abort"
    simulation.script["undo-serve"] = []
    assert simulation.retry().go().status.reason == reasons.ABORTED


# abort, with undo


def test_an_abort_may_take_back_what_is_in_place_the_newest_first():
    simulation = Simulation(usual(**TWO)).go().undo().go()
    assert simulation.done == ["grow", "serve", "undo-serve", "undo-grow"]
    assert (simulation.status.phase, simulation.status.message) == (
        Phase.FAILED,
        "Aborted by alice@dawsos.com; nothing more is done. Undone: grow, serve. Nothing temporary is left in place.",
    )


def test_what_undo_on_says_does_not_matter_then():
    simulation = Simulation(usual(mitigate=[scale("grow", undoOn=["Failed"])])).go().undo().go()
    assert simulation.done == ["grow", "undo-grow"]


def test_an_act_under_way_is_followed_first_and_undone_then():
    simulation = Simulation(usual())
    simulation.script["serve"] = [unfinished()] * 2
    simulation.go()
    simulation.undo().reconcile()
    assert "then what was changed is undone" in simulation.status.message
    simulation.go(HOUR)
    assert simulation.done == ["serve", "undo-serve"]
    assert simulation.status.reason == reasons.ABORTED


def test_an_undo_that_fails_then_calls_a_person_who_may_stop_it_for_good():
    simulation = Simulation(usual(**TWO))
    simulation.script["undo-serve"] = [failed("7 replicas now, not 5; left alone")]
    simulation.go().undo().go()
    assert simulation.status.reason == reasons.RESTORE_FAILED
    simulation.abort().go()
    assert simulation.status.phase is Phase.FAILED
    assert "Still in place, not undone: grow (ok), serve (ok)." in simulation.status.message


def test_where_nothing_acts_unasked_an_undo_is_asked_for_after_an_abort_too():
    leave = Leave(not_acting=frozenset({"prod"}))
    simulation = Simulation(usual(mitigate=[sql("serve", undo=UNDO)]), leave=leave).go().approve().go()
    simulation.undo().go()
    assert simulation.pending.steps == ["undo-serve"]
    assert simulation.done == ["serve"]
    assert simulation.approve().go().status.message.endswith("Undone: serve. Nothing temporary is left in place.")


def test_an_undo_whose_fate_nobody_knows_is_not_repeated_after_an_abort():
    delete = {"http": {"connection": "api", "method": "DELETE", "path": "/block"}}
    simulation = Simulation(runbook(mitigate=[sql("block", undo=delete)]))
    simulation.script["undo-block"] = [Undetermined("connection lost")]
    simulation.go().undo().go()
    assert simulation.status.reason == reasons.STEP_UNKNOWN
    assert simulation.tell("done").go().status.message.endswith("Undone: block. Nothing temporary is left in place.")
    assert simulation.done == ["block"]


def test_a_keyed_undo_is_asked_again_after_an_abort():
    simulation = Simulation(runbook(mitigate=[sql("block", undo={"http": keyed("x")["http"]})]))
    simulation.script["undo-block"] = [unfinished()]
    simulation.go().undo().go(HOUR)
    assert simulation.states()["block"] == "Undone"


def test_without_its_runbook_nothing_is_undone_and_that_is_told():
    simulation = Simulation(usual()).go()
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    simulation.undo().go()
    assert simulation.done == ["serve"]
    assert "Still in place, not undone: serve (ok)." in simulation.status.message


def test_what_stays_in_place_is_told_with_the_command_that_puts_it_back():
    simulation = Simulation(usual(mitigate=[scale("grow")])).go()
    put_back = "kubectl scale -n prod deployment/web --replicas=2"
    steps = [
        record.model_copy(update={"captured": {"before": 2, "after": 5, "undoWith": put_back}, "summary": "deployment/web scaled 2 → 5"})
        if record.name == "grow" else record
        for record in simulation.status.steps
    ]  # fmt: skip
    simulation.stored = simulation.stored.model_copy(
        update={"status": simulation.status.model_copy(update={"steps": steps})}
    )
    simulation.abort().go()
    assert (
        f"Still in place, not undone: grow (deployment/web scaled 2 → 5; put it back: {put_back})."
        in simulation.status.message
    )
    told = report.markdown(simulation.stored, None)
    assert "| no, it is still in place; put it back: kubectl scale" in told
    assert "| not yet |" not in told


# answers that do nothing, and silences


def test_an_approval_of_an_older_plan_is_told_as_one():
    simulation = Simulation(usual()).go().approve()
    simulation.does["rebuild"] = "build something else"
    older = simulation.pending.plan_hash[:12]
    simulation.go()
    assert (
        f"The approval by alice@dawsos.com is for an older plan ({older}); this one is {simulation.pending.plan_hash[:12]}."
        in (simulation.status.message)
    )
    simulation.approve().go()
    assert simulation.done == ["serve", "rebuild"]


@pytest.mark.parametrize(
    ("noticed", "words"),
    [(True, "This Connection notices when they end."), (False, "If it is over: kubectl annotate")],
    ids=["noticed", "by people alone"],
)
def test_a_silenced_alert_is_told_as_silenced(noticed, words):
    kept = silence(until="2025-10-21T03:00:00Z", endIsNoticed=noticed)
    simulation = silenced(Simulation(usual()), kept).go()
    (told,) = (each for each in simulation.status.conditions if each.type == "AlertSilenced")
    assert told.message.startswith(
        "Connection alerts sees 1 of its alerts silenced until 2025-10-21T03:00:00Z by bob@dawsos.com;"
    )
    assert words in told.message
    simulation.approve().go()
    assert (
        "Alertmanager silences 1 of its alerts until 03:00 UTC by bob@dawsos.com. If it is over: "
        in simulation.status.message
    )
    simulation.resolve().go()
    assert not [each for each in simulation.status.conditions if each.type == "AlertSilenced"]


def test_a_silence_that_is_over_is_not_told_any_more():
    simulation = silenced(Simulation(usual()), silence(until="2025-10-21T00:40:00Z")).go()
    assert [each for each in simulation.status.conditions if each.type == "AlertSilenced"]
    simulation.approve().go(timedelta(minutes=11))
    simulation.go()
    assert not [each for each in simulation.status.conditions if each.type == "AlertSilenced"]
    assert "silences" not in simulation.status.message


def test_an_answer_costs_one_write():
    simulation = unasked(usual()).go()
    before = simulation.writes
    simulation.acknowledge().go()
    assert simulation.writes == before + 1
    assert isinstance(machine.decide(simulation.view(simulation.status)), Wait)
