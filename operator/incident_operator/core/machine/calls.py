"""The call of a run, rendered from what is known; and what a plan says of it."""

from collections.abc import Callable, Mapping
from typing import Any

from incident_operator.api import annotations
from incident_operator.api.annotations import INCIDENT_LABEL, RUNBOOK_LABEL, STEP_LABEL
from incident_operator.api.approvals import PlanEntry
from incident_operator.api.runbook import Stage
from incident_operator.core import plan, sanitize, texts, yaml_lines
from incident_operator.core.action import Call, Preview, UndoOf
from incident_operator.core.expressions import facts, render
from incident_operator.core.machine import limits, status, targets
from incident_operator.core.machine.decisions import Run
from incident_operator.core.machine.view import View
from incident_operator.core.runbooks.compiled import CompiledAction, CompiledProbe, CompiledStep, CompiledUndo

Mark = Callable[[str, Stage, str, int], str]
"""Makes the marker of an attempt: `core/marker.py`, `Markers.of`."""


def unmarked(*_attempt: object) -> str:
    """Make no marker: a read leaves nothing anywhere."""
    return ""


def call_of(view: View, run: Run, mark: Mark = unmarked, *, probe: bool = False) -> Call[Any] | render.RenderError:
    """Return the rendered call of a run, or why it cannot be rendered."""
    step = view.compiled.steps[run.step]
    act = _act(step, run, probe=probe)
    spec = act.template.constant or render.render(act.template, facts.facts(view.incident), view.now)
    if isinstance(spec, render.RenderError):
        return spec
    record = status.known(view.status, run.record)
    meta = view.incident.metadata
    return Call(
        namespace=meta.namespace,
        incident=meta.name,
        incident_uid=meta.uid,
        runbook=view.runbook_name,
        service_account=view.compiled.spec.service_account_name,
        stage=run.stage,
        step=run.record,
        attempt=run.attempt,
        key=run.key,
        action=act.key,
        spec=spec,
        timeout=limits.timeout(step, act.key).total_seconds(),
        started_at=record.started_at or view.now,
        undo_of=_undo_of(view, run),
        seen=record.seen if record.key == run.key else None,
        marker=mark(meta.uid, run.stage, run.record, run.attempt),
        severity=view.incident.spec.severity.value,
        labels=_labels(view, run),
    )


def entry_of(view: View, run: Run, call: Call[Any], preview: Preview) -> PlanEntry | str:
    """Return what a plan says of a call, or why nobody can be asked: what people read, and the digest of all that is sent.

    Every value is one line that says exactly what it is, so that none can look like another part of the plan.
    """
    step = view.compiled.steps[run.step]
    common = {"action": call.action, "timeout": f"{call.timeout:.0f}s", "attempts": limits.attempts(step)}
    whole = {name: yaml_lines.of(value) for name, value in preview.whole.items()}
    details = sanitize.exact({**common, "actsAs": call.service_account, **preview.details})
    entry = PlanEntry.model_construct(
        allows=[*targets.shared(view, run), *preview.allows] or None,
        step=run.record,
        attempt=run.attempt,
        do=texts.unmistakable(preview.do),
        details={**details, **whole, plan.DIGEST: preview.digest},
        in_trial=_told(preview.in_trial),
        in_trial_counted=_told(preview.in_trial_counted),
    )
    return plan.too_large(entry) or entry


def _told(trial: str | None) -> str | None:
    return None if trial is None else sanitize.text(trial, 512)


def _act(step: CompiledStep, run: Run, *, probe: bool) -> CompiledAction:
    part: CompiledStep | CompiledUndo | CompiledProbe | None = step.probe if probe else step.undo if run.undo else step
    if part is None:  # the act itself must never stand in for what is missing
        raise LookupError(f"step {run.step} declares no {'probe' if probe else 'undo'}")
    return part.act


def _undo_of(view: View, run: Run) -> UndoOf | None:
    original = status.known(view.status, run.step) if run.undo else None
    if original is None or original.key is None:
        return None
    return UndoOf(key=original.key, captured=original.captured or {})


def _labels(view: View, run: Run) -> Mapping[str, str]:
    return annotations.labels(
        {INCIDENT_LABEL: view.incident.metadata.name, RUNBOOK_LABEL: view.runbook_name, STEP_LABEL: run.record}
    )
