"""What holds in every state that is reached, beside `tests/core/machine/invariants.py`: each rule in a line of `RULES`."""

import re
from typing import Any

from incident_operator.api.incident import CLOSED_PHASES, IncidentStatus, Phase, StepState, UndoState, Verb
from incident_operator.api.runbook import Stage, UndoOn
from incident_operator.core import approval, reasons
from incident_operator.core.action import Call, Preview
from incident_operator.core.machine import machine, start_and_end, status, undoing
from incident_operator.core.machine import view as decisions
from incident_operator.core.machine.carry_out import Ran
from incident_operator.core.machine.view import Begin, Run, is_undo
from incident_operator.core.outcomes import Failed, NotDone
from proofs.explore.nodes import Node, Turn
from tests.core.machine.simulation import Simulation

RULES = (
    "every state is closed, waits for something that is named, with a deadline, or has a next step",
    "no destructive act begins without a person's approval of that very plan, in its time, by somebody who may",
    "no act begins after abort, but undos where it says so; once the alert is over, told or said, nothing begins but restoring",
    "an approval to restore does not outlive the return of the alert, but for an act that is under way",
    "what is forged, old, or meant for another question changes nothing",
    "what is sent is what was shown and approved, under an intent that is stored, before an abort is",
    "at most one intent is open; a key is begun once; what may have happened is never run again unasked",
    "what certainly was not done goes back to Pending; what happened, or still may, never does, and is not told as failed",
    "undos go the newest first, each once",
    "left alone for a day, every Incident is closed or has called a person, whatever hangs",
    "phase, conditions and message say the same: what is told to be next is next",
    "who says that the alert is over, or that they are on it, is heard",
)
_UNTIL = re.compile(r"\b\d\d:\d\d\b")
EXCLUDED = "bob@dawsos.com"
"""Who may not approve."""


def check_told(node: Node, shown: IncidentStatus) -> None:
    """Check that what is told fits the facts."""
    conditions = {condition.type: condition for condition in shown.conditions}
    waits = shown.pending_approval is not None
    assert (shown.phase is Phase.AWAITING_APPROVAL) == waits
    assert (conditions["Approved"].reason == "AwaitingApproval") == waits
    succeeded = {Phase.RESOLVED: "True", Phase.FAILED: "False", Phase.SUPPRESSED: "False"}.get(shown.phase, "Unknown")
    assert conditions["Succeeded"].status == succeeded
    if any(record.state is StepState.UNKNOWN for record in shown.steps):
        told_at_the_end = status.abort_undoes(shown)
        assert told_at_the_end or shown.phase in {Phase.NEEDS_HUMAN, Phase.FAILED}, (
            "only a person knows of what is unknown"
        )
    current = start_and_end.next_record(node.view)
    running = [
        record.name
        for record in shown.steps
        if record.state is StepState.RUNNING
        and record.key
        and (record.effect != "read" or current is None or record.stage is current.stage)
    ]
    assert shown.phase in CLOSED_PHASES or not running or shown.step in running or shown.phase is Phase.NEEDS_HUMAN


def check_resting(node: Node, decision: decisions.Wait) -> None:
    """Check a state in which nothing is done: it says what it waits for, for whom and until when."""
    told = node.working
    assert undoing.used(node.view, told) is told, "an approval that is used up has ended"
    _check_heard(node)
    if told.phase is Phase.NEEDS_HUMAN:
        assert decision.until is None
        assert "kubectl annotate" in told.message
        return
    assert decision.until is not None, "an end"
    assert not told.message.startswith("Next:"), f"who waits has no next step: {told.message}"
    assert _UNTIL.search(told.message), f"until when: {told.message}"
    assert _UNTIL.search(told.waiting_for), f"until when: {told.waiting_for}"
    if node.simulation.gone is None and node.simulation.stored.spec.alerts and not node.view.incident.is_over:
        used = approval.active(told)
        covered = used.steps if used else []
        stages = {record.name: record.stage for record in told.steps}
        # an act that is under way is brought to its end first; then nobody's leave holds any more
        under_way = any(record.state is StepState.RUNNING and record.key for record in told.steps)
        # what a failure leaves in place is taken back while the alert fires
        unwinds = status.abort_undoes(told) or any(
            r.state is StepState.FAILED and r.stage in {Stage.MITIGATE, Stage.VERIFY} for r in told.steps
        )
        restores = [n for n in covered if stages[n] is Stage.RESTORE and not (unwinds and n.startswith("undo-"))]
        assert under_way or not restores, "the alert is back, restoring is not approved"


def _check_heard(node: Node) -> None:
    """Check that what people said without being asked has been heard."""
    annotations, spec = node.simulation.stored.metadata.annotations, node.simulation.stored.spec
    over, there = approval.answer(annotations, Verb.OVER), approval.answer(annotations, Verb.ACKNOWLEDGE)
    if over is not None and over.token == str(len(spec.alerts)) and status.aborted_by(node.working) is None:
        assert node.view.incident.is_over, "who says that the alert is over is heard"
    kept = node.working.acknowledgement
    assert there is None or (kept is not None and kept.by == there.by), "who is on it is heard"


def check_begin(node: Node, begin: Begin) -> None:
    """Check that an act may begin, by what people really said."""
    view, run = node.view, begin.run
    stop = approval.answer(view.incident.metadata.annotations, Verb.ABORT)
    assert stop is None or (run.undo and stop.token == "undo"), "nothing begins after abort, but undos where it says so"
    record = status.find(view.status, run.record)
    assert record is not None
    assert record.state is (StepState.RUNNING if begin.again else StepState.PENDING)
    if run.undo and begin.again:
        return
    if run.undo:
        _check_undo(node, run)
        return
    if _asks(node, run.step):
        used = approval.active(view.status)
        assert used is not None
        assert used.expires_at is not None
        assert view.now < used.expires_at
        assert used.by != EXCLUDED
        assert run.step in used.steps
        assert begin.approved is not None


def _asks(node: Node, name: str) -> bool:
    step = node.simulation.compiled.steps[name]
    named = any(each.step == name for each in node.simulation.leave.steps)
    return step.stage is Stage.REMEDIATE or step.step.approval is not None or not (named or step.undo is not None)


def check_approval(node: Node, current: IncidentStatus) -> None:
    """Check that a plan becomes approved only by an answer that names it, in time."""
    used = approval.active(current)
    if used is None or approval.active(node.working) is not None:
        return
    pending = node.working.pending_approval
    said = approval.answer(node.simulation.stored.metadata.annotations, Verb.APPROVE)
    assert pending is not None
    assert said is not None
    assert len(said.token) >= 8
    assert pending.plan_hash.startswith(said.token)
    assert said.by not in pending.excluded
    assert node.simulation.now < pending.expires_at
    assert (used.steps, used.plan, used.by) == (pending.steps, pending.plan, said.by)


def check_effect(node: Node, name: str, key: str) -> None:
    """Check an effect that happens just now: under an intent that is stored, for the first time."""
    record = status.known(node.simulation.stored.status, name)
    assert record.state is StepState.RUNNING
    assert record.key == key, "the intent is stored before the act"
    assert key in node.simulation.begun
    running = [r for r in node.simulation.stored.status.steps if r.state is StepState.RUNNING and r.effect != "read"]
    assert running == [record], "one intent is open"


def check_act(node: Node, call: Call[Any], preview: Preview | None) -> None:
    """Check an act that is sent just now, by what is stored: its intent, no abort, and the approval of that very thing."""
    stored = node.simulation.stored.status
    record = status.known(stored, call.step)
    assert record.state is StepState.RUNNING
    assert record.key == call.key, "the intent is stored before the act is sent"
    assert status.aborted_by(stored) is None or (is_undo(record) and status.abort_undoes(stored)), (
        "nothing is sent once an abort is recorded"
    )
    assert preview is not None
    if is_undo(record) or not _asks(node, call.step):
        return
    used = approval.active(stored)
    assert used is not None
    entry = approval.entry_for(used, call.step)
    assert entry is not None
    assert entry.details[approval.DIGEST] == preview.digest, "what is sent is what was approved"
    assert record.started_at is not None
    assert used.expires_at is not None
    assert record.started_at < used.expires_at, "it was begun while the approval held"


def check_told_of_act(node: Node, turn: Turn, current: IncidentStatus) -> None:
    """Check what is told of an act against what really happened: only what certainly was not done is begun again."""
    match turn.decision:
        case decisions.Begin(run) | decisions.Look(run) | decisions.Probe(run):
            pass
        case _:
            return
    after = status.known(current, run.record)
    may_be_done = run.key in node.simulation.markers or run.key in node.simulation.under_way
    came = turn.answers[-1].outcome if turn.answers and isinstance(turn.answers[-1], Ran) else None
    assert after.state is not StepState.PENDING or not may_be_done, "what may have happened is not begun again"
    if isinstance(came, Failed) and not came.effected and after.state is StepState.FAILED:
        assert not may_be_done, "what may have happened is not told as failed"
    again = isinstance(turn.decision, Begin) and turn.decision.again
    if isinstance(came, NotDone) and not again:
        failed = after.state is StepState.FAILED and after.reason == reasons.TIMED_OUT
        assert failed or after.state is StepState.PENDING, "what certainly was not done goes back to Pending"


def check_nothing_forged_counts(node: Node, decision: decisions.Decision) -> None:
    """Check that answers which are forged, old, or meant for another question change no decision."""
    for name, simulation in _forged(node):
        other = machine.decide(simulation.view(node.working))
        assert other == decision, f"{name} changes what is done"


def _forged(node: Node) -> list[tuple[str, Simulation]]:
    pending, question = node.working.pending_approval, node.working.pending_answer
    found = [(Verb.RETRY, "nothing/7.0"), (Verb.RESOLVE, "nothing/7=done"), (Verb.ABORT, "later")]
    found += [(Verb.OVER, "77"), (Verb.OVER, "all"), (Verb.ACKNOWLEDGE, "soon"), (Verb.ACKNOWLEDGE, "25h")]
    tokens = [(verb, token, "eve@dawsos.com") for verb, token in found]
    if pending is not None:
        tokens += [(Verb.APPROVE, pending.plan_hash[:12], EXCLUDED), (Verb.APPROVE, pending.plan_hash[:12], "")]
        tokens += [(verb, pending.plan_hash[:7], "eve") for verb in (Verb.APPROVE, Verb.REJECT)]
        old = [record.plan_hash[:12] for record in node.working.approvals[-2:]]
        tokens += [(verb, token, "eve") for verb in (Verb.APPROVE, Verb.REJECT) for token in (*old, "x" * 64)]
    if question is not None:
        verbs = {"retry": Verb.RETRY, "resolve": Verb.RESOLVE}
        wrong = {f"{question.token}9", f"{question.token}=maybe", question.step}
        tokens += [(verbs[verb.value], token, "eve") for verb in question.verbs for token in sorted(wrong)]
    return [
        (f"{verb.value} {token} {by}", node.simulation.copy().annotate(verb, token, by)) for verb, token, by in tokens
    ]


def _check_undo(node: Node, run: Run) -> None:
    current, steps = node.working, node.simulation.compiled.steps
    record = status.find(current, run.step)
    assert record is not None
    assert record.undo is UndoState.PENDING, "what is taken back had an effect, and was not taken back yet"
    why = _why_undone(node)
    assert why is None or why in steps[run.step].step.undo_on
    later = current.steps[current.steps.index(record) + 1 :]
    still = [each.name for each in later if each.undo is not None and each.undo is not UndoState.DONE]
    assert not any(why is None or why in steps[name].step.undo_on for name in still), "the newest first"


def _why_undone(node: Node) -> UndoOn | None:
    """Return what the undo is for: None where mitigation itself failed, or an abort says so, which takes everything back."""
    if status.abort_undoes(node.working):
        return None
    if all(record.state in status.FINISHED for record in node.working.steps if record.stage is Stage.VERIFY):
        failed = any(r.state is StepState.FAILED for r in node.working.steps if r.stage is Stage.VERIFY)
        mitigating = any(r.state is StepState.FAILED for r in node.working.steps if r.stage is Stage.MITIGATE)
        if mitigating and not node.view.incident.is_over:
            return None
        return UndoOn.FAILED if failed and not _goes_on(node) else UndoOn.RESOLVED
    return None


def _goes_on(node: Node) -> bool:
    failed = [r.name for r in node.working.steps if r.stage is Stage.VERIFY and r.state is StepState.FAILED]
    return all(node.simulation.compiled.steps[name].step.on_failure == "continue" for name in failed)
