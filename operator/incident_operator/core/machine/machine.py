"""The state machine: an ordered chain of rungs, the first of which that has something to say decides.

Pure: the same Incident, Runbook and time give the same decision. Read the chain from top to bottom to know
what comes before what; each rung is one function in the file named here.
"""

from collections.abc import Callable

from incident_operator.core.machine import alert_changes, answers, in_flight, stages, start_and_end, undoing
from incident_operator.core.machine.view import Decision, View

Rung = Callable[[View], Decision | None]

CHAIN: tuple[Rung, ...] = (
    start_and_end.closed,
    # what people say without being asked; it begins nothing by itself
    alert_changes.acknowledgement,
    alert_changes.over,
    start_and_end.blocked,
    start_and_end.not_started,
    start_and_end.unblocked,
    # abort: nothing begins after it; what is under way is followed to its end, and only looked at
    answers.aborted,
    # what is under way is finished before anything else happens
    in_flight.effect_under_way,
    undoing.approval_used_up,
    # people come first
    answers.resolved_by_person,
    answers.retried,
    in_flight.effect_unknown,
    # the alert's own changes
    alert_changes.alert_came_back,
    alert_changes.alert_went_away,
    alert_changes.halted,
    # a question that was asked
    answers.rejected,
    answers.expired,
    answers.approved,
    # the stages
    stages.diagnose,
    stages.mitigate,
    stages.remediate,
    stages.verify,
    start_and_end.alert_still_fires,
    stages.restore,
    undoing.when_resolved,
)


def decide(view: View) -> Decision:
    """Return what to do next. Purely computational; `now` is part of the view."""
    for rung in CHAIN:
        if (decision := rung(view)) is not None:
            return decision
    return start_and_end.close(view)
