"""The report of an Incident as Markdown: what happened, what was changed, by whose approval, and what is left to do.

Everything comes from the Incident's own record; texts from outside are escaped, so that they cannot dress up as ours.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from incident_operator.api.approvals import ApprovalRecord, ApprovalState
from incident_operator.api.incident import (
    CLOSED_PHASES,
    AlertStatus,
    Incident,
    ObjectiveState,
    StepRecord,
    StepState,
    UndoState,
)
from incident_operator.api.meta import rfc3339
from incident_operator.api.runbook import RunbookSpec, Stage
from incident_operator.core import texts
from incident_operator.core.machine import undoing
from incident_operator.core.machine.view import UNDO_PREFIX
from incident_operator.core.outcomes import Effect
from incident_operator.core.status.messages import elapsed
from incident_operator.core.texts import cell, code_span, markdown_text

_SAID = {
    StepState.PENDING: "not started again yet",
    StepState.RUNNING: "runs",
    StepState.SUCCEEDED: "done",
    StepState.UNDONE: "done",
    StepState.UNDO_FAILED: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
    StepState.AWAITING_APPROVAL: "waits for approval",
    StepState.REJECTED: "rejected",
    StepState.UNKNOWN: "may or may not have happened",
}
"""How a step's own end is told; that it was taken back later is another moment."""
_HAPPENED = frozenset({StepState.SUCCEEDED, StepState.UNDONE, StepState.UNDO_FAILED})
_ALERTS_TOLD, _LINKS = 20, 3
_VALUE, _CHANGE = 80, 300
"""Characters of one value, and of one side of a change."""


@dataclass(frozen=True, slots=True)
class _Moment:
    at: datetime
    where: str
    what: str
    lasted: str = ""
    rank: int = 3
    """What comes first within one second: an alert, what is done unasked, what people say, all else."""


def markdown(
    incident: Incident,
    runbook: RunbookSpec | None,
    differs: Mapping[str, str] | None = None,
    *,
    digests: bool = False,
) -> str:
    """Return the report; it can be rendered at any time, and says where the Incident stands.

    `differs` says what became of a step's evidence since it was recorded, where that was looked at; step → words.
    `digests` adds the SHA-256 of plans and evidence.
    """
    sections = [
        _head(incident, runbook),
        _section("What happened", _what_happened(incident, runbook)),
        _section("Timeline", _timeline(incident)),
        _section("What was changed", _changes(incident)),
        _section("Approvals", _approvals(incident, digests=digests)),
        _section("Objectives", _objectives(incident)),
        _section("To do", (f"- [ ] {markdown_text(task)}" for task in (runbook.review.tasks if runbook else []))),
        _section("Evidence", _evidence(incident, differs or {}, digests=digests)),
    ]
    return "\n".join(section for section in sections if section)


def _head(incident: Incident, runbook: RunbookSpec | None) -> str:
    title = runbook.title if runbook is not None else incident.metadata.name
    at = incident.status.times.detected
    day = f" · {at:%Y-%m-%d}" if at else ""
    told = [f"# {markdown_text(title)} · {incident.spec.severity.value}{day}", ""]
    if runbook is not None and (runbook.review.classification or runbook.review.tags):
        told += [markdown_text(" · ".join(filter(None, [runbook.review.classification, *runbook.review.tags]))), ""]
    told.append(markdown_text(incident.status.message))
    if after := incident.status.mitigated_after:
        # when users were better off, which they care about before anything else
        promised = next((one for one in incident.status.objectives if one.name == "mitigate"), None)
        kept = ""
        if promised is not None:
            kept = f" (objective {elapsed(at, promised.deadline)}: {promised.state.value.lower()})"
        told.append(f"The first mitigation was in place after {after}{kept}.")
    return "\n".join([*told, ""])


def _section(title: str, lines: Iterator[str]) -> str:
    body = list(lines)
    return "\n".join([f"## {title}", "", *body, ""]) if body else ""


def _what_happened(incident: Incident, runbook: RunbookSpec | None) -> Iterator[str]:
    alerts = incident.spec.alerts
    alert = incident.spec.common_labels.get("alertname", "An incident opened by hand")
    group = "".join(f"; {name}={value}" for name, value in incident.spec.group.items())
    counted = f" ({texts.counted(len(alerts), 'alert')}{group})" if alerts else ""
    said = next((each.summary or each.description for each in alerts if each.summary or each.description), "")
    summary = f": {said.rstrip('.')}" if said else ""
    yield markdown_text(f"{alert}{counted} was detected at {_time(incident.status.times.detected)}{summary}.")
    yield from _links(incident)
    steps = [step for stage in Stage for step in runbook.steps(stage)] if runbook is not None else []
    described = {step.name: step.description.rstrip(".") for step in steps}
    found = [r for r in incident.status.steps if r.stage is Stage.DIAGNOSE and r.summary]
    if found:
        yield f"Found: {'; '.join(_finding(record, described) for record in found)}."
    acted = [r for r in _acts(incident) if r.state in _HAPPENED]
    if acted:
        yield f"Done: {'; '.join(markdown_text(_named(record, described)) for record in acted)}."
    phase, times = incident.status.phase, incident.status.times
    if phase not in CLOSED_PHASES:
        yield f"It stands at {phase.value}."
    elif times.resolved is None:
        yield f"It ended as {phase.value}."
    else:
        took = elapsed(times.detected, times.resolved)
        yield f"It ended as {phase.value} at {_time(times.resolved)}, after {took}."


def _links(incident: Incident) -> Iterator[str]:
    """Return where its alerts say that more can be read, each place once."""
    alerts = incident.spec.alerts
    for what, urls in (
        ("Runbook of the alert", [each.runbook_url for each in alerts]),
        ("Dashboard", [each.dashboard_url for each in alerts]),
    ):
        found = list(dict.fromkeys(filter(None, urls)))
        more = f" and {len(found) - _LINKS} more" if len(found) > _LINKS else ""
        if found:
            yield f"{what}: {' '.join(markdown_text(url) for url in found[:_LINKS])}{more}"


def _named(record: StepRecord, described: Mapping[str, str]) -> str:
    about = described.get(record.name)
    return f"{record.name} ({about})" if about else record.name


def _finding(record: StepRecord, described: Mapping[str, str]) -> str:
    """Return what a step of the diagnosis was to find out, what it did, and the values that were taken from it."""
    values = "".join(
        f", {markdown_text(name)} = {code_span(_value(value))}" for name, value in (record.outputs or {}).items()
    )
    failed = "" if record.state in _HAPPENED else f"{_SAID[record.state]}: "
    told = markdown_text(f"{_named(record, described)}: {failed}{record.summary.rstrip('.')}")
    return f"{told}{values}"


def _value(value: Any) -> str:
    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return texts.cut(texts.visible(told), _VALUE)


def _timeline(incident: Incident) -> Iterator[str]:
    yield "| time | stage | what | how long |"
    yield "|---|---|---|---|"
    moments = [*_alert_moments(incident), *_approval_moments(incident), *_step_moments(incident)]
    for each in sorted(moments, key=lambda moment: (moment.at, moment.rank)):
        yield f"| {rfc3339(each.at)} | {each.where} | {cell(markdown_text(each.what))} | {each.lasted} |"
    beyond = len(incident.spec.alerts) - _ALERTS_TOLD + incident.spec.alerts_omitted
    if beyond > 0:
        yield f"\nThis lists the first {_ALERTS_TOLD} alerts; {beyond} more are left out."


def _alert_moments(incident: Incident) -> Iterator[_Moment]:
    for alert in incident.spec.alerts[:_ALERTS_TOLD]:
        name = incident.spec.common_labels.get("alertname", alert.labels.get("alertname", "alert"))
        yield _Moment(alert.starts_at, "alert", f"{name} fires: {alert.summary or alert.id[:12]}", rank=0)
        if alert.ends_at is not None and alert.status is AlertStatus.RESOLVED:
            fired = elapsed(alert.starts_at, alert.ends_at)
            told = f": {alert.end_told_by}" if alert.end_told_by else ""
            yield _Moment(alert.ends_at, "alert", f"{name} resolves{told}", f"fired {fired}")


def _step_moments(incident: Incident) -> Iterator[_Moment]:
    for record in incident.status.steps:
        at = record.finished_at or record.started_at
        if at is None:
            continue
        ended = _SAID[record.state]
        if record.name.startswith(UNDO_PREFIX):
            ended = "undone" if record.state is StepState.SUCCEEDED else f"to be undone, {ended}"
        told = f": {record.summary}" if record.summary else ""
        took = elapsed(record.started_at, record.finished_at)
        rank = 1 if record.stage in {Stage.DIAGNOSE, Stage.MITIGATE} else 3
        what = f"{record.name.removeprefix(UNDO_PREFIX)} {ended}{told}"
        yield _Moment(at, record.stage.value, what, "" if took == "0s" else took, rank)


def _approval_moments(incident: Incident) -> Iterator[_Moment]:
    for record in incident.status.approvals:
        if record.asked_at is not None:
            yield _Moment(record.asked_at, "approval", f"asked for: {', '.join(record.steps)}", rank=2)
        yield _Moment(record.at, "approval", _answer(record), _waited(record), 2)
    pending = incident.status.pending_approval
    if pending is not None and pending.asked_at is not None:
        yield _Moment(pending.asked_at, "approval", f"asked for: {', '.join(pending.steps)}; not answered yet", rank=2)
    for answer in incident.status.answers:
        yield _Moment(answer.at, "answer", f"{answer.by} said {answer.verb} {answer.token}", rank=2)
    if (there := incident.status.acknowledgement) is not None:
        told = f"{there.by} said that they are on it until {rfc3339(there.until)}"
        yield _Moment(there.at, "answer", told, rank=2)


def _waited(record: ApprovalRecord) -> str:
    waited = elapsed(record.asked_at, record.at)
    return f"waited {waited}" if waited not in {"", "0s"} else ""


def _acts(incident: Incident) -> list[StepRecord]:
    """Return what was begun that changes something; an undo is told beside what it takes back."""
    begun = [r for r in incident.status.steps if r.effect != Effect.READ and r.started_at is not None]
    return [record for record in begun if not record.name.startswith(UNDO_PREFIX)]


def _changes(incident: Incident) -> Iterator[str]:
    acted = _acts(incident)
    if not acted:
        yield "Nothing was changed."
        return
    yield "| step | what was done | result | before → after | undone? |"
    yield "|---|---|---|---|---|"
    undos = {r.name.removeprefix(UNDO_PREFIX): r for r in incident.status.steps if r.name.startswith(UNDO_PREFIX)}
    closed = incident.status.phase in CLOSED_PHASES
    for record in acted:
        outcome = _SAID[record.state] + (f": {record.summary}" if record.summary else "")
        cells = [
            markdown_text(record.name),
            code_span(_did(incident, record)),
            markdown_text(outcome),
            code_span(_shift(record)),
            markdown_text(_taken_back(record, undos.get(record.name), closed=closed)),
        ]
        yield f"| {' | '.join(map(cell, cells))} |"


def _did(incident: Incident, record: StepRecord) -> str:
    if record.did:
        return record.did
    approved = [entry for answer in incident.status.approvals for entry in answer.plan if entry.step == record.name]
    return approved[-1].do if approved and record.state is not StepState.PENDING else record.action


def _shift(record: StepRecord) -> str:
    """Return what was there and what came, as far as the action captured it; empty where it captured nothing."""
    held = record.captured or {}
    before, after = (held.get(name, held.get(other)) for name, other in (("before", "was"), ("after", "became")))
    told = [texts.cut(_image(each), _CHANGE) for each in (before, after) if each is not None]
    return " → ".join(told) if len(told) != 1 else f"{'was' if after is None else 'became'} {told[0]}"


def _image(value: Any) -> str:
    """Return a number, or rows of a table, as people write them: `id=PP-1, is_fresh=false; id=PP-2, …`."""
    match value:
        case list():
            return "; ".join(map(_image, value))
        case Mapping():
            return ", ".join(f"{name}={_value(each)}" for name, each in value.items())
        case _:
            return _value(value)


def _taken_back(record: StepRecord, undo: StepRecord | None, *, closed: bool) -> str:
    if undo is not None and undo.state is StepState.SUCCEEDED:
        return f"yes, at {_time(undo.finished_at)}"
    by_hand = undoing.put_back_with(record) if closed else ""
    put_back = f"; put it back: {by_hand}" if by_hand else ""
    if record.undo is UndoState.FAILED:
        return f"no, that failed{f': {undo.summary}' if undo is not None and undo.summary else ''}{put_back}"
    if record.undo is UndoState.PENDING:
        return f"no, it is still in place{put_back}" if closed else "not yet"
    return "yes" if record.undo is UndoState.DONE else "stays"


def _approvals(incident: Incident, *, digests: bool) -> Iterator[str]:
    for record in incident.status.approvals:
        void = "void" if record.by and record.state is ApprovalState.VOIDED else ""
        about = "; ".join(filter(None, [_waited(record), record.reason, void]))
        bound = f", plan `{record.plan_hash}`" if digests else f", plan {record.plan_hash[:12]}"
        yield f"- {rfc3339(record.at)} {markdown_text(_answer(record))}{bound}{f' ({markdown_text(about)})' if about else ''}"
    if not incident.status.approvals:
        yield "No approval was asked for."


def _answer(record: ApprovalRecord) -> str:
    steps = ", ".join(record.steps)
    if not record.by:
        return f"{'nobody answered' if record.state is ApprovalState.EXPIRED else 'voided'}: {steps}"
    said = "rejected" if record.state is ApprovalState.REJECTED else "approved"
    return f"{record.by} {said} {steps}"


def _objectives(incident: Incident) -> Iterator[str]:
    reached = incident.status.times
    moments = {"acknowledge": reached.acknowledged, "mitigate": reached.mitigated, "resolve": reached.resolved}
    for objective in incident.status.objectives:
        start, moment = reached.detected, moments[objective.name]
        promised = elapsed(start, objective.deadline)
        if objective.state is ObjectiveState.PENDING:
            yield f"- {objective.name}: pending (within {promised})"
            continue
        took = f"after {elapsed(start, moment)}" if moment is not None else "not reached"
        early, late = (moment, objective.deadline), (objective.deadline, moment)
        margin = elapsed(*(early if objective.state is ObjectiveState.MET else late))
        by = f", by {margin}" if margin and moment is not None else ""
        yield f"- {objective.name}: {objective.state.value.lower()} {took} (promised within {promised}{by})"


def _evidence(incident: Incident, differs: Mapping[str, str], *, digests: bool) -> Iterator[str]:
    kept = [record for record in incident.status.steps if record.evidence]
    for record in kept:
        place = f"`{record.name}.json` in ConfigMap `{record.evidence_in}`" if record.evidence_in else "not kept"
        yield f"- {record.name}: {place}{f', `{record.evidence}`' if digests else ''}"
    if kept and differs:
        yield ""
    for words in dict.fromkeys(differs.values()):
        yield f"{words[:1].upper()}{words[1:]}: {', '.join(step for step, told in differs.items() if told == words)}."


def _time(moment: datetime | None) -> str:
    return rfc3339(moment) if moment is not None else "an unknown time"
