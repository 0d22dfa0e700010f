"""Evaluates heavy expressions in a helper process, so that what they take is not taken of the operator.

One at a time, in turns (`kubernetes/priority.py`), so whatever ends the helper was the only thing in it. Memory and processor time
decide, never how long it takes: a slow node is not the Runbook's fault. An expression under way when the helper ends is evaluated once
more in a new one, at its next turn; the second time it is to blame, and is told so at once for a while.
"""

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from incident_operator.clients import helper_process
from incident_operator.clients.helper_process import Cause, Counts, FrameError, Helper
from incident_operator.core.expressions.cel import Evaluator, NoAnswer, Program
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.outcomes import HelperError, Json
from incident_operator.kubernetes.fair_shares import FLOW, OWN, FairLock, Flow

_TRIES = 2
"""How often the helper may end over an expression, and how often it may hang without using the processor."""
_LOOK_EVERY_MS = 100
_SLACK_SECONDS = 1.0
"""Processor time beyond the budget after which the helper is ended from here: its own clock should have done it."""
_VERDICTS = 1024
_MIB = 1024 * 1024
_PART = "expressions"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Budget:
    """What one evaluation may take."""

    memory: int = 256 * _MIB
    """Bytes beyond what the helper has when it starts."""
    seconds: float = 2.0
    """Of the processor."""
    stalled: float = 30.0
    """Seconds without any use of the processor after which a helper counts as hung."""
    blamed: float = 600.0
    """Seconds for which an expression that was over the budget is not evaluated again, in its namespace."""


class _Ended(Exception):
    """The helper ended, or was ended, in the middle of an evaluation."""

    def __init__(self, why: str, cause: Cause) -> None:
        super().__init__(why)
        self.why = why
        """Completes "it takes …"; empty where the expression is not to blame."""
        self.cause = cause


class Evaluations:
    """Evaluates in a helper, which is started when it is first needed. For threads: every call blocks until it is answered."""

    def __init__(
        self,
        budget: Budget | None = None,
        start: Callable[[str], Helper] = helper_process.start,
        counts: Counts | None = None,
    ) -> None:
        self._budget = budget or Budget()
        self._start = start
        self._counts = counts or Counts()
        self._turns = FairLock()
        self._helper: Helper | None = None
        self._closed = threading.Event()
        self._verdicts: LRUCache[tuple[str, str], tuple[float, NoAnswer]] = LRUCache(_VERDICTS)
        """(namespace, expression) → until when it is not evaluated again, and why."""

    def of(self, namespace: str, *, must_answer: bool = False) -> Evaluator:
        """Return what evaluates for a namespace, as severe as what the task does that asks for it.

        It raises `HelperError`; with `must_answer` that counts as no answer instead.
        """
        flow = Flow(namespace, FLOW.get().level)

        def evaluate(program: Program, variables: Mapping[str, Json], now: datetime) -> Json | NoAnswer:
            try:
                return self._evaluated(flow, program, variables, now)
            except HelperError as error:
                if must_answer:
                    return NoAnswer(error.message)
                raise

        return evaluate

    def close(self) -> None:
        """End the helper; evaluations under way raise `HelperError`, and so do all later ones."""
        self._closed.set()
        helper = self._helper
        if helper is not None:
            helper.process.kill()
        with self._turns.held(OWN):
            self._drop()

    def _evaluated(self, flow: Flow, program: Program, variables: Mapping[str, Json], now: datetime) -> Json | NoAnswer:
        asked = {"source": program.source, "scope": program.scope.name, "variables": variables, "now": now.isoformat()}
        try:
            request = helper_process.encode(asked)
        except FrameError as error:
            return NoAnswer(f"the data {error}")
        ends: Counter[bool] = Counter()
        while ends[False] < _TRIES:
            with self._turns.held(flow):
                known = self._verdict(flow.namespace, program.source)
                if known is not None:
                    return known
                try:
                    return _answer(self._ask(request))
                except _Ended as ended:
                    self._drop()
                    self._died(ended.cause)
                    why = ended.why
                    _log.warning(
                        "A helper ended", namespace=flow.namespace, expression=program.source, why=why or "it hung"
                    )
            ends[bool(why)] += 1
            if ends[True] == _TRIES:
                return self._blamed(flow, program.source, why)
        raise HelperError("the helper process for expressions does not answer")

    def _verdict(self, namespace: str, source: str) -> NoAnswer | None:
        until, why = self._verdicts.get((namespace, source)) or (0.0, None)
        return why if time.monotonic() < until else None

    def _blamed(self, flow: Flow, source: str, why: str) -> NoAnswer:
        told = NoAnswer(
            f"it took {why}, twice; it is not tried again for {self._budget.blamed / 60:g}m", over_budget=True
        )
        with self._turns.held(flow):
            self._verdicts.put((flow.namespace, source), (time.monotonic() + self._budget.blamed, told))
        return told

    def _ask(self, request: bytes) -> dict[str, Any]:
        """Return the helper's answer. Raises `_Ended`, and `HelperError` where there is no helper to be had."""
        if self._closed.is_set():
            raise HelperError("the operator is about to end")
        helper = self._running()
        try:
            return helper_process.decode(_Exchange(helper, self._budget).of(request))
        except (OSError, EOFError, ValueError, RecursionError):
            raise self._ended(helper) from None

    def _running(self) -> Helper:
        if self._helper is not None and self._helper.ended is None:
            return self._helper
        if self._helper is not None and self._helper.ended is not None:
            self._died(helper_process.cause_of(self._helper.ended))
        self._drop()
        self._helper = self._start(_PART)
        self._counts.started(_PART)
        hello = helper_process.encode({"memory": self._budget.memory, "seconds": self._budget.seconds})
        try:
            _Exchange(self._helper, self._budget).of(hello)
        except (OSError, EOFError, ValueError, _Ended):
            status = self._helper.kill()
            self._drop()
            self._died(helper_process.cause_of(status))
            raise HelperError(f"the helper process for expressions did not start (status {status})") from None
        return self._helper

    def _ended(self, helper: Helper) -> _Ended:
        """Tell why a helper ended in the middle of an evaluation."""
        status = helper.kill()
        match cause := helper_process.cause_of(status):
            case Cause.CPU:
                return _over_time(self._budget)
            case Cause.MEMORY:
                return _Ended(f"more than {self._budget.memory // _MIB} MiB of memory", cause)
            case Cause.OTHER:
                return _Ended(f"its helper process with it (status {status})", cause)

    def _died(self, cause: Cause) -> None:
        if not self._closed.is_set():  # else we ended it
            self._counts.died(_PART, cause)

    def _drop(self) -> None:
        if self._helper is not None:
            self._helper.close()
        self._helper = None


class _Exchange:
    """One request to a helper and its answer, while its processor time is watched."""

    def __init__(self, helper: Helper, budget: Budget) -> None:
        self._helper = helper
        self._budget = budget
        self._began_with = self._used = helper.cpu_seconds()
        self._moved_at = time.monotonic()

    def of(self, request: bytes) -> bytes:
        """Return the answer. Raises `_Ended` where it was ended from here, `OSError`, `EOFError` or `ValueError` where it did."""
        line = self._helper.line
        line.setblocking(False)
        left = memoryview(request)
        while left:
            self._wait_for(line, select.POLLOUT)
            left = left[line.send(left) :]
        return self._exactly(line, helper_process.length(self._exactly(line, helper_process.LENGTH.size)))

    def _exactly(self, line: socket.socket, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._wait_for(line, select.POLLIN)
            part = line.recv(size - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    def _wait_for(self, line: socket.socket, event: int) -> None:
        poller = select.poll()
        poller.register(line, event)
        while not poller.poll(_LOOK_EVERY_MS):
            self._watch()

    def _watch(self) -> None:
        used, now = self._helper.cpu_seconds(), time.monotonic()
        if used != self._used:
            self._used, self._moved_at = used, now
        if now - self._moved_at > self._budget.stalled:
            self._helper.kill()
            raise _Ended("", Cause.OTHER)
        spent = (used or 0.0) - (self._began_with or 0.0)
        if spent > self._budget.seconds + _SLACK_SECONDS:
            self._helper.kill()
            raise _over_time(self._budget)


def _over_time(budget: Budget) -> _Ended:
    return _Ended(f"more than {budget.seconds:g}s of processor time", Cause.CPU)


def _answer(reply: Mapping[str, Any]) -> Json | NoAnswer:
    return reply["value"] if "value" in reply else NoAnswer(reply["why"], reply["missing"])
