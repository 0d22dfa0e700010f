"""Who may create what kind of Incident, and how many labels an object has; said by the apiserver itself."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from incident_operator.api.incident import GROUP_LABEL, OPENED_BY
from incident_operator.core.alerts import merging
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import ApiError, Forbidden, Invalid
from tests.approval_policy.cases import ABORT, NOTHING_WAITS, WITH_RUNBOOK, answers
from tests.approval_policy.people import ADMIN, DAVE, MALLORY, OPERATOR
from tests.approval_policy.scenario import Scenario
from tests.crds import objects

pytestmark = pytest.mark.cluster

OURS = merging.of("prod", "rb", ["date"], {"date": "1"}).sequence
MANY = {f"l{number}": "" for number in range(65)}
FINALIZERS = ["example.com/x"]
OWNERS = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]


@dataclass(frozen=True)
class Creation:
    """One row: who creates an Incident with which metadata, and what the refusal says (None: accepted)."""

    sentence: str
    who: str
    metadata: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None


TABLE = [
    Creation("anybody with the right to opens one", MALLORY, {"name": "my-own"}),
    Creation("the apiserver names it", MALLORY, {"generateName": "mine-"}),
    Creation("a number at the end is nobody's", MALLORY, {"name": "db-down-1"}),
    Creation("four hexadecimal digits are nobody's", MALLORY, {"name": "db-dead-1"}),
    Creation("a name of the operator's form is not for people", MALLORY, {"name": OURS.name(1)}, "ends in five hexadecimal digits"),
    Creation("nor one with a number far away", MALLORY, {"name": OURS.name(999_999)}, f"the name {OURS.name(999_999)} ends in five"),
    Creation("nor for the administrator", ADMIN, {"name": OURS.name(2)}, "you are cluster-admin; the name"),
    Creation("a group is not for people", MALLORY, {"labels": {GROUP_LABEL: OURS.digest}}, f"the label {GROUP_LABEL} is the operator's"),
    Creation("no label of its group is", MALLORY, {"labels": {"incidents.dev/x": ""}}, "the label incidents.dev/x is"),
    Creation("other labels are free", MALLORY, {"labels": {"team": "payments"}}),
    Creation("people give it no finalizer", MALLORY, {"finalizers": FINALIZERS}, "finalizers of an Incident are the operator's"),
    Creation("people give it no owner", MALLORY, {"ownerReferences": OWNERS}, "ownerReferences of an Incident are the operator's"),
    Creation("the operator opens its own", OPERATOR, {"name": OURS.name(3), "labels": {GROUP_LABEL: OURS.digest}}),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.sentence)
async def test_of_an_incident(scenario: Scenario, case: Creation) -> None:
    """Every row is tried twice: as a dry run, then for good; the answer is the same."""
    client = await scenario.client(case.who)
    body = objects.incident()
    named = body["metadata"] | case.metadata
    if "name" in named:
        del named["generateName"]
    for dry_run in (True, False):
        said = None
        try:
            await client.create(discovery.incidents(scenario.namespace), {**body, "metadata": named}, dry_run=dry_run)
        except Forbidden as error:
            said = error.message
        assert (said is None) == (case.refused is None), said
        assert case.refused is None or case.refused in str(said)


@pytest.mark.parametrize(
    "document", [objects.incident(), objects.runbook(), objects.connection(type="http", http={"url": "http://a"})]
)
async def test_an_object_has_at_most_64_labels(scenario: Scenario, document: dict[str, Any]) -> None:
    admin, collection = await scenario.client(ADMIN), getattr(discovery, f"{document['kind'].lower()}s")
    labelled = {**document, "metadata": {**document["metadata"], "labels": MANY}}
    with pytest.raises(Invalid, match="at most 64 labels, not 65"):
        await admin.create(collection(scenario.namespace), labelled)
    fewer = dict(list(MANY.items())[:64])
    made = await admin.create(
        collection(scenario.namespace), {**document, "metadata": {**document["metadata"], "labels": fewer}}
    )
    path = collection(scenario.namespace, made["metadata"]["name"])
    with pytest.raises(Invalid, match="at most 64 labels, not 65"):
        await admin.merge_patch(path, {"metadata": {"labels": {"one-more": ""}}})
    await admin.merge_patch(path, {"metadata": {"labels": {"l0": None, "one-more": ""}}})


async def test_an_abort_is_quick_however_many_labels_an_incident_is_given(scenario: Scenario) -> None:
    name = await scenario.incident(NOTHING_WAITS, WITH_RUNBOOK, {})
    path, mallory, dave = (
        discovery.incidents(scenario.namespace, name),
        await scenario.client(MALLORY),
        await scenario.client(DAVE),
    )
    with pytest.raises(ApiError):
        await mallory.merge_patch(path, {"metadata": {"labels": {f"l{number}": "" for number in range(14_000)}}})
    began = time.monotonic()
    await dave.merge_patch(path, answers(ABORT, f"now {DAVE}"))
    assert time.monotonic() - began < 5, "seconds; with 14,000 labels it took 28"


async def test_who_opened_an_incident_stays_named_on_it_though_all_annotations_are_removed(scenario: Scenario) -> None:
    mallory = await scenario.client(MALLORY)
    made = await mallory.create(discovery.incidents(scenario.namespace), objects.incident())
    path = discovery.incidents(scenario.namespace, made["metadata"]["name"])
    assert made["metadata"]["annotations"][OPENED_BY] == MALLORY
    with pytest.raises(Forbidden, match="never changes"):
        await mallory.merge_patch(path, {"metadata": {"annotations": None}})
