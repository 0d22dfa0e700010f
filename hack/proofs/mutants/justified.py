"""Mutants that change nothing anybody could see, each with the reason."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "incident_operator.core.machine.outcome",
        "to_be_kept",
        "not masks",
        "False",
    ): "where there is no credential nothing is found and nothing is masked; asking first is only cheaper",
    (
        "incident_operator.engine.executor",
        "Executor._note_abort",
        "progress.is_overtaken_by(fresh.stored)",
        "False",
    ): "what is read is what is gone on with, so the abort is recorded upon it, as the process that leads would; asking leaves it to that one",
    (
        "incident_operator.core.machine.answers",
        "_can_be_looked_up",
        "Effect(record.effect).is_known and record.seen is not None and (record.reason == reasons.TIMED_OUT)",
        "record.seen is not None and record.reason == reasons.TIMED_OUT",
    ): "an unkeyed act is never followed, so time is never what keeps it from being told",
    (
        "incident_operator.core.machine.undoing",
        "is_outlived",
        "used is None or used.expires_at is None or now >= used.expires_at",
        "used.expires_at is None or now >= used.expires_at",
    ): "whoever asks has found an approval in use",
    (
        "incident_operator.kubernetes.priority",
        "Priority.yield_to_urgent",
        "urgent or not self.is_held",
        "urgent",
    ): "where nobody holds it, the loop ends before its first turn; asking first is only cheaper",
    (
        "incident_operator.engine.expiry",
        "Expiry._has_expired",
        "ended is not None and self.clock() - ended >= self.ttl",
        "self.clock() - ended >= self.ttl",
    ): "the apiserver says of everything when it was created",
    (
        "incident_operator.engine.leader_election",
        "LeaderElector.may_act",
        "not self._released and self._leads_since is not None and (self._steady() < self._acting_until)",
        "self._leads_since is not None and self._steady() < self._acting_until",
    ): "releasing ends the term at once, and none begins after it",
    (
        "incident_operator.engine.leader_election",
        "LeaderElector.may_act",
        "not self._released and self._leads_since is not None and (self._steady() < self._acting_until)",
        "not self._released and self._steady() < self._acting_until",
    ): "without a term, the moment until which may be acted is over or was never set",
    (
        "incident_operator.engine.metrics",
        "IncidentCounts.note",
        "runbook is not None and self._is_newest(runbook, key.name, status)",
        "self._is_newest(runbook, key.name, status)",
    ): "one without a Runbook is shown nowhere, whatever is remembered of it",
    (
        "incident_operator.receiver.json_text",
        "read",
        "_elements(body) > ELEMENTS and _elements(_STRING.sub(b'', body)) > ELEMENTS",
        "_elements(_STRING.sub(b'', body)) > ELEMENTS",
    ): "a body without its texts holds no more than with them; counting the whole first is only cheaper",
    (
        "incident_operator.receiver.intake",
        "Intake._do",
        "delivery.group is not None",
        "True",
    ): "a delivery without a group holds resolved alerts only, for which no plan opens an Incident",
    (
        "incident_operator.engine.work_queue",
        "_ends",
        "task is not None and task.cancelling() > 0",
        "task.cancelling() > 0",
    ): "a reconciliation always runs in a worker's task, so there is one",
    (
        "incident_operator.receiver.server",
        "_secured",
        "settings.tls_certificate is None or settings.tls_key is None",
        "settings.tls_certificate is None",
    ): "the settings hold both files or none",
    (
        "incident_operator.receiver.server",
        "_secured",
        "settings.tls_certificate is None or settings.tls_key is None",
        "settings.tls_key is None",
    ): "the settings hold both files or none",
}
"""By module, function, guard and what it became."""
