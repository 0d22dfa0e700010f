"""The state machine: an ordered chain of rungs, the first of which that has something to say decides.

Pure: the same Incident, Runbook and time give the same decision. Read the chain from top to bottom to know
what comes before what; each rung is one function in the file named here.
"""

from collections.abc import Callable

from incident_operator.core.machine import answers, asking, closing, healing, opening, stages, underway, undoing
from incident_operator.core.machine.decisions import Decision
from incident_operator.core.machine.view import View

Rung = Callable[[View], Decision | None]

CHAIN: tuple[Rung, ...] = (
    opening.closed,
    opening.blocked,
    opening.not_started,
    opening.unblocked,
    # what is under way is finished before anything else happens
    underway.effect_under_way,
    asking.approval_used_up,
    # people come first
    answers.aborted,
    answers.resolved_by_person,
    answers.retried,
    underway.effect_unknown,
    # the alert's own news
    healing.alert_came_back,
    healing.alert_went_away,
    healing.halted,
    # a question that was asked
    answers.rejected,
    answers.expired,
    answers.approved,
    # the stages
    stages.diagnose,
    stages.mitigate,
    stages.remediate,
    stages.verify,
    closing.alert_still_fires,
    stages.restore,
    undoing.when_resolved,
)


def decide(view: View) -> Decision:
    """Return what to do next. Purely computational; `now` is part of the view."""
    for rung in CHAIN:
        if (decision := rung(view)) is not None:
            return decision
    return closing.close(view)
