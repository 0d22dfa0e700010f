"""The report of an Incident as Markdown: what happened, what was changed, by whose approval, and what is left to do.

Everything comes from the Incident's own record; texts from outside are escaped, so that they cannot dress up as ours.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from incident_operator.api.approvals import ApprovalRecord
from incident_operator.api.incident import CLOSED_PHASES, Incident, Objective, ObjectiveState, StepRecord, StepState
from incident_operator.api.meta import rfc3339
from incident_operator.api.runbook import RunbookSpec, Stage
from incident_operator.core.effects import Effect
from incident_operator.core.status.markdown import plain
from incident_operator.core.status.messages import elapsed


def markdown(incident: Incident, runbook: RunbookSpec | None, differs: Mapping[str, str] | None = None) -> str:
    """Return the report; it can be rendered at any time, and says where the Incident stands.

    `differs` says what became of a step's evidence since it was recorded, where that was looked at; step → words.
    """
    sections = [
        _head(incident, runbook),
        _section("What happened", _what_happened(incident)),
        _section("Timeline", _timeline(incident)),
        _section("What was changed", _changes(incident)),
        _section("Approvals", _approvals(incident)),
        _section("Objectives", _objectives(incident)),
        _section("To do", _todo(runbook)),
        _section("Evidence", _evidence(incident, differs or {})),
    ]
    return "\n".join(section for section in sections if section)


def _head(incident: Incident, runbook: RunbookSpec | None) -> str:
    title = runbook.title if runbook is not None else incident.metadata.name
    at = incident.status.times.detected
    day = f" · {at:%Y-%m-%d}" if at else ""
    told = [f"# {plain(title)} · {incident.spec.severity.value}{day}", ""]
    if runbook is not None and (runbook.review.classification or runbook.review.tags):
        told += [plain(" · ".join(filter(None, [runbook.review.classification, *runbook.review.tags]))), ""]
    return "\n".join([*told, plain(incident.status.message), *_relief(incident), ""])


def _relief(incident: Incident) -> Iterator[str]:
    """Say when users were better off, which they care about before anything else."""
    after = incident.status.mitigated_after
    promised = next((one for one in incident.status.objectives if one.name == "mitigate"), None)
    if after:
        kept = (
            f" (objective {elapsed(incident.status.times.detected, promised.deadline)}: {promised.state.value.lower()})"
            if promised
            else ""
        )
        yield f"Users were better off after {after}{kept}."


def _section(title: str, lines: Iterator[str]) -> str:
    body = list(lines)
    return "\n".join([f"## {title}", "", *body, ""]) if body else ""


def _what_happened(incident: Incident) -> Iterator[str]:
    labels = incident.spec.common_labels
    alert = labels.get("alertname", "An incident opened by hand")
    group = ", ".join(f"{name}={value}" for name, value in incident.spec.group.items())
    count = len(incident.spec.alerts)
    counted = f" ({count} alert{'s' if count != 1 else ''}{f'; {group}' if group else ''})" if count else ""
    yield plain(f"{alert}{counted} was detected at {_time(incident.status.times.detected)}.")
    found = [r for r in incident.status.steps if r.stage is Stage.DIAGNOSE and r.summary]
    if found:
        yield plain("Diagnosis: " + "; ".join(f"{record.name}: {record.summary}" for record in found) + ".")
    yield _where_it_stands(incident)


def _where_it_stands(incident: Incident) -> str:
    phase, ended = incident.status.phase, incident.status.times.resolved
    if phase not in CLOSED_PHASES:
        return f"It stands at {phase.value}."
    return f"It ended as {phase.value}{f' at {_time(ended)}' if ended is not None else ''}."


def _timeline(incident: Incident) -> Iterator[str]:
    yield "| time | what | evidence |"
    yield "|---|---|---|"
    moments = [*_alert_moments(incident), *_approval_moments(incident), *_step_moments(incident)]
    for at, what, evidence in sorted(moments, key=lambda moment: moment[0]):
        yield f"| {rfc3339(at)} | {_cell(what)} | {evidence} |"


def _alert_moments(incident: Incident) -> Iterator[tuple[datetime, str, str]]:
    for alert in incident.spec.alerts[:20]:
        name = incident.spec.common_labels.get("alertname", alert.labels.get("alertname", "alert"))
        yield alert.starts_at, f"{name} fires: {alert.summary or alert.id[:12]}", ""
        if alert.ends_at is not None and alert.status.value == "resolved":
            yield alert.ends_at, f"{name} resolves", ""


def _step_moments(incident: Incident) -> Iterator[tuple[datetime, str, str]]:
    for record in incident.status.steps:
        at = record.finished_at or record.started_at
        if at is not None:
            told = f": {record.summary}" if record.summary else ""
            yield at, f"{record.stage.value} {record.name} {record.state.value}{told}", _digest(record)


def _approval_moments(incident: Incident) -> Iterator[tuple[datetime, str, str]]:
    for record in incident.status.approvals:
        yield record.at, _answer(record), f"plan {record.plan_hash[:12]}"
    for answer in incident.status.answers:
        yield answer.at, f"{answer.by} said {answer.verb} {answer.token}", ""


def _changes(incident: Incident) -> Iterator[str]:
    acted = [r for r in incident.status.steps if r.effect != Effect.READ and r.started_at is not None]
    if not acted:
        yield "Nothing was changed."
        return
    yield "| step | what | undone? |"
    yield "|---|---|---|"
    for record in acted:
        undone = record.undo.value if record.undo is not None else "-"
        yield f"| {record.name} ({record.state.value}) | {_cell(_change(incident, record))} | {undone} |"


def _change(incident: Incident, record: StepRecord) -> str:
    approved = [entry for answer in incident.status.approvals for entry in answer.plan if entry.step == record.name]
    did = f"{approved[-1].do}: " if approved and record.state is not StepState.PENDING else ""
    captured = record.captured or {}
    shift = f" ({captured['before']} → {captured['after']})" if {"before", "after"} <= captured.keys() else ""
    return f"{did}{record.summary}{shift}"


def _approvals(incident: Incident) -> Iterator[str]:
    for record in incident.status.approvals:
        reason = f" ({plain(record.reason)})" if record.reason else ""
        yield f"- {rfc3339(record.at)} {plain(_answer(record))}, plan `{record.plan_hash}`{reason}"
    if not incident.status.approvals:
        yield "None was asked for."


def _answer(record: ApprovalRecord) -> str:
    steps = ", ".join(record.steps)
    if not record.by:
        return f"{record.state.value}: {steps}"
    said = "rejected" if record.state.value == "Rejected" else "approved"
    return f"{record.by} {said} {steps}"


def _objectives(incident: Incident) -> Iterator[str]:
    reached = incident.status.times
    moments = {"acknowledge": reached.acknowledged, "mitigate": reached.mitigated, "resolve": reached.resolved}
    for objective in incident.status.objectives:
        yield f"- {objective.name}: {_kept(objective, reached.detected, moments[objective.name])}"


def _kept(objective: Objective, start: datetime | None, moment: datetime | None) -> str:
    promised = elapsed(start, objective.deadline)
    if objective.state is ObjectiveState.PENDING:
        return f"pending (within {promised})"
    took = f"after {elapsed(start, moment)}" if moment is not None else "not reached"
    margin = (
        elapsed(moment, objective.deadline)
        if objective.state is ObjectiveState.MET
        else elapsed(objective.deadline, moment)
    )
    by = f", by {margin}" if margin and moment is not None else ""
    return f"{objective.state.value.lower()} {took} (promised within {promised}{by})"


def _todo(runbook: RunbookSpec | None) -> Iterator[str]:
    return (f"- [ ] {plain(task)}" for task in (runbook.review.tasks if runbook is not None else []))


def _evidence(incident: Incident, differs: Mapping[str, str]) -> Iterator[str]:
    for record in incident.status.steps:
        if record.evidence:
            place = f"`{record.name}.json` in ConfigMap `{record.evidence_in}`" if record.evidence_in else "not kept"
            changed = f"; {differs[record.name]}" if record.name in differs else ""
            yield f"- {record.name}: {place}, `{record.evidence}`{changed}"


def _digest(record: StepRecord) -> str:
    return f"`{record.evidence[:19]}…`" if record.evidence else ""


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|")


def _time(moment: datetime | None) -> str:
    return rfc3339(moment) if moment is not None else "an unknown time"
