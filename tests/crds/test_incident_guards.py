"""What nobody but the operator creates, and what nobody deletes or grows; the shipped expressions, evaluated here without an apiserver."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.api.incident import CLOSED_PHASES, Phase
from incident_operator.core.alerts import merging
from incident_operator.core.sanitize import compiled_pattern
from incident_operator.crdgen.schema import DEFAULT_OPERATOR
from tests.crds.evaluated_policies import Json, Request, policy

APPROVAL, EDITOR = policy("incident-approval.yaml"), policy("runbook-editor.yaml")
DELETION, LABELS = policy("incident-deletion.yaml"), policy("label-counts.yaml")
KEPT_NAMES = compiled_pattern(
    next(
        each["expression"].partition("matches('")[2].removesuffix("')")
        for each in APPROVAL["variables"]
        if each["name"] == "isNamedLikeOurs"
    )
)
MALLORY, DAVE = "mallory@dawsos.com", "dave@dawsos.com"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"
OURS = merging.of("prod", "pack", ["date"], {"date": "1"}).sequence
GROUP, OPENED_BY, ABORT = "incidents.dev/group", "incidents.dev/opened-by", "incidents.dev/abort"


def incident(name: str = "my-own", *, opened_by: str = MALLORY, spec: Json | None = None, **meta: Any) -> Json:
    """An Incident as somebody opens it; the stamp is there, as from Kubernetes 1.36 on."""
    annotations = {OPENED_BY: opened_by} if opened_by else {}
    return {"metadata": {"name": name, "annotations": annotations, **meta}, "spec": spec or {}}


@pytest.mark.parametrize(
    ("sentence", "who", "made", "told"),
    [
        ("anybody opens one under a name of their own", MALLORY, incident(), None),
        ("a name with a number is nobody's", MALLORY, incident("db-down-1"), None),
        ("the operator's names are its own", MALLORY, incident(OURS.name(1)), f"the name {OURS.name(1)} ends in five"),
        ("and its numbers", MALLORY, incident(OURS.name(999_999)), "choose another"),
        ("and its labels", MALLORY, incident(labels={GROUP: OURS.digest}), f"the label {GROUP} is the operator's"),
        ("and every other label of its group", MALLORY, incident(labels={"incidents.dev/x": ""}), "the label incidents.dev/x"),
        ("other labels are free", MALLORY, incident(labels={"team": "payments"}), None),
        ("nobody gives it an owner", MALLORY, incident(ownerReferences=[{"name": "x"}]), "ownerReferences of an Incident"),
        ("nobody gives it a finalizer", MALLORY, incident(finalizers=["example.com/x"]), "finalizers of an Incident"),
        ("the operator opens its own", DEFAULT_OPERATOR,
         incident(OURS.name(1), opened_by="", labels={GROUP: OURS.digest}), None),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_at_creation_the_same_is_the_operators_as_later(sentence: str, who: str, made: Json, told: str | None) -> None:
    refused = Request(who, made).refused(APPROVAL)
    assert (refused is None) == (told is None), refused
    assert (told or "") in (refused or "")


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,12})(-[0-9a-f]{4,6})?(-[0-9]{1,10})?", fullmatch=True))
def test_the_names_that_the_policy_keeps_are_those_that_the_receiver_reads(name: str) -> None:
    assert (KEPT_NAMES.search(name) is not None) == (merging.split_name(name) is not None)


def changed(before: Json, **meta: Any) -> Json:
    return {**before, "metadata": {**before["metadata"], **meta}}


BEFORE = incident(labels={GROUP: OURS.digest, "team": "payments"}, opened_by="")


@pytest.mark.parametrize(
    ("after", "looked_at"),
    [
        (changed(BEFORE), False),
        (changed(BEFORE, managedFields=[{"manager": "kubectl"}]), False),
        (changed(BEFORE, annotations={ABORT: f"now {DAVE}"}), True),
        (changed(BEFORE, labels={"team": "payments"}), True),
        (changed(BEFORE, labels=BEFORE["metadata"]["labels"] | {"a": "b"}), True),
        (changed(BEFORE, finalizers=["example.com/x"]), True),
        (changed(BEFORE, ownerReferences=[{"name": "x"}]), True),
        ({**BEFORE, "spec": {"alertsOmitted": 3}}, True),
    ],
)
def test_an_update_that_touches_nothing_that_is_guarded_costs_nothing(after: Json, looked_at: bool) -> None:
    assert Request(MALLORY, after, BEFORE).is_looked_at(APPROVAL) is looked_at


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"team": "payments"}, f"the label {GROUP} is the operator's"),
        ({GROUP: "x", "team": "payments"}, f"the label {GROUP} is the operator's"),
        ({GROUP: OURS.digest, "incidents.dev/severity": "P0"}, "the label incidents.dev/severity is the operator's"),
        ({GROUP: OURS.digest}, None),
    ],
)
def test_labels_of_the_operator_are_neither_changed_nor_taken_nor_added(
    labels: dict[str, str], told: str | None
) -> None:
    refused = Request(MALLORY, changed(BEFORE, labels=labels), BEFORE).refused(APPROVAL)
    assert (refused is None) == (told is None), refused
    assert (told or "") in (refused or "")


def test_a_runbook_is_looked_at_where_its_spec_or_an_annotation_changes() -> None:
    before = {"metadata": {"name": "rb", "generation": 3}, "spec": {"title": "a"}}
    assert not Request(MALLORY, changed(before, labels={"a": "b"}), before).is_looked_at(EDITOR)
    assert Request(MALLORY, changed(before, annotations={"a": "b"}), before).is_looked_at(EDITOR)
    assert Request(MALLORY, {**before, "spec": {"title": "b"}}, before).is_looked_at(EDITOR)
    assert Request(MALLORY, before).is_looked_at(EDITOR)


def in_phase(phase: str | None, **meta: Any) -> Json:
    return incident(**meta) | ({"status": {"phase": phase}} if phase else {})


OPEN = "is open, and deleting it would undo nothing; abort it first: kubectl annotate -n prod incident my-own"


@pytest.mark.parametrize("phase", [None, *Phase])
def test_an_open_incident_is_not_deleted_and_a_closed_one_is(phase: Phase | None) -> None:
    for who in (MALLORY, DEFAULT_OPERATOR):
        told = Request(who, old=in_phase(phase and phase.value)).refused(DELETION)
        assert (told is None) == (phase in CLOSED_PHASES), told
        assert told is None or (OPEN in told and f'{ABORT}="now {who}"' in told)


@pytest.mark.parametrize(
    ("sentence", "who", "old", "may"),
    [
        ("one that was aborted", MALLORY, in_phase("Mitigating", annotations={ABORT: f"now {DAVE}"}), True),
        ("one that is being undone", MALLORY, in_phase("Mitigating", annotations={ABORT: f"undo {DAVE}"}), False),
        ("one that was undone", MALLORY, in_phase("Failed", annotations={ABORT: f"undo {DAVE}"}), True),
        ("an abort of no form", MALLORY, in_phase("Mitigating", annotations={ABORT: "please"}), False),
        ("an empty abort", MALLORY, in_phase("Mitigating", annotations={ABORT: ""}), False),
        ("another answer is no abort", MALLORY, in_phase("Mitigating", annotations={"incidents.dev/reject": f"now {DAVE}"}), False),
        ("one without annotations", MALLORY, in_phase("Mitigating", annotations=None), False),
        ("one that is being deleted already", MALLORY, in_phase("Mitigating", deletionTimestamp="2026-01-01T00:00:00Z"), True),
        ("the garbage collector", COLLECTOR, in_phase("Mitigating"), True),
        ("the namespace controller", NAMESPACE_CONTROLLER, in_phase("Mitigating"), True),
        ("a controller manager without accounts", "system:kube-controller-manager", in_phase("Mitigating"), True),
        ("another service account", "system:serviceaccount:prod:namespace-controller", in_phase("Mitigating"), False),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_an_open_incident_is_deleted_after_an_abort_and_by_collectors(
    sentence: str, who: str, old: Json, may: bool
) -> None:
    if old["metadata"]["annotations"] is None:
        del old["metadata"]["annotations"]
    assert (Request(who, old=old).refused(DELETION) is None) is may


def labelled(number: int) -> Json:
    return incident(labels={f"l{each}": "" for each in range(number)})


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [
        (None, 0, True),
        (None, 64, True),
        (None, 65, False),
        (64, 65, False),
        (0, 14_000, False),
        (14_000, 14_000, True),
        (14_000, 13_999, True),
        (14_000, 14_001, False),
    ],
)
def test_an_object_has_at_most_64_labels_and_one_from_before_may_only_lose_some(
    before: int | None, after: int, may: bool
) -> None:
    request = Request(MALLORY, labelled(after), None if before is None else labelled(before))
    told = request.refused(LABELS)
    assert (told is None) is may
    assert told is None or told == f"at most 64 labels, not {after}"


@pytest.mark.parametrize("file", ["incident-deletion.yaml", "label-counts.yaml"])
def test_both_hold_in_every_namespace_and_where_they_cannot_be_evaluated(file: str) -> None:
    spec = policy(file)
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"]["namespaceSelector"] == spec["matchConstraints"]["objectSelector"] == {}
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert rule["scope"] == "*"
