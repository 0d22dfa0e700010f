"""Which objects an Incident acts on: what its steps changed, or may change yet. Pure.

Told by the text of its Runbook, so nothing is read for it: the workload or Pod that a step names. A Job is an object of its own,
whatever workload its template is from; a Connection is a door to many objects, and who changes which rows its server decides.
"""

from collections.abc import Sequence

from incident_operator.api.incident import StepState
from incident_operator.core import plan
from incident_operator.core.effects import Effect
from incident_operator.core.machine.decisions import Run
from incident_operator.core.machine.view import View
from incident_operator.core.runbooks.compiled import CompiledAction

_LEFT_OUT = frozenset({StepState.SKIPPED, StepState.REJECTED})
_MAKES_NO_CHANGE = frozenset({Effect.READ, Effect.K8S_CREATE})


def of(view: View) -> frozenset[str]:
    """Return them as kubectl writes them (`deployment/web`), all in the Incident's own namespace."""
    left_out = {record.name for record in view.status.steps if record.state in _LEFT_OUT}
    found = (_target(step.act) for name, step in view.compiled.steps.items() if name not in left_out)
    return frozenset(filter(None, found))


def shared(view: View, run: Run) -> Sequence[str]:
    """Return the line about other open Incidents that act on what a run acts on, if there are any."""
    target = _target(view.compiled.steps[run.step].act)
    incidents = view.others.get(target, ()) if target is not None else ()
    return (plan.others(target, incidents),) if target is not None and incidents else ()


def _target(act: CompiledAction) -> str | None:
    return None if act.effect in _MAKES_NO_CHANGE else act.action.workload(act.spec)
