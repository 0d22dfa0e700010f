"""The schemas that editors read take every manifest that we ship, and tell what the apiserver would refuse."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from incident_operator.crdgen import __main__ as crdgen
from tests.crds import json_schema
from tests.docs import pages

ROOT = crdgen.CHECKOUT
SCHEMAS = {
    kind: json.loads((ROOT / crdgen.SCHEMAS / f"{kind.lower()}.json").read_text()) for kind in ("Runbook", "Connection")
}
MODELINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)\n")
FILES = [
    path
    for folder in ("examples", "docs/tutorial")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
    if any(f"kind: {kind}\n" in path.read_text() for kind in SCHEMAS)
]
OBJECTS = [
    *(each for path in FILES for each in yaml.safe_load_all(path.read_text()) if each and each["kind"] in SCHEMAS),
    *(body for kind in SCHEMAS for _, body in pages.objects(kind)),
]


def wrong(body: Any) -> list[str]:
    return list(json_schema.wrong(body, SCHEMAS[body["kind"]]))


@pytest.mark.parametrize("body", OBJECTS, ids=lambda body: f"{body['kind']}-{body['metadata']['name']}")
def test_what_is_shipped_is_right_to_an_editor(body: Any) -> None:
    assert wrong(body) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_one_kind_names_its_schema(path: Path) -> None:
    documents = [each for each in yaml.safe_load_all(path.read_text()) if each]
    kinds = {each["kind"] for each in documents}
    named = MODELINE.match(path.read_text())
    assert (named is not None) is (len(kinds) == 1)
    if named is not None:
        schema = (path.parent / named[1]).resolve()
        assert schema == (ROOT / crdgen.SCHEMAS / f"{kinds.pop().lower()}.json")


RUNBOOK: dict[str, Any] = {
    "apiVersion": "incidents.dev/v1alpha1",
    "kind": "Runbook",
    "metadata": {"name": "pack"},
    "spec": {
        "title": "t",
        "serviceAccountName": "rb",
        "match": ["a=b"],
        "mitigate": [{"name": "up", "scale": {"target": "deployment/web", "replicas": "${1 + 1}"}}],
    },
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: it["spec"].update(titel="t"), ["$.spec.titel: unknown"]),
        (lambda it: it["spec"].pop("title"), ["$.spec.title: required"]),
        (lambda it: it.update(apiVersion="incidents.dev/v1"), ["$.apiVersion: enum"]),
        (lambda it: it["spec"].update(severity="P9"), ["$.spec.severity: enum"]),
        (lambda it: it["spec"].update(suspend="yes"), ["$.spec.suspend: type"]),
        (lambda it: it["spec"]["mitigate"][0].pop("scale"), ["$.spec.mitigate[0]: oneOf"]),
        (
            lambda it: it["spec"]["mitigate"][0].update(exec={"target": "pod/a", "command": ["a"]}),
            ["$.spec.mitigate[0]: oneOf"],
        ),
        (
            lambda it: it["spec"]["mitigate"][0]["scale"].update(replicas=2.5),
            ["$.spec.mitigate[0].scale.replicas: type"],
        ),
        (
            lambda it: it["spec"].update(diagnose=it["spec"].pop("mitigate")),
            ["$.spec.diagnose[0]: oneOf", "$.spec.diagnose[0].scale: unknown"],
        ),
        (lambda it: it["spec"].update(resolveTimeout="soon"), ["$.spec.resolveTimeout: pattern"]),
    ],
)
def test_an_editor_tells_what_the_apiserver_would_refuse(change: Any, told: list[str]) -> None:
    body = copy.deepcopy(RUNBOOK)
    assert wrong(body) == []
    change(body)
    assert wrong(body) == told
