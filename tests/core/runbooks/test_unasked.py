"""What may run unasked is one step as it is written: its digest, and what a setting has to look like."""

import json
from typing import Any

import pytest

from incident_operator.core.runbooks.reviews import UnaskedStep, can_be_named, digest_of, steps_of
from tests.core.builders import post, read, runbook, sql

DIGEST = f"sha256:{'a' * 64}"
ENTRY = {"namespace": "prod", "runbook": "rb-01", "step": "block", "digest": DIGEST}
BLOCK = post("block", protective=True)
USES: dict[str, Any] = {
    "parameters": [{"name": "who", "from": "alert.labels.user", "type": "string", "pattern": "[a-z]+"}],
    "diagnose": [
        read("look", outputs={"n": "result.rows.size()"}),
        read("then", when="steps.look.outputs.n > 0", outputs={"m": "result.rows.size()"}),
        read("other"),
    ],
    "mitigate": [post("block", protective=True, when="steps.then.outputs.m > 0")],
}


def digest(**spec: Any) -> str:
    compiled = runbook(**{**USES, **spec})
    return digest_of(compiled, compiled.steps["block"])


def test_a_digest_is_that_of_the_step_whether_or_not_defaults_are_written_out() -> None:
    plain, whole = (
        runbook(mitigate=[BLOCK]),
        runbook(mitigate=[{**BLOCK, "undoOn": ["Resolved"], "description": "Blocks."}]),
    )
    assert digest_of(plain, plain.steps["block"]) == digest_of(whole, whole.steps["block"])
    written_out = {**BLOCK["http"], "query": {}, "headers": {}, "safe": False}
    stored = runbook(mitigate=[{**BLOCK, "http": written_out}])
    assert digest_of(plain, plain.steps["block"]) == digest_of(stored, stored.steps["block"])


@pytest.mark.parametrize("value", [1e300, 2**64, -(10**30), "\ud800", {"n": [10**30]}])
def test_whatever_can_be_written_has_a_digest(value: Any) -> None:
    def of(json_: Any) -> str:
        compiled = runbook(mitigate=[{**BLOCK, "http": {**BLOCK["http"], "json": json_}}])
        return digest_of(compiled, compiled.steps["block"])

    assert of({"x": value}) != of({"x": 1})
    assert of({"x": 1.0}) == of({"x": 1}), "the apiserver stores either as 1"


@pytest.mark.parametrize(
    "changed",
    [
        {"mitigate": [post("block", protective=True, when="steps.then.outputs.m > 1")]},
        {"mitigate": [{**USES["mitigate"][0], "http": {**BLOCK["http"], "path": "/do/more"}}]},
        {"mitigate": [{**USES["mitigate"][0], "probe": {"http": {"connection": "api"}, "expect": "true"}}]},
        {"serviceAccountName": "rb-other"},
        {"parameters": [{**USES["parameters"][0], "pattern": ".*"}]},
        {"diagnose": [*USES["diagnose"][:1], read("then", when="true", outputs={"m": "result.rows.size()"})]},
        {"diagnose": [read("look", outputs={"n": "7"}), *USES["diagnose"][1:]]},
    ],
    ids=[
        "its condition",
        "its request",
        "its probe",
        "its account",
        "a parameter",
        "a step it uses",
        "a step which that uses",
    ],
)
def test_whatever_decides_what_the_step_does_changes_its_digest(changed: dict[str, Any]) -> None:
    assert digest(**changed) != digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Another title"},
        {"diagnose": [*USES["diagnose"][:2], read("other", timeout="9s")]},
        {"match": ['a="b"']},
    ],
    ids=["the title", "a step it does not use", "what it matches"],
)
def test_what_decides_nothing_of_it_does_not(changed: dict[str, Any]) -> None:
    assert digest(**changed) == digest()


def test_what_asks_by_itself_or_takes_itself_back_is_not_named() -> None:
    compiled = runbook(
        mitigate=[
            BLOCK,
            sql("serve", undo={"sqlExecute": {"connection": "db", "statement": "SELECT 1", "maxRows": 1}}),
        ],
        remediate=[sql("mark")],
        verify=[read("check")],
        restore=[sql("replay"), sql("drain", approval={}), read("settled")],
    )
    assert [name for name, step in compiled.steps.items() if can_be_named(step)] == ["block", "replay"]


def test_a_setting_names_steps() -> None:
    assert steps_of(json.dumps([ENTRY])) == {UnaskedStep("prod", "rb-01", "block", DIGEST)}
    assert steps_of("[]") == frozenset()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sqlExecute", "'sqlExecute' is not a JSON list of {namespace, runbook, step, digest}"),
        ("sqlExecute,http", "is not a JSON list of"),
        ('{"a": 1}', "is not a JSON list of {namespace, runbook, step, digest}"),
        ('["sqlExecute"]', "'sqlExecute' does not have exactly the fields namespace, runbook, step, digest"),
        (json.dumps([{**ENTRY, "more": 1}]), "does not have exactly the fields"),
        (json.dumps([{**ENTRY, "namespace": "*"}]), "*/rb-01, step block: not names of a namespace, Runbook and step"),
        (json.dumps([{**ENTRY, "digest": "sha256:abc"}]), "`incident-operator check` prints it"),
        (json.dumps([{**ENTRY, "digest": DIGEST.upper()}]), "is not a digest"),
    ],
)
def test_a_setting_that_is_not_one_says_what_would_be(text: str, says: str) -> None:
    with pytest.raises(ValueError) as error:
        steps_of(text)
    assert says in str(error.value)
