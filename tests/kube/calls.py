"""Calls of actions as the engine makes them, with a step key for each step and attempt."""

from datetime import UTC, datetime

from incident_operator.actions.protocol import Call, UndoOf
from incident_operator.api.runbook import Stage
from incident_operator.core.machine import keys

NOW = datetime(2025, 10, 21, 0, 1, tzinfo=UTC)
INCIDENT_UID = "11111111-1111-4111-8111-111111111111"
ACCOUNT = "rb-test"


def call(spec, *, namespace="prod", step="act", attempt=1, timeout=60.0, undo_of=None):
    return Call(
        namespace=namespace,
        incident="pricing-5f2c1-1",
        incident_uid=INCIDENT_UID,
        runbook="pricing",
        service_account=ACCOUNT,
        stage=Stage.REMEDIATE,
        step=step,
        attempt=attempt,
        key=keys.step_key(INCIDENT_UID, Stage.REMEDIATE, step, attempt),
        action=type(spec).__name__.lower(),
        spec=spec,
        timeout=timeout,
        started_at=NOW,
        undo_of=undo_of,
        labels={"app.kubernetes.io/managed-by": "incident-operator", "incidents.dev/step": step},
    )


def undo(done, outcome, *, spec=None):
    """The call that takes back what an earlier call did."""
    return call(
        spec or done.spec,
        namespace=done.namespace,
        step=f"undo-{done.step}",
        undo_of=UndoOf(done.key, dict(outcome.captured)),
    )
