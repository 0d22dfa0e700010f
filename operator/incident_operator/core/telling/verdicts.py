"""The conditions of an Incident: one verdict per stage, the approval, the whole, and what is abnormal."""

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import Phase, StepRecord, StepState
from incident_operator.api.meta import Condition
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons, storable
from incident_operator.core.machine import status
from incident_operator.core.machine.view import View, is_undo
from incident_operator.core.telling.conditions import condition, drop, mark

DIAGNOSED, MITIGATED, APPROVED = "Diagnosed", "Mitigated", "Approved"
REMEDIATED, VERIFIED, SUCCEEDED = "Remediated", "Verified", "Succeeded"
STALLED, ALERTS_TRUNCATED = "Stalled", "AlertsTruncated"
_MESSAGE_LIMIT = 1024
_STAGES = {DIAGNOSED: Stage.DIAGNOSE, MITIGATED: Stage.MITIGATE, REMEDIATED: Stage.REMEDIATE, VERIFIED: Stage.VERIFY}
_BAD = frozenset({StepState.FAILED, StepState.REJECTED, StepState.UNDO_FAILED, StepState.UNKNOWN})
_REASON_OF = {StepState.REJECTED: reasons.REJECTED, StepState.UNKNOWN: reasons.STEP_UNKNOWN}

Verdict = tuple[bool | None, str, str]


def conditions_of(view: View) -> dict[str, Verdict]:
    """Return each condition's status, reason and message; abnormal ones only while they are true."""
    found: dict[str, Verdict] = {name: _stage(view, stage) for name, stage in _STAGES.items()}
    found[APPROVED] = _approved(view)
    found[SUCCEEDED] = _succeeded(view)
    if view.status.phase is Phase.NEEDS_HUMAN:
        found[STALLED] = (True, view.status.reason, view.status.message)
    if (cut := _cut(view)) is not None:
        found[ALERTS_TRUNCATED] = cut
    return found


def conditions(view: View) -> list[Condition]:
    """Return the conditions as they are stored; a transition time moves only with its status."""
    found, now, kept = conditions_of(view), view.now.replace(microsecond=0), view.status.conditions
    wanted = [
        condition(name, state, reason, storable.text(message, _MESSAGE_LIMIT), now, kept)
        for name, (state, reason, message) in found.items()
    ]
    for absent in {STALLED, ALERTS_TRUNCATED} - found.keys():
        kept = drop(kept, absent)
    return mark(kept, *wanted)


def _stage(view: View, stage: Stage) -> Verdict:
    records = [record for record in view.records(stage) if not is_undo(record)]
    if not records:
        return (
            (None, reasons.PENDING, "") if not view.status.steps else (None, reasons.NO_STEPS, "the Runbook has none")
        )
    bad = [record for record in records if record.state in _BAD]
    if bad:
        return False, _REASON_OF.get(bad[0].state, reasons.STEP_FAILED), "; ".join(_told(record) for record in bad)
    if any(record.state not in status.FINISHED for record in records):
        begun = any(record.state is not StepState.PENDING for record in records)
        return None, reasons.RUNNING if begun else reasons.PENDING, ""
    helped = [record for record in records if record.state in {StepState.SUCCEEDED, StepState.UNDONE}]
    if not helped:
        return False, records[0].reason or reasons.SKIPPED, records[0].summary
    return True, reasons.STEPS_SUCCEEDED, "; ".join(_told(record) for record in helped)


def _told(record: StepRecord) -> str:
    return f"{record.name}: {record.summary}" if record.summary else record.name


def _approved(view: View) -> Verdict:
    pending = view.status.pending_approval
    if pending is not None:
        return (
            False,
            reasons.AWAITING_APPROVAL,
            f"plan {pending.plan_hash[:12]} waits until {pending.expires_at:%H:%M} UTC",
        )
    if not view.status.approvals:
        return None, reasons.PENDING, "no approval was asked for"
    newest = view.status.approvals[-1]
    plan = f"plan {newest.plan_hash[:12]}"
    match newest.state:
        case ApprovalState.ACTIVE | ApprovalState.CONSUMED:
            return True, reasons.APPROVED, f"{newest.by} approved {plan} ({', '.join(newest.steps)})"
        case ApprovalState.REJECTED:
            return False, reasons.REJECTED, f"{newest.by} rejected {plan}"
        case ApprovalState.EXPIRED:
            return False, reasons.APPROVAL_EXPIRED, f"nobody answered {plan} in time"
        case _:
            return False, _voided(view), newest.reason


def _voided(view: View) -> str:
    if view.status.phase is Phase.FAILED:
        return view.status.reason
    return reasons.ALERT_RESOLVED if view.incident.spec.resolved else reasons.PLAN_CHANGED


def _succeeded(view: View) -> Verdict:
    match view.status.phase:
        case Phase.RESOLVED:
            return True, view.status.reason, view.status.message
        case Phase.FAILED | Phase.SUPPRESSED:
            return False, view.status.reason, view.status.message
        case Phase.NEEDS_HUMAN:
            return None, view.status.reason, view.status.message
        case _:
            return None, reasons.RUNNING, ""


def _cut(view: View) -> Verdict | None:
    spec = view.incident.spec
    parts = [
        f"Alertmanager cut {spec.truncated_alerts} alerts from its message" if spec.truncated_alerts else "",
        f"{spec.alerts_omitted} alerts did not fit into this Incident" if spec.alerts_omitted else "",
    ]
    told = "; ".join(part for part in parts if part)
    return (True, reasons.ALERTS_CUT, told) if told else None
