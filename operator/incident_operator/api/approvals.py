"""Questions to people and their answers, as an Incident keeps them: plans, approvals, retries, what was said."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from incident_operator.api.meta import Model, Timestamp


class PlanEntry(Model):
    """One step of a plan, rendered: exactly what will be done."""

    allows: Annotated[list[Annotated[str, Field(max_length=1024)]] | None, Field(max_length=400)] = None
    """To be read first: what it does beyond the ordinary, which the Runbook's step allows, e.g. `hostPath: …`; and who else acts there."""
    step: str
    """The step of the Runbook."""
    attempt: int
    """Which attempt it would be."""
    do: Annotated[str, Field(max_length=32768)]
    """The act in one sentence or statement, e.g. `create Job prod/rebuild-3b9d from deployment/scheduler`."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Command, bound parameters, target uids, limits, timeout, attempts allowed; of a Job the whole Pod template."""
    in_trial: Annotated[str | None, Field(max_length=512)] = None
    """What a rolled-back trial run did, or why nothing was tried; binds for the plan's first step only."""
    in_trial_counted: Annotated[str | None, Field(max_length=512)] = None
    """What the trial counted, where `inTrial` is an upper bound; it may differ when the step is done."""


MAX_EXCLUDED, MAX_NAME = 64, 253
"""People who can be excluded from one question, and characters of a user name."""


class PendingApproval(Model):
    """What waits for a person: the plan, who may not approve it, and the commands to answer with."""

    plan_hash: Annotated[str, Field(max_length=64)]
    """SHA-256 of the plan: an approval is for exactly this."""
    asked_at: Timestamp | None = None
    """Since when this plan waits; absent where an operator from before this field asked."""
    expires_at: Timestamp
    """Until when it can be answered."""
    nonce: Annotated[str, Field(max_length=64)]
    """New for each question, so that no answer counts twice."""
    asked: int = 1
    """How many times this plan's steps have been asked for."""
    steps: Annotated[list[str], Field(max_length=50)]
    """The steps that are asked for."""
    plan: Annotated[list[PlanEntry], Field(max_length=50)]
    """What will be done, step by step."""
    excluded: Annotated[list[Annotated[str, Field(max_length=MAX_NAME)]], Field(max_length=MAX_EXCLUDED)] = Field(
        default_factory=list
    )
    """Users who may not approve it."""
    excluded_because: Annotated[str, Field(max_length=512)] = ""
    """Why they may not."""
    edited_since: Annotated[str, Field(max_length=512)] = ""
    """Set if the Runbook was edited since the Incident began: the plan uses the version from before the edit."""
    changed: Annotated[str, Field(max_length=4096)] = ""
    """Why an earlier approval no longer holds: the difference between then and now."""
    approve_with: Annotated[str, Field(max_length=1024)]
    """The command that approves."""
    reject_with: Annotated[str, Field(max_length=1024)]
    """The command that rejects."""


class ApprovalState(StrEnum):
    """What became of a request for approval."""

    ACTIVE = "Active"
    CONSUMED = "Consumed"
    VOIDED = "Voided"
    REJECTED = "Rejected"
    EXPIRED = "Expired"


class ApprovalRecord(Model):
    """History: who answered which plan, when, and what became of it."""

    plan_hash: Annotated[str, Field(max_length=64)]
    """SHA-256 of the plan."""
    state: ApprovalState
    """What became of it."""
    by: Annotated[str, Field(max_length=253)] = ""
    """Who answered."""
    at: Timestamp
    """When."""
    asked_at: Timestamp | None = None
    """Since when it had waited."""
    steps: Annotated[list[str], Field(max_length=50)] = Field(default_factory=list)
    """The steps that were asked for."""
    plan: Annotated[list[PlanEntry], Field(max_length=50)] = Field(default_factory=list)
    """What was asked for, as it was shown."""
    expires_at: Timestamp | None = None
    """Until when an approval that is active holds."""
    reason: Annotated[str, Field(max_length=1024)] = ""
    """Why, in the person's words or the operator's."""


class AnswerVerb(StrEnum):
    """How a person can help an Incident to continue."""

    RETRY = "retry"
    RESOLVE = "resolve"


class PendingAnswer(Model):
    """A question other than an approval: try the step again, or say whether it happened."""

    token: Annotated[str, Field(max_length=128)]
    """`<step>/<attempt>`: an answer counts once."""
    verbs: Annotated[list[AnswerVerb], Field(max_length=2)]
    """What may be answered."""
    step: Annotated[str, Field(max_length=68)]
    """The step that it is about."""
    answer_with: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=4)] = Field(
        default_factory=list
    )
    """The commands to answer with."""


class Over(Model):
    """Somebody said that the alert is over; it holds until a later alert fires."""

    by: Annotated[str, Field(max_length=253)]
    """Who said it."""
    at: Timestamp
    """When."""
    alerts: Annotated[int, Field(ge=0)]
    """How many of the listed alerts were known then, in the order of `spec.alerts`."""


class Acknowledgement(Model):
    """Somebody is on it."""

    token: Annotated[str, Field(max_length=64)]
    """As it was said, e.g. `30m`."""
    by: Annotated[str, Field(max_length=253)]
    """Who said it."""
    at: Timestamp
    """When."""
    until: Timestamp
    """Until when that counts."""


class HandledAnswer(Model):
    """A person's answer that was acted on."""

    verb: Annotated[str, Field(max_length=16)]
    """What was answered."""
    token: Annotated[str, Field(max_length=128)]
    """The question, `<step>/<attempt>`."""
    by: Annotated[str, Field(max_length=253)]
    """Who answered."""
    at: Timestamp
    """When."""
