"""Expressions of steps, answered from facts: conditions, values and outputs, or who it is that owes the answer.

Facts are the Incident, its parameters, and what steps found out. Where an answer leads is the state machine's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from incident_operator.api.incident import Alert, Incident, StepRecord
from incident_operator.api.meta import rfc3339
from incident_operator.core import sanitize, texts
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Facts, NoAnswer, Program, StepFact
from incident_operator.core.expressions.weight import Reference
from incident_operator.core.outcomes import Json
from incident_operator.core.sanitize import KEPT, is_deeper


def facts(incident: Incident) -> Facts:
    """Return the variables that every step expression sees."""
    return Facts(
        incident={
            "name": incident.metadata.name,
            "severity": incident.spec.severity.value,
            "resolved": incident.is_over,
            "alerts": [_alert(incident, alert) for alert in incident.spec.alerts],
        },
        params=incident.status.parameters,
        steps={record.name: _fact(record) for record in incident.status.steps},
    )


def alert_variable(incident: Incident) -> Mapping[str, Any]:
    """Return `alert` as parameters see it: the first alert, with the labels that all share."""
    if not incident.spec.alerts:
        return {"labels": dict(incident.spec.common_labels), "annotations": {}, "startsAt": "", "status": "firing"}
    return _alert(incident, min(incident.spec.alerts, key=lambda alert: (alert.starts_at, alert.id)))


def _alert(incident: Incident, alert: Alert) -> dict[str, Any]:
    return {
        "labels": {**incident.spec.common_labels, **alert.labels},
        "annotations": {**alert.annotations, **_told(alert)},
        "startsAt": rfc3339(alert.starts_at),
        "status": alert.status.value,
    }


def _told(alert: Alert) -> dict[str, str]:
    """Return the annotations that have a field of their own."""
    own = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": alert.runbook_url,
        "dashboard_url": alert.dashboard_url,
    }
    return {name: text for name, text in own.items() if text}


def _fact(record: StepRecord) -> StepFact:
    outputs = sanitize.plain(record.outputs) if record.outputs else record.outputs
    return StepFact(state=record.state.value, outputs=outputs, note=record.summary)


MAX_OUTPUT_BYTES = 4096
"""What the outputs of one step may take together, as JSON."""

_SHOWN = 80
_NOT_RUN = StepFact("Pending")
_HAPPENED = {
    "Pending": "has not run",
    "Running": "has not finished",
    "Failed": "failed",
    "Skipped": "was skipped",
    "AwaitingApproval": "waits for approval",
    "Rejected": "was rejected",
    "Unknown": "may or may not have run",
    "Undone": "was undone",
    "UndoFailed": "could not be undone",
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a step's `outputs` gave."""

    values: Mapping[str, Json]
    problems: Mapping[str, str]
    """Output name → why it has no value."""


def value(program: Program, facts: Facts, now: datetime, result: Json = None) -> Json | NoAnswer:
    """Return what an expression gives; `result` counts only where the expression may name it."""
    steps = {name: facts.steps.get(name, _NOT_RUN) for name in _named_steps(program)}
    variables = {
        "incident": facts.incident,
        "params": facts.params,
        "steps": {name: {"state": fact.state, "outputs": fact.outputs or {}} for name, fact in steps.items()},
        "result": result or {},
    }
    named = {reference.root for reference in program.references}  # an Incident is large, so only what is asked for
    found = cel.evaluate(program, {name: variables[name] for name in program.scope.variables if name in named}, now)
    return _explained(program, steps, found) if isinstance(found, NoAnswer) else found


def condition(program: Program, facts: Facts, now: datetime, result: Json = None) -> bool | NoAnswer:
    """Return whether a condition holds; anything but true and false is unknown."""
    found = value(program, facts, now, result)
    if isinstance(found, bool | NoAnswer):
        return found
    return NoAnswer(
        f"it gives {texts.cut(json.dumps(found), _SHOWN)}, neither true nor false, in: {texts.cut(program.source, _SHOWN)}"
    )


def outputs(programs: Mapping[str, Program], facts: Facts, now: datetime, result: Json) -> Outputs:
    """Return the outputs that have a value, in order, as far as they fit; the rest is told as problems."""
    values: dict[str, Json] = {}
    problems: dict[str, str] = {}
    for name, program in programs.items():
        found = value(program, facts, now, result)
        if isinstance(found, NoAnswer):
            problems[name] = found.why
        elif is_deeper(found, KEPT):
            problems[name] = f"it is nested more than {KEPT} levels deep, too deep for a status"
        elif _size({**values, name: found}) > MAX_OUTPUT_BYTES:
            problems[name] = (
                f"{_size(found)} bytes are too many: all outputs of a step may have {MAX_OUTPUT_BYTES} together"
            )
        else:
            values[name] = found
    return Outputs(values, problems)


def _explained(program: Program, steps: Mapping[str, StepFact], unknown: NoAnswer) -> NoAnswer:
    """Name the steps whose missing output is why, and the place in the expression otherwise."""
    owing = [
        reference for reference in _step_references(program) if _is_owed(reference, steps[reference.path[0]], unknown)
    ]
    if not owing:
        return replace(unknown, why=f"{unknown.why}, in: {texts.cut(program.source, _SHOWN)}")
    told = dict.fromkeys(_why_absent(reference, steps[reference.path[0]]) for reference in owing)
    return NoAnswer(" and ".join(told), unknown.missing)


def _named_steps(program: Program) -> set[str]:
    return {reference.path[0] for reference in _step_references(program)}


def _step_references(program: Program) -> list[Reference]:
    return [reference for reference in program.references if reference.root == "steps" and reference.path]


def _is_owed(reference: Reference, fact: StepFact, unknown: NoAnswer) -> bool:
    if len(reference.path) < 3 or reference.path[1] != "outputs":
        return False
    return reference.path[2] == unknown.missing and unknown.missing not in (fact.outputs or {})


def _why_absent(reference: Reference, fact: StepFact) -> str:
    happened = _HAPPENED.get(fact.state, fact.state)
    if fact.state == "Succeeded":
        happened = f"gave no {reference.path[2]}"
    return f"{reference.path[0]} {happened} ({fact.note})" if fact.note else f"{reference.path[0]} {happened}"


def _size(found: Json) -> int:
    return len(json.dumps(found, ensure_ascii=False).encode())
