"""Phase, message and columns: what is wrong, who must act, until when; stable, and worth a write only when it is news."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import CLOSED_PHASES, Phase
from incident_operator.core import reasons
from incident_operator.core.machine.view import Blocked
from incident_operator.core.outcomes import NotDone, Undetermined
from incident_operator.core.status import messages, present
from tests.core.builders import START, UNDO, alert, by_hand, incident, job, post, read, runbook, scale, sql, usual, view
from tests.core.machine.simulation import Simulation, failed, unasked, unfinished

RESOLVE = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"
POLL = {"until": {"every": "10s", "for": "2m"}, "expect": "result.rows.size() > 0"}


@pytest.mark.parametrize(
    ("happens", "phase", "step", "waiting_for", "message"),
    [
        (lambda w: w, "AwaitingApproval", "rebuild", "approval until 01:00",
         "Approve or reject by 01:00 UTC: Builds the pack again (1 step). Since 00:30: Users have prices again."),
        (lambda w: _approved_with(w, unfinished()), "Remediating", "rebuild", "rebuild until 00:40",
         "Running rebuild: Builds the pack again, until 00:40 at the latest."),
        (lambda w: w.approve(), "Verifying", "-", "the alert to resolve until 01:30",
         "Verified. Waiting for the alert to resolve until 01:30 UTC; after that a person is needed. Still in place: serve."),
        (lambda w: w.approve().go().resolve(), "Resolved", "-", "-",
         "Resolved in 0s. Done: serve, rebuild, undo-serve. Approved by alice@dawsos.com."),
        (lambda w: w.abort(), "Failed", "-", "-",
         "Aborted by alice@dawsos.com; nothing more is done. Still in place, not undone: serve (ok)."),
        (lambda w: w.reject(), "NeedsHuman", "rebuild", "a person: the plan was rejected",
         ("rebuild was rejected by alice@dawsos.com and not done. Still in place: serve. Ask again: "
         f'kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1 incidents.dev/retry="rebuild/0.0 {RESOLVE}"')),
        (lambda w: _approved_with(w, Undetermined("lost at commit")), "NeedsHuman", "rebuild",
         "a person: did the step happen?",
         ("job rebuild may or may not have run: lost at commit; the operator never repeats it. Check whether it happened, "
         "then answer: kubectl annotate --overwrite -n prod incident pack-failed-5f2c1-1 "
         f'incidents.dev/resolve="rebuild/1=done {RESOLVE}" (or rebuild/1=not-done)')),
    ],
)  # fmt: skip
def test_what_people_see(happens, phase, step, waiting_for, message):
    simulation = Simulation(usual()).go()
    happens(simulation)
    told = simulation.go().status
    assert (told.phase.value, told.step, told.waiting_for) == (phase, step, waiting_for)
    assert told.message == message


def test_reads_that_are_polled_say_until_when():
    simulation = Simulation(usual(verify=[read("check", description="Users get prices.", **POLL)]), script={}).go()
    simulation.approve().go()
    assert simulation.status.message == "Running check: Users get prices, until 00:32 at the latest."
    assert simulation.status.waiting_for == "check until 00:32"


def test_an_undo_is_told_as_one():
    simulation = Simulation(usual())
    simulation.script["undo-serve"] = [unfinished()]
    simulation.go().resolve().go()
    assert simulation.status.message == "Undoing serve, until 00:30 at the latest."


def test_an_undo_that_is_tried_again_is_told_before_what_its_failure_stopped():
    simulation = Simulation(usual(mitigate=[sql("serve", undo=UNDO), scale("grow")]))
    simulation.script |= {"grow": [failed()], "undo-serve": [NotDone(5.0, "connection refused")] * 3}
    simulation.go()
    told = "undo-serve has not started (connection refused) and is tried again at 00:30:05 UTC."
    assert (simulation.status.step, simulation.status.message) == ("undo-serve", told)


def test_who_waits_for_the_alert_does_not_tell_of_a_restore_as_next():
    simulation = Simulation(usual(restore=[sql("replay", approval={})])).go().approve().go()
    assert simulation.status.message.startswith("Verified. Waiting for the alert to resolve until 01:30 UTC")
    assert (simulation.status.phase, simulation.status.step) == (Phase.VERIFYING, "-")
    assert simulation.status.waiting_for == "the alert to resolve until 01:30"
    simulation.resolve().go()
    assert (simulation.status.phase, simulation.status.step) == (Phase.AWAITING_APPROVAL, "replay")


@pytest.mark.parametrize("subject", [incident(alert(resolved=True)), by_hand()])
def test_a_restore_that_waits_for_no_alert_is_told_as_next(subject):
    restore = [sql("replay", retry={"attempts": 2, "backoff": "1m"})]
    simulation = unasked(runbook(verify=[read("check")], restore=restore), "replay")
    simulation.stored = subject
    simulation.script["replay"] = [failed(retryable=True)]
    simulation.go()
    assert simulation.status.message == "replay failed (connection refused) and is tried again at 00:31:00 UTC."
    assert (simulation.status.phase, simulation.status.step) == (Phase.RESTORING, "replay")


def test_a_restore_that_was_polled_is_not_told_as_running_while_the_alert_fires_again():
    simulation = Simulation(usual(restore=[read("settled", **POLL)])).go().approve().go().resolve().go()
    assert (simulation.status.step, simulation.status.waiting_for) == ("settled", "settled until 00:32")
    simulation.fire().go()
    assert (simulation.status.step, simulation.status.waiting_for) == ("-", "the alert to resolve until 01:30")
    assert simulation.status.message.startswith("Verified. Waiting for the alert to resolve until 01:30 UTC")


def test_a_restore_act_that_is_under_way_is_told_although_the_alert_fires_again():
    simulation = unasked(usual(restore=[sql("replay")]), "replay")
    simulation.script["replay"] = [unfinished()] * 2
    simulation.go().approve().go().resolve().go().fire().go()
    assert (simulation.status.step, simulation.status.waiting_for) == ("replay", "replay until 00:30")


def test_a_restore_act_that_nobody_can_tell_about_is_told_although_the_alert_fires_again():
    simulation = unasked(usual(restore=[post("replay")]), "replay")
    simulation.script["replay"] = [Undetermined("connection lost")]
    simulation.go().approve().go().resolve().go()
    simulation.gone = Blocked(reasons.RUNBOOK_NOT_FOUND, "The Runbook was deleted.")
    assert simulation.fire().go().status.step == "replay"


def test_an_undo_that_is_tried_again_is_told_although_the_alert_fires():
    simulation = Simulation(usual(mitigate=[scale("grow", retry={"attempts": 2, "backoff": "1m"}, undoOn=["Failed"])]))
    simulation.script |= {"check": [failed()], "undo-grow": [failed(retryable=True)]}
    simulation.go().approve().go()
    assert simulation.status.message.startswith(
        "undo-grow failed (connection refused) and is tried again at 00:31:00 UTC"
    )
    assert simulation.status.phase is Phase.RESTORING


def test_who_rejected_is_not_told_as_having_approved():
    simulation = Simulation(usual(remediate=[job("rebuild", approval={"onReject": "skip"})])).go()
    simulation.reject("bob@dawsos.com").go().resolve().go()
    assert simulation.status.message == "Resolved in 0s. Done: serve, undo-serve."


def test_everybody_who_approved_something_that_was_done_is_named_though_their_plan_became_void():
    simulation = Simulation(usual(remediate=[sql("drain"), sql("publish")])).go().approve("alice@dawsos.com")
    simulation.does["publish"] = "publish something else"
    simulation.go()
    assert simulation.pending.steps == ["publish"]
    simulation.approve("carol@dawsos.com").go().resolve().go()
    told = "Done: serve, drain, publish, undo-serve. Approved by alice@dawsos.com, carol@dawsos.com."
    assert simulation.status.message == f"Resolved in 0s. {told}"


@pytest.mark.parametrize("minutes", [1, 9, 29])
def test_a_message_does_not_change_with_the_time_alone(minutes):
    simulation = Simulation(usual()).go()
    writes, message = simulation.writes, simulation.status.message
    simulation.now += timedelta(minutes=minutes)
    simulation.reconcile()
    assert (simulation.writes, simulation.status.message) == (writes, message)


def test_polls_of_a_read_are_not_worth_a_write():
    simulation = Simulation(usual(verify=[read("check", **POLL)])).go().approve().go()
    writes = simulation.writes
    simulation.go(timedelta(minutes=1))
    assert simulation.writes == writes
    assert simulation.now == START + timedelta(minutes=1)


def test_alerts_are_counted():
    seen = view(usual(), incident(alert(1), alert(2, resolved=True)))
    assert present.present(seen)[0].alerts == "1 firing/1 resolved"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (59, "59s"), (130, "2m10s"), (3600, "1h"), (90061, "25h1m1s"), (-5, "0s")]
)
def test_durations_are_told_as_people_say_them(seconds, told):
    assert messages.elapsed(START, START + timedelta(seconds=seconds)) == told


def test_every_stop_has_a_command_to_paste_that_is_also_a_field():
    script = {"serve": [failed("x" * 3000)]}
    simulation = Simulation(usual(mitigate=[sql("serve", undo=UNDO)]), script=script).go()
    assert simulation.status.phase not in CLOSED_PHASES
    assert simulation.status.pending_answer.answer_with[0] in simulation.status.message
    assert len(simulation.status.message) <= 2048


def _approved_with(simulation, outcome):
    simulation.script["rebuild"] = [outcome]
    simulation.approve()


@pytest.mark.parametrize(
    ("within", "until"),
    [("20m", "00:50"), ("23h", "23:30"), ("24h", "2025-10-22 00:30"), ("168h", "2025-10-28 00:30")],
)
def test_a_time_has_its_date_where_that_is_another_day(within, until):
    asks = job("rebuild", description="Builds the pack again.", approval={"expiresAfter": within})
    simulation = Simulation(usual(mitigate=[], remediate=[asks])).go()
    assert simulation.status.waiting_for == f"approval until {until}"
    assert simulation.status.message.startswith(f"Approve or reject by {until} UTC: Builds the pack again")


def test_a_message_stays_the_same_when_midnight_passes():
    simulation = Simulation(usual(mitigate=[], remediate=[job("rebuild", approval={"expiresAfter": "48h"})]))
    before = simulation.go(timedelta(hours=1)).status.message
    assert simulation.go(timedelta(hours=30)).status.message == before
