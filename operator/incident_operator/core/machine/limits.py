"""How long and how often: a step's time and attempts, with their defaults."""

from datetime import timedelta

from incident_operator.api.meta import delta
from incident_operator.core.runbooks.compiled import CompiledStep

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
