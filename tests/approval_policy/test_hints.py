"""Answers that do nothing: kubectl says "annotated" all the same, so the apiserver warns, and refuses nothing."""

import subprocess

import pytest

from incident_operator.kubernetes import discovery
from tests.approval_policy.cases import (
    ACKNOWLEDGE,
    APPROVE,
    OLD_PLAN_WAITS,
    OLD_TOKEN,
    PLAN,
    PLAN_WAITS,
    TOKEN,
    WITH_RUNBOOK,
    answers,
)
from tests.approval_policy.people import ALICE, CAROL
from tests.approval_policy.scenario import Scenario
from tests.crds import live

pytestmark = pytest.mark.cluster


def warned(who: str, namespace: str, name: str, answer: str) -> str:
    """Have somebody annotate an Incident, and return what the policy warns them of; others may warn as well."""
    done = subprocess.run(
        [live.program("kubectl"), "--kubeconfig", live.user_kubeconfig(who), "annotate", "--overwrite", "-n", namespace,
         "incident", name, answer],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "annotated" in done.stdout
    return "".join(line for line in done.stderr.splitlines(keepends=True) if "incident-hints" in line)


async def test_who_approves_again_with_the_same_words_is_told_that_another_plan_waits(scenario: Scenario) -> None:
    name = await scenario.incident(OLD_PLAN_WAITS, WITH_RUNBOOK, {})
    said = f"{APPROVE}={OLD_TOKEN} {ALICE}"
    assert warned(ALICE, scenario.namespace, name, said) == ""
    await scenario.report(name, PLAN_WAITS)
    told = warned(ALICE, scenario.namespace, name, said)
    assert (
        f'nothing changed, so the operator does not notice it: {APPROVE}="{OLD_TOKEN} {ALICE}" is already set' in told
    )
    assert f"for another plan; the one that waits is {PLAN[:12]}" in told


async def test_who_is_on_it_already_is_told_how_to_stay_on_it_for_longer(scenario: Scenario) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    assert warned(ALICE, scenario.namespace, name, f"{ACKNOWLEDGE}=30m {ALICE}") == ""
    assert "write another value" in warned(ALICE, scenario.namespace, name, f"{ACKNOWLEDGE}=30m {ALICE}")
    assert warned(ALICE, scenario.namespace, name, f"{ACKNOWLEDGE}=30m/again {ALICE}") == ""


@pytest.mark.parametrize("key", ["approve", "incident.dev/approve", "incidents.io/approve"])
async def test_who_answers_under_another_key_is_told_the_right_one(scenario: Scenario, key: str) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    told = warned(ALICE, scenario.namespace, name, f"{key}={TOKEN} {ALICE}")
    assert f"{key} is not an answer, and nobody reads it; did you mean {APPROVE}?" in told


async def test_nobody_is_warned_of_what_others_said_or_of_what_is_no_answer(scenario: Scenario) -> None:
    name = await scenario.incident(PLAN_WAITS, WITH_RUNBOOK, {})
    alice = await scenario.client(ALICE)
    await alice.merge_patch(discovery.incidents(scenario.namespace, name), answers(APPROVE, f"{TOKEN} {ALICE}"))
    assert warned(CAROL, scenario.namespace, name, "team=payments") == ""
    assert warned(CAROL, scenario.namespace, name, "team=payments") == ""
