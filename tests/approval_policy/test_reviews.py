"""Who may review a Runbook, and what a review does, said by the apiserver itself."""

from dataclasses import dataclass
from typing import Any

import pytest

from incident_operator.api.incident import EDITORS, REVIEWED
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden
from tests.approval_policy.people import ALICE, BOB, BOT, CAROL, DAVE, FRANK, RUNBOOK, bot
from tests.approval_policy.scenario import Scenario
from tests.crds import objects

pytestmark = pytest.mark.cluster

Json = dict[str, Any]


@dataclass(frozen=True)
class Review:
    """One row: who writes which review on what Bob wrote and Alice corrected, and what the refusal says (None: accepted)."""

    sentence: str
    who: str
    value: str | None
    refused: str | None = None
    patch: Json | None = None
    """What is patched with it."""


REVIEWS = [
    Review("somebody else who may approve reviews", CAROL, f"2 {CAROL}"),
    Review("a name with blanks reviews", FRANK, f"2 {FRANK}"),
    Review("who wrote it does not", BOB, f"2 {BOB}", "someone else has to review it (four eyes)"),
    Review("who corrected it does not either", ALICE, f"2 {ALICE}", "someone else has to review it (four eyes)"),
    Review("nobody reviews for another", BOB, f"2 {CAROL}", f'incidents.dev/reviewed="2 {BOB}"'),
    Review("what is no longer so is not reviewed", CAROL, f"1 {CAROL}", f'incidents.dev/reviewed="2 {CAROL}"'),
    Review("what is not yet so is not reviewed", CAROL, f"3 {CAROL}", f'incidents.dev/reviewed="2 {CAROL}"'),
    Review("without the verb, no review", DAVE, f"2 {DAVE}", f'you need the verb "approve" on runbooks/{RUNBOOK}'),
    Review("a service account never reviews", BOT, f"2 {bot('NAMESPACE')}", "a service account cannot review"),
    Review("nobody reviews what they write with it", CAROL, f"3 {CAROL}", "not together with a change of it",
           patch={"spec": {"title": "A third"}}),
    Review("a review empties no annotation", CAROL, f"2 {CAROL}", "changes only when spec does",
           patch={"metadata": {"annotations": {EDITORS: ""}}}),
]  # fmt: skip


async def _written(scenario: Scenario) -> str:
    """The path of a Runbook that Bob wrote and Alice corrected."""
    body = objects.runbook()
    body["metadata"] = {**body.get("metadata", {}), "name": RUNBOOK}
    body["metadata"].pop("generateName", None)
    path = discovery.runbooks(scenario.namespace, RUNBOOK)
    await (await scenario.client(BOB)).create(discovery.runbooks(scenario.namespace), body)
    changed = await (await scenario.client(ALICE)).merge_patch(path, {"spec": {"title": "Corrected"}})
    assert changed["metadata"]["annotations"][EDITORS] == f"{BOB}\n{ALICE}"
    assert changed["metadata"]["generation"] == 2
    return path


def _patch(row: Review, namespace: str) -> Json:
    more = row.patch or {}
    value = row.value.replace("NAMESPACE", namespace) if row.value else None
    written = {**more.get("metadata", {}).get("annotations", {}), REVIEWED: value}
    return {**more, "metadata": {"annotations": written}}


@pytest.mark.parametrize("row", REVIEWS, ids=[row.sentence for row in REVIEWS])
async def test_a_review_is_somebody_elses_who_may_approve(scenario: Scenario, row: Review) -> None:
    path = await _written(scenario)
    try:
        client = await scenario.client(row.who)
        if row.refused is None:
            await client.merge_patch(path, _patch(row, scenario.namespace))
            return
        with pytest.raises(Forbidden) as refused:
            await client.merge_patch(path, _patch(row, scenario.namespace))
        assert row.refused in str(refused.value)
    finally:
        await (await scenario.client(BOB)).delete(path)


async def test_who_edits_after_a_review_is_the_only_editor(scenario: Scenario) -> None:
    path = await _written(scenario)
    try:
        await (await scenario.client(CAROL)).merge_patch(path, {"metadata": {"annotations": {REVIEWED: f"2 {CAROL}"}}})
        with pytest.raises(Forbidden):  # a review that stands is taken away by nobody
            await (await scenario.client(BOB)).merge_patch(path, {"metadata": {"annotations": {REVIEWED: None}}})
        edited = await (await scenario.client(ALICE)).merge_patch(path, {"spec": {"title": "A third"}})
        assert edited["metadata"]["annotations"][EDITORS] == ALICE
    finally:
        await (await scenario.client(BOB)).delete(path)
