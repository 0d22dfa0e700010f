"""What a Runbook may do and hardly means: told in its `Ready` condition and by `check`.

A warning stops nothing. Those that say so become problems with the next release, and the Runbook `Invalid`.
"""

from collections.abc import Iterator
from datetime import timedelta

from incident_operator.api.meta import delta
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import retries
from incident_operator.core.runbooks.compiled import Compiled, CompiledStep

MOST = 50
"""Warnings that are told of one Runbook."""
LONGEST_WAIT = timedelta(days=7)
"""Of a step with all its looks or attempts: whoever it is for has changed what it was about."""
_NEXT = "the next release refuses that"


def of(compiled: Compiled) -> tuple[Problem, ...]:
    """Return what is worth a look, or to be changed before the next release, in the order of the steps, at most 50."""
    return tuple(warning for step in compiled.steps.values() for warning in _of_step(step))[:MOST]


def _of_step(step: CompiledStep) -> Iterator[Problem]:
    longest, timeout = step.act.action.longest, _timeout(step)
    if timeout > longest:
        told = f"one attempt of {step.act.key} takes {_written(longest)} at most"
        yield Problem(f"{step.path}.timeout", f"{told}, and this one {step.step.timeout}; {_NEXT}")
    elif (retry := step.step.retry) is not None and (timeout + delta(retry.backoff)) * retry.attempts > LONGEST_WAIT:
        told = f"with all attempts the step may take more than {_written(LONGEST_WAIT)}"
        yield Problem(f"{step.path}.retry", f"{told}; {_NEXT}")
    else:
        yield from retries.warned(step)
    until = step.step.until
    if until is not None and delta(until.for_) > LONGEST_WAIT:
        told = f"a step waits {_written(LONGEST_WAIT)} at most, and this one {until.for_}"
        yield Problem(f"{step.path}.until.for", f"{told}; {_NEXT}")


def _timeout(step: CompiledStep) -> timedelta:
    return delta(step.step.timeout) if step.step.timeout is not None else step.act.action.timeout


def _written(duration: timedelta) -> str:
    hours = duration // timedelta(hours=1)
    return f"{hours}h" if hours < 48 else f"{hours}h ({hours // 24} days)"
