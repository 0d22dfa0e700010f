"""Runs one action: renders the call, bounds its time, and turns whatever happens into an outcome."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from incident_operator.actions.protocol import Action, Call, Preview, PreviewError, UndoOf
from incident_operator.api.annotations import INCIDENT_LABEL, RUNBOOK_LABEL, STEP_LABEL
from incident_operator.api.incident import Incident
from incident_operator.clients.redaction import Redactor
from incident_operator.core import json_depth, reasons, sanitize
from incident_operator.core.effects import Effect
from incident_operator.core.expressions import facts, render
from incident_operator.core.machine import limits, status
from incident_operator.core.machine.decisions import Run
from incident_operator.core.machine.view import View
from incident_operator.core.outcomes import Failed, Json, Outcome, Pending, Succeeded, Undetermined
from incident_operator.core.runbooks.compiled import CompiledAction, CompiledProbe, CompiledStep, CompiledUndo

_SLACK = 15.0
"""Seconds that an action may take beyond its own bound before the engine gives up waiting for it."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Calls:
    """The actions, and what every call of one needs."""

    actions: Mapping[str, Action]
    redactor: Redactor
    clock: Callable[[], datetime]

    def call(self, view: View, run: Run, *, probe: bool = False) -> Call | render.RenderError:
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
            runbook=_runbook_name(view.incident),
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
            severity=view.incident.spec.severity.value,
            labels=_labels(view.incident, run),
        )

    async def preview(self, call: Call) -> Preview:
        """Return what the call would do. Raises `PreviewError` where that cannot be told, in time."""
        try:
            async with asyncio.timeout(call.timeout + _SLACK):
                preview = await self.actions[call.action].preview(call)
        except PreviewError as error:
            raise PreviewError(self.redactor.clean(str(error))) from None
        except TimeoutError:
            raise PreviewError(f"{call.step}: no preview within {call.timeout:.0f}s") from None
        except Exception as error:  # noqa: BLE001 # the engine's boundary: a defect of an action stops one step only
            _log.exception("Preview failed", incident=call.incident, step=call.step)
            raise PreviewError(f"{call.step}: {type(error).__name__} while rendering; see the operator's log") from None
        details = self.redactor.clean_json(dict(preview.details))
        if json_depth.is_deeper(details, json_depth.KEPT):
            # a plan that is cut would bind less than will be done
            raise PreviewError(f"{call.step}: nested more than {json_depth.KEPT} levels deep, too deep for a plan")
        return replace(preview, do=self.redactor.clean(preview.do), details=details)

    async def run(self, call: Call, effect: Effect) -> Outcome:
        """Run the call and return its outcome with secrets masked. Raises nothing but cancellation."""
        try:
            async with asyncio.timeout(call.timeout + _SLACK):
                outcome = await self.actions[call.action].run(call)
        except TimeoutError:
            outcome = _unclear(effect, f"no answer within {call.timeout:.0f}s", reasons.TIMED_OUT)
        except Exception as error:  # noqa: BLE001 # the same boundary
            _log.exception("Action failed", namespace=call.namespace, incident=call.incident, step=call.step)
            told = f"{type(error).__name__} in {call.action}; see the operator's log"
            outcome = _unclear(effect, told, reasons.INTERNAL_ERROR)
        return _clean(self.redactor, outcome)


def _act(step: CompiledStep, run: Run, *, probe: bool) -> CompiledAction:
    part: CompiledStep | CompiledUndo | CompiledProbe | None = step.probe if probe else step.undo if run.undo else step
    if part is None:  # the act itself must never stand in for what is missing
        raise LookupError(f"step {run.step} declares no {'probe' if probe else 'undo'}")
    return part.act


def _undo_of(view: View, run: Run) -> UndoOf | None:
    if not run.undo:
        return None
    original = status.known(view.status, run.step)
    if original.key is None:
        return None
    return UndoOf(key=original.key, captured=original.captured or {})


def _labels(incident: Incident, run: Run) -> Mapping[str, str]:
    return {
        "app.kubernetes.io/managed-by": "incident-operator",
        INCIDENT_LABEL: incident.metadata.name[:63],
        RUNBOOK_LABEL: _runbook_name(incident)[:63],
        STEP_LABEL: run.record[:63],
    }


def _runbook_name(incident: Incident) -> str:
    return incident.spec.runbook_ref.name if incident.spec.runbook_ref is not None else ""


def _unclear(effect: Effect, message: str, reason: str) -> Outcome:
    if effect is Effect.READ:
        return Failed(reason, message)
    return Pending(5.0, message) if effect.replayable else Undetermined(message)


def _clean(redactor: Redactor, outcome: Outcome) -> Outcome:
    match outcome:
        case Succeeded(result, summary, captured):
            return Succeeded(_shaped(redactor, result), redactor.clean(summary), captured)
        case Failed():
            return replace(outcome, message=redactor.clean(outcome.message), result=_shaped(redactor, outcome.result))
        case Pending():
            return replace(outcome, summary=redactor.clean(outcome.summary))
        case Undetermined(message):
            return Undetermined(redactor.clean(message))


def _shaped(redactor: Redactor, result: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the result masked, and such that whatever reads it can take it: what is done is done, whatever it brought."""
    try:
        shaped: Mapping[str, Json] = sanitize.result(redactor.clean_json(result))
    except Exception as error:  # noqa: BLE001 # the same boundary
        _log.exception("Result cannot be kept")
        return {"note": f"the result cannot be kept: {type(error).__name__}; see the operator's log"}
    return shaped
