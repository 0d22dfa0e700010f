"""Asks a person: renders the plan, binds it to a hash, and compares it again before it is carried out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.api import annotations
from incident_operator.api.approvals import ApprovalState, PendingApproval, PlanEntry
from incident_operator.api.incident import Incident, IncidentStatus, StepState
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, plan, reasons, sanitize
from incident_operator.core.expressions import render
from incident_operator.core.machine import limits, status
from incident_operator.core.machine.decisions import Begin, Run
from incident_operator.core.machine.retrying import retry_question
from incident_operator.core.machine.view import Pinned, View
from incident_operator.engine.calls import Calls

_SHOWN_HASH = 12


class Trust(Protocol):
    """Says whether approvals can be trusted right now."""

    async def problem(self, incident: Incident | None = None, plan_hash: str = "") -> str:
        """Return why not, for people; empty where they can."""
        ...


@dataclass(frozen=True, slots=True)
class Approvals:
    """Asks for approvals, and checks that what was approved still holds."""

    calls: Calls
    policies: Trust
    nonce: Callable[[], str]

    async def ask(self, view: View, runs: tuple[Run, ...], editor: str) -> IncidentStatus:
        """Return the status with a pending plan of as many of these steps as can be rendered now, or a stop."""
        missing = await self.policies.problem()
        if missing:
            return _cannot_ask(view, runs[0], reasons.APPROVAL_POLICY_MISSING, missing)
        entries, problem = await self._render_all(view, runs)
        if not entries:
            return _cannot_ask(
                view, runs[0], reasons.PLAN_FAILED, f"The plan for {runs[0].step} cannot be rendered: {problem}"
            )
        return self._pending(view, entries, editor)

    async def changed(self, view: View, begin: Begin, call: Call) -> IncidentStatus | None:
        """Return None where an approved step may be carried out, else the status that says why not."""
        if begin.approved is None:
            return None
        used = approval.active(view.status)
        missing = await self.policies.problem(view.incident, used.plan_hash if used else "")
        if missing:
            return _cannot_ask(view, begin.run, reasons.APPROVAL_POLICY_MISSING, missing)
        try:
            preview = await self.calls.preview(call)
        except PreviewError as error:
            return approval.end_active(view.status, ApprovalState.VOIDED, f"{begin.run.step}: {error}")
        rendered = _entry(view, begin.run, call, preview)
        differs = plan.difference(begin.approved, rendered, trial_binds=begin.trial_binds)
        return approval.end_active(view.status, ApprovalState.VOIDED, differs) if differs else None

    async def _render_all(self, view: View, runs: tuple[Run, ...]) -> tuple[list[PlanEntry], str]:
        entries: list[PlanEntry] = []
        for run in runs:
            call = self.calls.call(view, run)
            if isinstance(call, render.RenderError):
                return entries, f"{call.field}: {call.message}"
            try:
                preview = await self.calls.preview(call)
            except PreviewError as error:
                return entries, str(error)
            entries.append(_entry(view, run, call, preview))
            if plan.size(entries) > plan.MAX_PLAN_BYTES:
                return entries[:-1], f"it takes more than {plan.MAX_PLAN_BYTES} bytes, more than a person can read"
        return entries, ""

    def _pending(self, view: View, entries: list[PlanEntry], editor: str) -> IncidentStatus:
        names = [entry.step for entry in entries]
        meta, nonce = view.incident.metadata, self.nonce()
        expires = view.now.replace(microsecond=0) + limits.approval_expires(view.compiled.steps[names[0]])
        hashed = plan.plan_hash(entries, _binding(view, expires, nonce))
        token = hashed[:_SHOWN_HASH]
        excluded, because = _excluded(view, editor)
        pending = PendingApproval(
            plan_hash=hashed,
            expires_at=expires,
            nonce=nonce,
            asked=approval.times_expired(view.status, names[0]) + 1,
            steps=names,
            plan=entries,
            excluded=excluded,
            excluded_because=because,
            changed=approval.voided_because(view.status, names[0])[:4096],
            approve_with=approval.command(meta.namespace, meta.name, annotations.Verb.APPROVE, token),
            reject_with=approval.command(meta.namespace, meta.name, annotations.Verb.REJECT, token),
        )
        asked = status.mark(view.status, names, StepState.AWAITING_APPROVAL)
        return asked.model_copy(update={"pending_approval": pending})


def _binding(view: View, expires: datetime, nonce: str) -> plan.Binding:
    revision = view.runbook.revision if isinstance(view.runbook, Pinned) else ""
    return plan.Binding(view.incident.metadata.uid, revision, view.status.parameters, expires, nonce)


def _entry(view: View, run: Run, call: Call, preview: Preview) -> PlanEntry:
    step = view.compiled.steps[run.step]
    common = {"action": call.action, "timeout": f"{call.timeout:.0f}s", "attempts": limits.attempts(step)}
    return PlanEntry(
        step=run.step,
        attempt=run.attempt,
        do=plan.shown(preview.do),
        details=sanitize.canonical({**common, "actsAs": call.service_account, **preview.details}),
        in_trial=None if preview.in_trial is None else sanitize.text(preview.in_trial, 512),
    )


def _excluded(view: View, editor: str) -> tuple[list[str], str]:
    opener = view.incident.metadata.annotations.get(annotations.OPENED_BY, "")
    why = {editor: "last edited the runbook", opener: "opened this incident"}
    why.pop("", None)
    return sorted(why), sanitize.text("; ".join(f"{who} {did}" for who, did in sorted(why.items())), 512)


def _cannot_ask(view: View, run: Run, reason: str, message: str) -> IncidentStatus:
    question = retry_question(view, view.status, run.record)
    stage_reason = reasons.RESTORE_FAILED if run.stage is Stage.RESTORE else reason
    return status.halt(view.status, stage_reason, message, question, remedy=f"Retry: {question.answer_with[0]}")
