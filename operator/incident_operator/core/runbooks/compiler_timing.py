"""Checks of time: polls that can end, attempts that make sense, durations that are some time."""

from collections.abc import Iterator

from incident_operator.api.meta import seconds
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedStep


def polls_can_end(draft: Draft) -> Iterator[Problem]:
    """Require that a poll repeats a read until its `expect` holds."""
    for placed in draft.steps:
        yield from _poll_problems(placed)


def durations_are_some_time(draft: Draft) -> Iterator[Problem]:
    """Require that nothing takes, lasts or waits no time at all."""
    for path, duration in _durations(draft):
        if duration is not None and seconds(duration) <= 0:
            yield Problem(path, f"{duration} is not longer than 0s; write for example 30s")


def _poll_problems(placed: PlacedStep) -> Iterator[Problem]:
    until = placed.step.until
    if until is None:
        return
    path = f"{placed.path}.until"
    if placed.step.expect is None:
        yield Problem(path, "polls until expect is true, but the step has no expect")
    if not placed.is_read:
        yield Problem(path, f"would repeat an act ({placed.effect.value}); only a read can be polled")
    if placed.step.retry is not None:
        yield Problem(f"{placed.path}.retry", "a polled step is tried again anyway; leave out retry or until")
    if seconds(until.every) > seconds(until.for_):
        yield Problem(f"{path}.every", f"{until.every} is longer than for ({until.for_}), so it would look only once")


def _durations(draft: Draft) -> Iterator[tuple[str, str | None]]:
    spec = draft.spec
    yield "spec.resolveTimeout", spec.resolve_timeout
    for name in ("acknowledge", "mitigate", "resolve"):
        yield f"spec.objectives.{name}", getattr(spec.objectives, name)
    for placed in draft.steps:
        yield from _durations_of_step(placed)


def _durations_of_step(placed: PlacedStep) -> Iterator[tuple[str, str | None]]:
    step, path = placed.step, placed.path
    yield f"{path}.timeout", step.timeout
    if step.until is not None:
        yield f"{path}.until.every", step.until.every
        yield f"{path}.until.for", step.until.for_
    if step.approval is not None:
        yield f"{path}.approval.expiresAfter", step.approval.expires_after
