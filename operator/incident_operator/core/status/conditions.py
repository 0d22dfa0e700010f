"""The conditions of an Incident, and how a condition is built: by the Kubernetes API conventions.

One condition per stage, the approval, the whole, and what is abnormal. A transition time moves only with the status.
"""

from collections.abc import Sequence
from datetime import datetime

from incident_operator.api.approvals import ApprovalState
from incident_operator.api.incident import CLOSED_PHASES, OPENED_BY, Phase, Silence, StepRecord, StepState
from incident_operator.api.meta import Condition, rfc3339
from incident_operator.api.runbook import Stage
from incident_operator.core import reasons, sanitize, texts
from incident_operator.core.machine import alert_changes, status
from incident_operator.core.machine.view import Blocked, View, is_undo

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
_WORDS = {True: TRUE, False: FALSE, None: UNKNOWN}
DIAGNOSED, MITIGATED, APPROVED = "Diagnosed", "Mitigated", "Approved"
REMEDIATED, VERIFIED, SUCCEEDED = "Remediated", "Verified", "Succeeded"
STALLED, ALERTS_TRUNCATED, RECORD_INCOMPLETE = "Stalled", "AlertsTruncated", "RecordIncomplete"
RECONCILING = "Reconciling"
SEVERITY_LOWERED = "SeverityLowered"
ACKNOWLEDGED, ALERT_SILENCED = "Acknowledged", "AlertSilenced"
_MESSAGE_LIMIT = 1024
_STAGES = {DIAGNOSED: Stage.DIAGNOSE, MITIGATED: Stage.MITIGATE, REMEDIATED: Stage.REMEDIATE, VERIFIED: Stage.VERIFY}
_BAD = frozenset({StepState.FAILED, StepState.REJECTED, StepState.UNDO_FAILED, StepState.UNKNOWN})
_REASON_OF = {StepState.REJECTED: reasons.REJECTED, StepState.UNKNOWN: reasons.STEP_UNKNOWN}

_ONLY_WHILE_TRUE = frozenset({STALLED, ALERTS_TRUNCATED, SEVERITY_LOWERED, ACKNOWLEDGED, ALERT_SILENCED})

Assessment = tuple[bool | None, str, str]


def conditions_of(view: View) -> dict[str, Assessment]:
    """Return each condition's status, reason and message; abnormal ones only while they are true."""
    found: dict[str, Assessment] = {name: _stage(view, stage) for name, stage in _STAGES.items()}
    found[APPROVED] = _approved(view)
    found[SUCCEEDED] = _succeeded(view)
    if view.status.phase is Phase.NEEDS_HUMAN:
        found[STALLED] = (True, view.status.reason, view.status.message)
    spec, cut = view.incident.spec, []
    if spec.truncated_alerts:
        cut.append(f"Alertmanager cut {texts.counted(spec.truncated_alerts, 'alert')} from its message")
    if spec.alerts_omitted:
        cut.append(f"{texts.counted(spec.alerts_omitted, 'alert')} did not fit into this Incident")
    if cut:
        found[ALERTS_TRUNCATED] = (True, reasons.ALERTS_CUT, "; ".join(cut))
    if lowered := _lowered(view):
        found[SEVERITY_LOWERED] = (True, reasons.SEVERITY_CEILING, lowered)
    is_open = view.status.phase not in CLOSED_PHASES
    if is_open and (present := _presence(view)) is not None:
        found[ACKNOWLEDGED] = present
    if is_open and (silence := alert_changes.silence(view)) is not None:
        found[ALERT_SILENCED] = (True, reasons.SILENCED, _silenced(view, silence))
    return found


def updated(view: View) -> list[Condition]:
    """Return the conditions as they are stored; a transition time moves only with its status."""
    found, now, kept = conditions_of(view), view.now.replace(microsecond=0), view.status.conditions
    wanted = [
        condition(name, state, reason, sanitize.text(message, _MESSAGE_LIMIT), now, kept)
        for name, (state, reason, message) in found.items()
    ]
    for absent in _ONLY_WHILE_TRUE - found.keys():
        kept = drop(kept, absent)
    return mark(kept, *wanted)


def _stage(view: View, stage: Stage) -> Assessment:
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


def _approved(view: View) -> Assessment:
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
            why = reasons.ALERT_RESOLVED if view.incident.is_over else reasons.PLAN_CHANGED
            return False, view.status.reason if view.status.phase is Phase.FAILED else why, newest.reason


def _succeeded(view: View) -> Assessment:
    match view.status.phase:
        case Phase.RESOLVED:
            return True, view.status.reason, view.status.message
        case Phase.FAILED | Phase.SUPPRESSED:
            return False, view.status.reason, view.status.message
        case Phase.NEEDS_HUMAN:
            return None, view.status.reason, view.status.message
        case _:
            return None, reasons.RUNNING, ""


def _lowered(view: View) -> str:
    """Return that the Incident says a severity that its namespace may not have, or its Runbook where an alert opened it."""
    meta, wanted = view.incident.metadata, view.incident.spec.severity
    if OPENED_BY not in meta.annotations and not isinstance(view.runbook, Blocked):
        wanted = min(wanted, view.compiled.spec.severity)
    return view.scope.lowered(meta.namespace, wanted)


def _presence(view: View) -> Assessment | None:
    """Return who is on it; or, while a person is waited for and that was promised, that nobody is yet, and how to say so."""
    if (there := alert_changes.on_it(view)) is not None:
        return True, reasons.ACKNOWLEDGED, f"{there.by} is on it until {rfc3339(there.until)}"
    waits = view.status.phase in {Phase.AWAITING_APPROVAL, Phase.NEEDS_HUMAN} and view.status.times.acknowledged is None
    if not waits or isinstance(view.runbook, Blocked) or view.compiled.spec.objectives.acknowledge is None:
        return None
    return (
        False,
        reasons.PENDING,
        f"nobody has acknowledged yet; to say that you are on it: {alert_changes.acknowledge_command(view)}",
    )


def _silenced(view: View, silence: Silence) -> str:
    """Say until when, by whom, and how the end will be known: Alertmanager tells of no end of an alert that is silenced."""
    until = f" until {rfc3339(silence.until)}" if silence.until is not None else ""
    by = f" by {silence.by}" if silence.by else ""
    told = f"Connection {silence.connection} sees {silence.alerts} of its alerts silenced{until}{by}; Alertmanager sends no message when these resolve."
    if silence.end_is_noticed:
        return f"{told} This Connection notices when they end."
    return f"{told} If it is over: {alert_changes.over_command(view)}"


def mark(conditions: Sequence[Condition], *wanted: Condition) -> list[Condition]:
    """Return the conditions with these set; sorted by type, and unchanged where only the time would differ."""
    known = {condition.type: condition for condition in conditions}
    for each in wanted:
        before = known.get(each.type)
        known[each.type] = each if before is None or before.status != each.status else _since(each, before)
    return [known[type_] for type_ in sorted(known)]


def _since(wanted: Condition, before: Condition) -> Condition:
    if wanted is before:
        return before
    return wanted.model_copy(update={"last_transition_time": before.last_transition_time})


def readiness(kept: Sequence[Condition], ready: Condition, *, for_good: bool) -> list[Condition]:
    """Return the conditions of what is ready, tried again (`Reconciling`), or waits for a change of its own (`Stalled`, `for_good`).

    The two are there only while they are true, as kstatus reads them: what waits for an object fails at once on the latter.
    """
    rest = drop(drop(kept, RECONCILING), STALLED)
    if ready.status == TRUE:
        return mark(rest, ready)
    abnormal = STALLED if for_good else RECONCILING
    same = ready.model_copy(update={"type": abnormal, "status": TRUE, "message": ready.message[:_MESSAGE_LIMIT]})
    before = find(kept, abnormal)
    return mark(rest, ready, same if before is None else _since(same, before))


def observed(conditions: Sequence[Condition], generation: int | None) -> list[Condition]:
    """Return the conditions as those of this generation of the spec; without one where it is None."""
    return [
        each if each.observed_generation == generation else each.model_copy(update={"observed_generation": generation})
        for each in conditions
    ]


def drop(conditions: Sequence[Condition], type_: str) -> list[Condition]:
    """Return the conditions without one that is present only while it is true."""
    return [condition for condition in conditions if condition.type != type_]


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of a type, if it is there."""
    return next((condition for condition in conditions if condition.type == type_), None)


def condition(
    type_: str, status: bool | None, reason: str, message: str, now: datetime, kept: Sequence[Condition] = ()
) -> Condition:
    """Build a condition, or return the one of `kept` that says the same; a status of None is Unknown."""
    word = _WORDS[status]
    before = find(kept, type_)
    if before is not None and (before.status, before.reason, before.message) == (word, reason, message):
        return before
    return Condition.model_validate(
        {"type": type_, "status": word, "reason": reason, "message": message, "lastTransitionTime": now}
    )
