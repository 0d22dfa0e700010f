"""Expressions that may take long: waited for off the loop, never a reason to lose what was done, and never the operator's end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from incident_operator.api.incident import Phase
from incident_operator.clients.evaluations import Budget, Evaluations
from incident_operator.core.expressions import cel
from incident_operator.core.expressions.cel import Evaluator, NoAnswer, Program
from incident_operator.core.outcomes import HelperError, Json
from incident_operator.engine.metrics import IncidentCounts
from incident_operator.engine.readiness import Readiness
from incident_operator.engine.runbooks import Revisions
from incident_operator.engine.workers import MachineTurns
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, fake_cluster, runbooks_of
from tests.engine.test_readiness import PACK, Answering, Endpoints
from tests.kubernetes.fake_faults import Fault

BOMB = "'aaaaaaaaaa'" + ".replace('a', 'aaaaaaaaaa')" * 8 + " == ''"
HEAVY = "incident.name.replace('-', '') != ''"
RUNBOOK = """
title: "Pack failed"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"']
mitigate:
- name: serve
  when: "WHEN"
  sqlExecute: {connection: write, statement: "UPDATE p SET f = 1", maxRows: 1}
  undo: {sqlExecute: {connection: write, statement: "UPDATE p SET f = 0", maxRows: 1}}
  expect: "EXPECT"
verify:
- name: works
  http: {connection: api, method: POST, path: /execute, safe: true}
  expect: result.status == 200
"""


def runbook(when: str = "true", expect: str = "true") -> str:
    return RUNBOOK.replace("WHEN", when).replace("EXPECT", expect)


@dataclass
class Fake:
    """Evaluates here, after what a test has to do first."""

    first: Callable[[Program], None] = lambda _: None
    asked: list[str] = field(default_factory=list)

    def of(self, namespace: str, *, must_answer: bool = False) -> Evaluator:
        def evaluate(program: Program, variables: Mapping[str, Json], now: datetime) -> Json | NoAnswer:
            self.asked.append(program.source)
            try:
                self.first(program)
            except HelperError as error:
                if must_answer:
                    return NoAnswer(error.message)
                raise
            return cel.evaluate_here(program, variables, now)

        return evaluate


def machine_threads() -> int:
    return sum(each.name.startswith("machine") for each in threading.enumerate())


def unavailable(_: Program) -> None:
    raise HelperError("the helper does not answer")


@pytest.fixture
async def heavy() -> AsyncIterator[FakeCluster]:
    async with fake_cluster(runbook(HEAVY)) as made:
        yield made


@pytest.fixture
async def bomb() -> AsyncIterator[FakeCluster]:
    async with fake_cluster(runbook(BOMB)) as made:
        yield made


async def test_an_expression_over_its_budget_calls_a_human_and_nothing_is_done(bomb: FakeCluster) -> None:
    with closing(Evaluations(Budget(memory=32 * 1024 * 1024))) as bomb.evaluations:
        await bomb.engine().reconcile(INCIDENT)
    current = bomb.incident().status
    assert (current.phase, current.reason) == (Phase.NEEDS_HUMAN, "ExpressionOverBudget")
    assert "it took more than 32 MiB of memory, twice" in current.message
    assert bomb.targets.done() == []


async def ready_of(fake_cluster: FakeCluster) -> dict[str, str]:
    """The `Ready` condition of the Runbook, once it is checked."""
    revisions, turns = Revisions(fake_cluster.client), MachineTurns(fake_cluster.evaluations)
    around = (
        runbooks_of(fake_cluster.client, revisions),
        revisions,
        Endpoints(fake_cluster.client),
        Answering(),
        IncidentCounts(),
    )
    await Readiness(fake_cluster.client, *around, lambda: datetime(2025, 10, 21, tzinfo=UTC), turns=turns).check(PACK)
    told = fake_cluster.api.object(discovery.runbooks(*PACK))["status"]["conditions"]
    return next(each for each in told if each["type"] == "Ready")


async def test_a_runbook_whose_own_text_is_over_the_budget_is_invalid(bomb: FakeCluster) -> None:
    with closing(Evaluations(Budget(memory=32 * 1024 * 1024))) as bomb.evaluations:
        ready = await ready_of(bomb)
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert ready["message"].startswith("spec.mitigate[0].when: it took more than 32 MiB of memory")


@pytest.mark.parametrize("when", [HEAVY, "'a'.replace('a', 'b') == 'b'", "'x'.split('')[7] == ''"])
async def test_a_runbook_is_ready_whatever_else_its_heavy_expressions_give(when: str) -> None:
    async with fake_cluster(runbook(when)) as other:
        other.evaluations = Fake()
        assert (await ready_of(other))["status"] == "True"
        assert HEAVY not in other.evaluations.asked


async def test_the_loop_goes_on_while_an_expression_is_evaluated(heavy: FakeCluster) -> None:
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def wait_for_the_loop(_: Program) -> None:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(10), "the loop waits for the evaluation"

    heavy.evaluations = Fake(wait_for_the_loop)
    await heavy.engine().reconcile(INCIDENT)
    assert heavy.targets.done() == ["serve"]
    assert heavy.evaluations.asked == [HEAVY]


async def test_a_runbook_of_light_expressions_asks_nobody_and_stays_on_the_loop() -> None:
    async with fake_cluster(runbook("incident.severity == 'P1'")) as light:
        light.evaluations = Fake(unavailable)
        before = machine_threads()
        await light.engine().reconcile(INCIDENT)
        assert light.targets.done() == ["serve"]
        assert machine_threads() == before


async def test_what_cannot_be_decided_just_now_is_decided_later(heavy: FakeCluster) -> None:
    heavy.evaluations = Fake(unavailable)
    engine = heavy.engine()
    with pytest.raises(HelperError):
        await engine.reconcile(INCIDENT)
    assert heavy.targets.done() == []
    assert heavy.incident().status.phase is not Phase.NEEDS_HUMAN
    heavy.evaluations.first = lambda _: None
    await engine.reconcile(INCIDENT)
    assert heavy.targets.done() == ["serve"]


async def test_an_act_is_recorded_although_what_it_brought_cannot_be_judged() -> None:
    async with fake_cluster(runbook(expect=HEAVY)) as acting:
        acting.evaluations = Fake(unavailable)
        await acting.engine().reconcile(INCIDENT)
        current = acting.incident().status
        assert acting.targets.done() == ["serve", "undo-serve"]
        assert current.phase is Phase.NEEDS_HUMAN
        assert "the helper does not answer" in current.message


async def test_what_was_done_is_stored_before_a_decision_is_put_off() -> None:
    text = runbook() + "  when: \"steps.serve.state.replace('a', 'b') == 'Succeeded'\"\n"
    async with fake_cluster(text) as acting:
        acting.evaluations = Fake(unavailable)
        with pytest.raises(HelperError):
            await acting.engine().reconcile(INCIDENT)
        assert acting.state("serve") == "Succeeded"


async def test_what_was_done_is_not_looked_up_because_what_follows_cannot_be_evaluated() -> None:
    async with fake_cluster(runbook() + f'  expect: "{HEAVY}"\n') as acting:
        acting.evaluations = fake = Fake(unavailable)
        engine = acting.engine()
        with pytest.raises(HelperError):
            await engine.reconcile(INCIDENT)
        assert acting.state("serve") == "Succeeded"
        fake.first = lambda _: None
        await engine.reconcile(INCIDENT)
        assert acting.state("works") == "Succeeded"
        assert (acting.targets.done(), acting.targets.looks) == (["serve"], [])


async def test_where_nothing_can_be_stored_either_what_was_done_is_kept_in_mind() -> None:
    async with fake_cluster(runbook() + f'  expect: "{HEAVY}"\n') as acting:

        def cut_off(_: Program) -> None:
            acting.api.inject(Fault.SERVICE_UNAVAILABLE, method="PATCH", path="/status", times=3)
            raise HelperError("the helper does not answer")

        acting.evaluations = fake = Fake(cut_off)
        engine = acting.engine()
        with pytest.raises(HelperError):
            await engine.reconcile(INCIDENT)
        assert acting.state("serve") == "Running"
        fake.first = lambda _: None
        await engine.reconcile(INCIDENT)
        assert acting.state("works") == "Succeeded"
        assert (acting.targets.done(), acting.targets.looks) == (["serve"], [])


async def test_without_an_evaluator_all_is_evaluated_here(heavy: FakeCluster) -> None:
    assert (await ready_of(heavy))["status"] == "True"
    await heavy.engine().reconcile(INCIDENT)
    assert heavy.targets.done() == ["serve"]


async def test_an_incident_without_a_runbook_needs_no_evaluation(heavy: FakeCluster) -> None:
    heavy.evaluations = Fake(unavailable)
    await heavy.client.delete(discovery.runbooks(*PACK))
    await heavy.engine().reconcile(INCIDENT)
    assert heavy.incident().status.reason == "RunbookNotFound"


async def test_a_process_that_ends_in_the_middle_of_an_evaluation_leaves_no_error(heavy: FakeCluster) -> None:
    begun, over = threading.Event(), threading.Event()

    def hang(_: Program) -> None:
        begun.set()
        over.wait(10)

    heavy.evaluations = Fake(hang)
    work = asyncio.create_task(heavy.engine().reconcile(INCIDENT))
    await asyncio.to_thread(begun.wait, 10)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    over.set()
    assert heavy.targets.done() == []


async def test_an_evaluation_of_an_outcome_that_is_cut_off_ends_by_itself() -> None:
    begun, over = threading.Event(), threading.Event()

    def hang(_: Program) -> Any:
        begun.set()
        over.wait(10)

    async with fake_cluster(runbook(expect=HEAVY)) as acting:
        acting.evaluations = Fake(hang)
        work = asyncio.create_task(acting.engine().reconcile(INCIDENT))
        await asyncio.to_thread(begun.wait, 10)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        over.set()
        assert acting.targets.done() == ["serve"]
