"""How long and how often: a step's time and attempts, with their defaults, and what its `retry` can cover at all."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from incident_operator.api.meta import delta
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiled import CompiledStep

COVERS: Mapping[Effect, str] = {
    Effect.READ: 'no answer, a broken connection, a time-out, an object that does not exist, and an answer that says "not now" '
    "(408, 425, 429, 502, 503, 504), even where it makes `expect` false; for any other false `expect` use `until`",
    Effect.SQL_TX: "a statement that took too long. After a lost connection, a lock, a deadlock, or on a standby, the operator "
    "tries again even without `retry`",
    Effect.K8S_PATCH: "an object that does not exist. After a conflict, or while the apiserver refuses, the operator tries again "
    "even without `retry`",
    Effect.K8S_CREATE: "a workload that does not exist; never a Job that ran and failed",
    Effect.KEYED_CALL: "nothing more: the operator sends it again under its key even without `retry`",
    Effect.UNKEYED: "only what was never sent, such as without a connection; what was sent is never sent again",
}
"""Effect → which failures of a step are tried again."""
_LITTLE: Mapping[Effect, str] = {
    Effect.UNKEYED: "covers only what was never sent: what was sent is never sent again, whatever the answer is",
    Effect.K8S_CREATE: "covers only a workload that does not exist: a Job that ran and failed is not run again",
    Effect.KEYED_CALL: "covers nothing more: a call with a key is sent again under its key even without retry",
}
"""Effect → what is told of a `retry` that its author may have meant otherwise."""


def retry_warnings(step: CompiledStep) -> Iterator[Problem]:
    """Yield what a step's `retry` does not do, where that is most of what it looks like."""
    retry = step.step.retry
    if retry is None:
        return
    if retry.attempts == 1:
        yield Problem(
            f"{step.path}.retry.attempts", "1 is the first attempt, so nothing is tried again; write 2 or more"
        )
    elif (told := _LITTLE.get(step.act.effect)) is not None:
        yield Problem(f"{step.path}.retry", told)


GRACE = timedelta(minutes=1)
"""How long an effect may stay unclear beyond its timeout before a person is asked."""
HANDED_OVER = timedelta(seconds=5)
"""How long an act of another process may last beyond its timeout, after that process has stopped leading."""
ALL_OUTPUTS = 48 * 1024
"""Bytes that the outputs of all steps may take together in the status."""
APPROVAL_EXPIRES = timedelta(minutes=30)


def timeout(step: CompiledStep, action: str | None = None) -> timedelta:
    """Return how long one attempt may take.

    An undo and a probe have what the step says, but no more than an action of theirs may take, and without it their own action's default.
    """
    others = [part.act for part in (step.undo, step.probe) if part is not None]
    act = next((each for each in (step.act, *others) if each.key == action), step.act)
    if step.step.timeout is None:
        return act.action.timeout
    asked = delta(step.step.timeout)
    return asked if act is step.act else min(asked, act.action.longest)


def attempts(step: CompiledStep) -> int:
    """Return how often a step may be begun without a person asking for it."""
    return step.step.retry.attempts if step.step.retry is not None else 1


def backoff(step: CompiledStep) -> timedelta:
    """Return the pause before the next attempt."""
    return delta(step.step.retry.backoff) if step.step.retry is not None else timedelta()


def longest(step: CompiledStep) -> timedelta:
    """Return how long a step can take with all its attempts."""
    return (timeout(step) + backoff(step)) * attempts(step)


def approval_expires(step: CompiledStep) -> timedelta:
    """Return how long a question about this step stays open."""
    return delta(step.step.approval.expires_after) if step.step.approval is not None else APPROVAL_EXPIRES
