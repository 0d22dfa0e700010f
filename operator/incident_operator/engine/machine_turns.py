"""Has the machine think: on the event loop where all it evaluates is light, else in a thread, which may wait for a helper.

Nothing else runs while the loop waits, so no Runbook may make it wait: not for memory, and not for the processor.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from incident_operator.api.incident import IncidentStatus
from incident_operator.core.expressions import expr
from incident_operator.core.expressions.expr import Evaluator, NoAnswer
from incident_operator.core.expressions.expr_weight import Weight
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.machine import machine
from incident_operator.core.machine.carry_out import Request, Steps
from incident_operator.core.machine.decisions import Decision
from incident_operator.core.machine.view import Pinned, View
from incident_operator.core.runbooks.compiled import Compiled, expressions

_THREADS = 32
"""More than there are workers, so that none of them waits for a thread; for the helper, namespaces take turns."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


class Evaluates(Protocol):
    """Evaluates heavy expressions: `clients/evaluations.py`."""

    def of(self, namespace: str, *, must_answer: bool = False) -> Evaluator:
        """Return what evaluates for a namespace; it raises a retryable `Failure`, unless it has to answer."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A decision is carried out; this is the status then."""

    status: IncidentStatus


class MachineTurns:
    """Runs what the core computes. Without an evaluator all is evaluated here, on the loop."""

    def __init__(self, evaluations: Evaluates | None = None) -> None:
        self._evaluations = evaluations
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="machine")

    async def decide(self, view: View) -> Decision:
        """Return what to do next. Raises a retryable `Failure` where it cannot be told just now."""
        return await self._run(view, partial(machine.decide, view))

    async def go_on(self, view: View, steps: Steps, answer: Any, *, must_answer: bool) -> Request | Ended:
        """Send an answer to what carries a decision out, and return what it asks for next.

        Raises the same, unless an act was done meanwhile (`must_answer`): then what cannot be evaluated is unknown.
        """
        return await self._run(view, partial(_sent, steps, answer), must_answer=must_answer)

    async def over_budget(self, namespace: str, compiled: Compiled) -> list[Problem]:
        """Return the expressions that take more than one may whatever they are given. Raises a retryable `Failure`."""
        if self._evaluations is None:
            return []
        evaluator = self._evaluations.of(namespace)
        return await self._in_thread(evaluator, partial(list, _over_budget(compiled)))

    async def _run(self, view: View, work: Callable[[], _T], *, must_answer: bool = False) -> _T:
        runbook = view.runbook
        if not isinstance(runbook, Pinned) or not runbook.compiled.heavy or self._evaluations is None:
            return work()
        evaluator = self._evaluations.of(view.incident.metadata.namespace, must_answer=must_answer)
        return await self._in_thread(evaluator, work)

    async def _in_thread(self, evaluator: Evaluator, work: Callable[[], _T]) -> _T:
        context = contextvars.copy_context()

        def run() -> _T:
            with expr.evaluated_by(evaluator):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, run)


def _over_budget(compiled: Compiled) -> Iterator[Problem]:
    for placed in expressions(compiled):
        if placed.program.weight is Weight.HEAVY and not placed.program.references:
            found = expr.evaluate(placed.program, {}, _ANY_TIME)
            if isinstance(found, NoAnswer) and found.over_budget:
                yield Problem(placed.path, found.why)


def _sent(steps: Steps, answer: Any) -> Request | Ended:
    try:
        return steps.send(answer)
    except StopIteration as ended:
        return Ended(ended.value)


def close(steps: Steps) -> None:
    """End it where it stands. One that a thread is in the middle of ends with that, and what it asks for is not done."""
    with suppress(ValueError):
        steps.close()
