"""Heavy expressions in their helper process: what they may take, who is to blame when it ends, and who is not."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from incident_operator.api.meta import Severity
from incident_operator.clients.evaluations import Budget, Evaluations
from incident_operator.clients.helper_process import Helper
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import NoAnswer, Program, Scope
from incident_operator.core.outcomes import HelperError
from incident_operator.kubernetes.fair_shares import FLOW, OWN, Flow
from incident_operator.kubernetes.priority import Priority
from tests.core.runbooks.runbook_texts import NOW
from tests.helper.meddling import Counted, Peak, Starting, is_gone

MIB = 1024 * 1024
BUDGET = Budget(memory=64 * MIB, seconds=0.3)
MEMORY_BOMB = "'aaaaaaaaaa'" + ".replace('a', 'aaaaaaaaaa')" * 8 + ".size() > 0"
CPU_BOMB = "result.rows.exists(r, result.rows == result.other)"
QUICK = "'a-b'.replace('-', params.x)"
LONG = {"rows": list(range(9000)), "other": [*range(8999), -1]}
GONE_SECONDS = 30.0


@pytest.fixture
def starting() -> Starting:
    return Starting()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def evaluations(starting: Starting, counted: Counted) -> Iterator[Evaluations]:
    with closing(Evaluations(BUDGET, starting, counted)) as made:
        yield made


def program(source: str) -> Program:
    made = cel.compile_value(source, Scope.RESULT)
    assert isinstance(made, Program), made
    return made


def evaluated(evaluations: Evaluations, source: str, namespace: str = "eve", **variables: Any) -> Any:
    given = {"params": {"x": "+"}, "result": LONG} | variables
    return evaluations.of(namespace)(program(source), given, NOW)


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + GONE_SECONDS
    while not condition():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("[result.a, result.b].map(x, x)", {"a": 1.5, "b": [None, True, {"c": "é\ud800\0"}]}),
        ("[now(), duration('90s'), b'ab', 2u]", {}),
        ("result.a + 1", {"a": 2**63 - 2}),
        ("result.a", {"a": 2**70}),
        ("result.a", {"a": float("inf")}),
        ("result.a == result.a", {"a": float("nan")}),
        ("result.missing", {}),
        ("result.a / 0", {"a": 1}),
        ("result.a", {"a": [[[[[[[[[[[[[]]]]]]]]]]]]]}),
        ("result.a", {"a": object()}),
        ("result.a", {"a": (1, 2)}),
    ],
)
def test_what_is_evaluated_there_is_what_would_be_here(evaluations, source, result):
    here = cel.evaluate_here(program(source), {"result": result}, NOW)
    there = evaluations.of("eve")(program(source), {"result": result}, NOW)
    if isinstance(here, NoAnswer):
        assert there == here
    else:
        assert (there, type(there)) == (here, type(here))


def test_an_expression_that_takes_too_much_memory_takes_none_of_the_operators(evaluations):
    evaluated(evaluations, QUICK)
    peak = Peak()
    found = evaluated(evaluations, MEMORY_BOMB)
    assert isinstance(found, NoAnswer)
    assert found.over_budget
    assert found.why.startswith("it took more than 64 MiB of memory, twice")
    assert peak.grown < 32 * MIB


def test_an_expression_that_takes_too_much_of_the_processor_is_ended(evaluations):
    found = evaluated(evaluations, CPU_BOMB)
    assert isinstance(found, NoAnswer)
    assert found.over_budget
    assert found.why.startswith("it took more than 0.3s of processor time, twice")


def test_a_helper_that_is_halted_for_longer_than_the_budget_is_waited_for(evaluations, starting):
    evaluated(evaluations, QUICK)
    (helper,) = starting.started
    looks = 0

    class Watched(Helper):
        def cpu_seconds(self) -> float | None:
            nonlocal looks
            looks += 1
            if looks == 8:  # it is looked at ten times a second, and the budget is shorter
                os.kill(self.process.pid, signal.SIGCONT)
            return super().cpu_seconds()

    evaluations._helper = Watched(helper.process, helper.line)
    os.kill(helper.process.pid, signal.SIGSTOP)
    assert evaluated(evaluations, QUICK) == "a+b"
    assert looks >= 8
    assert len(starting.started) == 1


def test_a_helper_that_hangs_without_using_the_processor_is_replaced_and_nobody_is_blamed(starting):
    with closing(Evaluations(replace(BUDGET, stalled=0.3), starting)) as evaluations:
        evaluated(evaluations, QUICK)
        os.kill(starting.started[0].process.pid, signal.SIGSTOP)
        assert evaluated(evaluations, QUICK) == "a+b"
        assert len(starting.started) == 2


def test_where_helpers_hang_again_the_evaluation_may_be_tried_later(starting):
    with closing(Evaluations(replace(BUDGET, stalled=0.3), starting)) as evaluations:
        evaluations._verdict = lambda *_: (
            evaluations._running()
            and os.kill(  # type: ignore[method-assign]
                starting.started[-1].process.pid, signal.SIGSTOP
            )
        )
        with pytest.raises(HelperError) as raised:
            evaluated(evaluations, QUICK)
        assert raised.value.retryable
        found = evaluations.of("eve", must_answer=True)(program(QUICK), {"params": {"x": ""}}, NOW)
        assert found == NoAnswer("the helper process for expressions does not answer")
        del evaluations._verdict
        assert evaluated(evaluations, QUICK) == "a+b"


def asked_in_this_order(evaluations: Evaluations, *asks: tuple[Flow, str]) -> list[str]:
    """What was answered, in the order of the answers, where all wait before the first has its turn."""
    order: list[str] = []

    def ask(flow: Flow, source: str) -> None:
        FLOW.set(flow)
        order.append(f"{flow.namespace}: {evaluated(evaluations, source, flow.namespace)}")

    threads = [threading.Thread(target=ask, args=each) for each in asks]
    with evaluations._turns.held(OWN):
        for at, thread in enumerate(threads):
            thread.start()
            until(lambda at=at: evaluations._turns.waiting == at + 1)
    for thread in threads:
        thread.join()
    return order


def test_the_severest_is_evaluated_first_but_no_more_than_its_namespace_may_be(evaluations):
    priority = Priority({"eve": Severity.P3})
    asked = [("eve", "P0"), ("eve", "P0"), ("shop", "P3"), ("prod", "P2"), ("prod", "P1"), ("eve", "P0")]
    order = asked_in_this_order(evaluations, *((priority.flow(*each), QUICK) for each in asked))
    assert [each.split(":")[0] for each in order] == ["prod", "prod", "eve", "shop", "eve", "eve"]


def test_two_ends_blame_the_expression_and_those_who_wait_get_their_answers_in_between(evaluations, starting):
    evaluated(evaluations, QUICK)
    asks = [("eve", CPU_BOMB), ("prod", QUICK), ("shop", QUICK)]
    order = asked_in_this_order(evaluations, *((Flow(name, 2), source) for name, source in asks))
    assert order[:2] == ["prod: a+b", "shop: a+b"]
    assert "processor time" in order[2]
    assert len(starting.started) == 2


def test_who_was_blamed_is_told_at_once_and_another_namespace_is_not(evaluations, starting):
    first = evaluated(evaluations, MEMORY_BOMB)
    ended = len(starting.started)
    assert evaluated(evaluations, MEMORY_BOMB) == first
    assert len(starting.started) == ended
    assert isinstance(evaluated(evaluations, MEMORY_BOMB, "prod"), NoAnswer)
    assert len(starting.started) > ended


def test_after_a_while_it_is_tried_again(starting):
    with closing(Evaluations(replace(BUDGET, blamed=0.0), starting)) as evaluations:
        assert evaluated(evaluations, MEMORY_BOMB) == evaluated(evaluations, MEMORY_BOMB)
        assert len(starting.started) == 4


def test_a_helper_that_ended_while_nobody_used_it_is_nobodys_fault(evaluations, starting):
    with capture_logs() as logs:
        for _ in range(3):
            assert evaluated(evaluations, QUICK) == "a+b"
            starting.started[-1].process.kill()
            until(lambda: starting.started[-1].ended is not None)
    assert len(starting.started) == 3
    assert logs == []


@pytest.mark.parametrize(("source", "cause"), [(MEMORY_BOMB, "memory"), (CPU_BOMB, "cpu")])
def test_helpers_that_end_over_their_budget_are_counted_by_its_kind(evaluations, counted, source, cause):
    evaluated(evaluations, source)
    assert counted.starts == ["expressions"] * 2
    assert counted.deaths == [("expressions", cause)] * 2


def test_a_helper_that_somebody_ends_is_counted_and_one_that_the_operator_ends_is_not(evaluations, counted, starting):
    evaluated(evaluations, QUICK)
    starting.started[0].process.kill()
    until(lambda: starting.started[0].ended is not None)
    evaluated(evaluations, QUICK)
    evaluations.close()
    assert counted.starts == ["expressions"] * 2
    assert counted.deaths == [("expressions", "other")]


def test_a_helper_that_hangs_is_counted(starting, counted):
    with closing(Evaluations(replace(BUDGET, stalled=0.3), starting, counted)) as evaluations:
        evaluated(evaluations, QUICK)
        os.kill(starting.started[0].process.pid, signal.SIGSTOP)
        evaluated(evaluations, QUICK)
    assert counted.deaths == [("expressions", "other")]


def test_a_helper_that_does_not_come_up_is_counted(evaluations, counted, starting):
    starting.meddle = lambda helper: helper.process.kill()
    with pytest.raises(HelperError):
        evaluated(evaluations, QUICK)
    assert (counted.starts, counted.deaths) == (["expressions"], [("expressions", "other")])


def test_a_helper_that_cannot_be_started_fails_what_asks_for_it_for_now(evaluations, starting):
    starting.meddle = lambda helper: helper.process.kill()
    with pytest.raises(HelperError, match="did not start"):
        evaluated(evaluations, QUICK)
    starting.meddle = lambda _: None
    assert evaluated(evaluations, QUICK) == "a+b"


def test_an_answer_that_is_too_long_is_none(evaluations):
    found = evaluated(evaluations, "'aaaaaaaaaa'" + ".replace('a', 'aaaaaaaaaa')" * 6)
    assert found == NoAnswer("its result has 10000016 bytes; at most 4194304 are allowed")


def test_nothing_of_the_environment_but_the_usual_reaches_the_helper(monkeypatch, evaluations, starting):
    monkeypatch.setenv("INCIDENT_OPERATOR_TOKEN", "s3cret")
    evaluated(evaluations, QUICK)
    assert b"s3cret" not in Path(f"/proc/{starting.started[0].process.pid}/environ").read_bytes()


def test_data_that_speaks_of_memory_blames_nobody(evaluations, starting):
    found = evaluated(evaluations, "result[params.x].replace('a', 'b')", params={"x": "std::bad_alloc"})
    assert isinstance(found, NoAnswer)
    assert not found.over_budget
    assert len(starting.started) == 1


def test_once_closed_the_helper_is_gone_and_nobody_waits(starting):
    evaluations = Evaluations(replace(BUDGET, seconds=600.0), starting)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            evaluated(evaluations, CPU_BOMB)
        except HelperError as error:
            errors.append(error)

    evaluated(evaluations, QUICK)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: evaluations._turns.waiting == 1)
    evaluations.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert all(helper.ended is not None for helper in starting.started)


def test_the_helper_ends_with_the_operator_however_that_ends():
    source = f"""
import sys, time
from incident_operator.clients.evaluations import Evaluations
from tests.helper.test_evaluations import QUICK, evaluated
evaluations = Evaluations()
evaluated(evaluations, {QUICK!r})
print(evaluations._helper.process.pid, flush=True)
time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, env=environment) as operator:
        assert operator.stdout is not None
        helper = int(operator.stdout.readline())
        assert not is_gone(helper)
        operator.kill()
    until(lambda: is_gone(helper))
