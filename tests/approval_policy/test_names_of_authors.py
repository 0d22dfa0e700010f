"""Whoever edits a Runbook or opens an Incident by hand is named on it, truly: four eyes depend on it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from incident_operator.api.incident import EDITORS, OPENED_BY, REVIEWED, Verb
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden
from tests.approval_policy.people import ADMIN, ALICE, BOB, CAROL, DAVE, FRANK, GRACE, HENRY, IDA, MALLORY, OPERATOR
from tests.approval_policy.scenario import Scenario
from tests.crds import objects

pytestmark = pytest.mark.cluster

STAMPS = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
STAMP_NAMES = ("runbook-editor.incidents.dev", "incident-opener.incidents.dev")
EDIT = {"spec": {"title": "Another title"}}

Json = dict[str, Any]


def signed(document: Json, annotation: str, name: str | None) -> Json:
    """The object (or merge patch) with a name in that annotation."""
    metadata = document.get("metadata", {})
    return {**document, "metadata": {**metadata, "annotations": {annotation: name}}}


async def _create_runbook(scenario: Scenario, who: str, document: Json) -> Json:
    client = await scenario.client(who)
    return await client.create(discovery.runbooks(scenario.namespace), document)


async def _patch_runbook(scenario: Scenario, who: str, name: str, patch: Json) -> str | None:
    """Patch a Runbook and return its editors."""
    client = await scenario.client(who)
    changed = await client.merge_patch(discovery.runbooks(scenario.namespace, name), patch)
    return changed["metadata"].get("annotations", {}).get(EDITORS)


@pytest.fixture
async def runbook(scenario: Scenario) -> str:
    """The name of a Runbook that Alice wrote."""
    created = await _create_runbook(scenario, ALICE, objects.runbook())
    return created["metadata"]["name"]


@pytest.mark.parametrize("claim", [None, BOB, ""])
async def test_who_creates_a_runbook_is_its_only_editor_whatever_they_claim(
    scenario: Scenario, claim: str | None
) -> None:
    document = objects.runbook() if claim is None else signed(objects.runbook(), EDITORS, claim)
    created = await _create_runbook(scenario, ALICE, document)
    assert created["metadata"]["annotations"][EDITORS] == ALICE


@pytest.mark.parametrize("patch", [EDIT, signed(EDIT, EDITORS, ALICE), signed(EDIT, EDITORS, None)])
async def test_who_changes_what_a_runbook_does_is_its_editor_too(scenario: Scenario, runbook: str, patch: Json) -> None:
    assert await _patch_runbook(scenario, MALLORY, runbook, patch) == f"{ALICE}\n{MALLORY}"
    assert await _patch_runbook(scenario, MALLORY, runbook, {"spec": {"title": "A third"}}) == f"{ALICE}\n{MALLORY}"


@pytest.mark.parametrize("claim", [BOB, MALLORY, None])
async def test_nobody_becomes_or_ceases_to_be_the_editor_without_an_edit(
    scenario: Scenario, runbook: str, claim: str | None
) -> None:
    with pytest.raises(Forbidden, match=f'changes only when spec does; it stays "{ALICE}"'):
        await _patch_runbook(scenario, MALLORY, runbook, signed({}, EDITORS, claim))


@pytest.mark.parametrize(
    "who", [FRANK, GRACE, HENRY, IDA], ids=["blanks", "commas", "253 characters", "254 characters"]
)
async def test_a_name_of_any_kind_is_one_line_of_the_editors_and_reviews(scenario: Scenario, who: str) -> None:
    other, reviewing = [name for name in (FRANK, GRACE, HENRY) if name != who][:2]
    created = await _create_runbook(scenario, who, objects.runbook())
    assert created["metadata"]["annotations"][EDITORS] == who
    name = created["metadata"]["name"]
    assert await _patch_runbook(scenario, other, name, EDIT) == f"{who}\n{other}"
    assert await _patch_runbook(scenario, who, name, {"spec": {"title": "A third"}}) == f"{who}\n{other}"
    reviewer, review = await scenario.client(reviewing), signed({}, REVIEWED, f"3 {reviewing}")
    await reviewer.merge_patch(discovery.runbooks(scenario.namespace, name), review)
    assert await _patch_runbook(scenario, who, name, {"spec": {"title": "A fourth"}}) == who


async def test_a_label_makes_nobody_the_editor(scenario: Scenario, runbook: str) -> None:
    assert await _patch_runbook(scenario, BOB, runbook, {"metadata": {"labels": {"team": "payments"}}}) == ALICE


async def test_an_edit_that_changes_nothing_makes_nobody_the_editor(scenario: Scenario, runbook: str) -> None:
    same = {"spec": {"title": objects.runbook()["spec"]["title"]}}
    assert await _patch_runbook(scenario, BOB, runbook, same) == ALICE


async def test_an_edit_that_cel_takes_for_none_counts_all_the_same(scenario: Scenario) -> None:
    def numbered(number: float) -> list[Json]:
        return [
            {"name": "look", "sqlQuery": {"connection": "db", "statement": "SELECT %(id)s", "params": {"id": number}}}
        ]

    document = objects.runbook(diagnose=numbered(2**53 + 1))
    created = await _create_runbook(scenario, ALICE, document)
    name, both = created["metadata"]["name"], f"{ALICE}\n{BOB}"
    edit = {"spec": {"diagnose": numbered(2.0**53)}}
    with pytest.raises(Forbidden, match=re.escape(f'set it to "{ALICE}\\n{BOB}"')):
        await _patch_runbook(scenario, BOB, name, edit)
    assert await _patch_runbook(scenario, BOB, name, signed(edit, EDITORS, both)) == both


async def test_the_operators_status_makes_it_no_editor(scenario: Scenario, runbook: str) -> None:
    operator = await scenario.client(OPERATOR)
    path = discovery.runbooks(scenario.namespace, runbook, "status")
    changed = await operator.merge_patch(path, {"status": {"message": "not ready"}})
    assert changed["metadata"]["annotations"][EDITORS] == ALICE


@pytest.mark.parametrize("claim", [None, BOB])
async def test_who_opens_an_incident_by_hand_is_named_on_it(scenario: Scenario, claim: str | None) -> None:
    document = objects.incident() if claim is None else signed(objects.incident(), OPENED_BY, claim)
    client = await scenario.client(CAROL)
    created = await client.create(discovery.incidents(scenario.namespace), document)
    assert created["metadata"]["annotations"][OPENED_BY] == CAROL


async def test_the_operator_opens_in_nobodys_name(scenario: Scenario) -> None:
    operator = await scenario.client(OPERATOR)
    created = await operator.create(discovery.incidents(scenario.namespace), objects.incident())
    assert OPENED_BY not in created["metadata"].get("annotations", {})
    with pytest.raises(Forbidden, match="names who created the Incident"):
        await operator.create(discovery.incidents(scenario.namespace), signed(objects.incident(), OPENED_BY, ALICE))


@pytest.mark.parametrize("who", [ALICE, DAVE, OPERATOR, ADMIN])
@pytest.mark.parametrize("verb", list(Verb))
async def test_an_incident_is_not_created_with_an_answer_on_it(scenario: Scenario, who: str, verb: Verb) -> None:
    client = await scenario.client(who)
    document = signed(objects.incident(), verb.annotation, f"now {who}")
    with pytest.raises(Forbidden, match=f"an Incident cannot be created with {verb.annotation} on it"):
        await client.create(discovery.incidents(scenario.namespace), document)


@pytest.fixture
async def unstamped(scenario: Scenario) -> AsyncIterator[None]:
    """As on Kubernetes before 1.36: nothing stamps. The bindings are put back afterwards."""
    admin = await scenario.client(ADMIN)
    stored = [await admin.get(f"{STAMPS}/{name}") for name in STAMP_NAMES]
    for name in STAMP_NAMES:
        await admin.delete(f"{STAMPS}/{name}")
    try:
        await _until_stamped(scenario, stamped=False)
        yield
    finally:
        for binding in stored:
            metadata = {key: binding["metadata"].get(key, {}) for key in ("name", "labels", "annotations")}
            await admin.create(STAMPS, {**binding, "metadata": metadata})
        await _until_stamped(scenario, stamped=True)


async def _until_stamped(scenario: Scenario, *, stamped: bool) -> None:
    """The apiserver takes a change of policies in within a second or so."""
    samples = (
        (discovery.runbooks(scenario.namespace), objects.runbook()),
        (discovery.incidents(scenario.namespace), objects.incident()),
    )
    for _ in range(100):
        seen = {await _stamps(scenario, path, document) for path, document in samples}
        if seen == {stamped}:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the apiserver did not notice within 10s that stamping is {'on' if stamped else 'off'}")


async def _stamps(scenario: Scenario, path: str, document: Json) -> bool:
    client = await scenario.client(ALICE)
    try:
        await client.create(path, document, dry_run=True)
    except Forbidden:
        return False
    return True


async def test_where_nothing_stamps_authors_have_to_write_their_own_names(scenario: Scenario, unstamped: None) -> None:
    runbooks, incidents = discovery.runbooks(scenario.namespace), discovery.incidents(scenario.namespace)
    alice = await scenario.client(ALICE)
    for claim in (BOB, ""):
        with pytest.raises(Forbidden, match=f'set it to "{ALICE}"'):
            await alice.create(runbooks, signed(objects.runbook(), EDITORS, claim))
        with pytest.raises(Forbidden, match=f'set it to "{ALICE}"'):
            await alice.create(incidents, signed(objects.incident(), OPENED_BY, claim))
    await alice.create(incidents, signed(objects.incident(), OPENED_BY, ALICE))
    written = await alice.create(runbooks, signed(objects.runbook(), EDITORS, ALICE))
    name, both = written["metadata"]["name"], f"{ALICE}\n{BOB}"
    for claim in (None, BOB):
        with pytest.raises(Forbidden, match=re.escape(f'set it to "{ALICE}\\n{BOB}"')):
            await _patch_runbook(scenario, BOB, name, signed(EDIT, EDITORS, claim) if claim else EDIT)
    assert await _patch_runbook(scenario, BOB, name, signed(EDIT, EDITORS, both)) == both
