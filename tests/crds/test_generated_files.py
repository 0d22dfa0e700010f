"""What is committed is what the models and policies say."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from incident_operator import policies
from incident_operator.crdgen import __main__ as crdgen
from incident_operator.crdgen import kinds
from incident_operator.crdgen.schema import DEFAULT_OPERATOR

LAST_APPLIED_LIMIT = 256 * 1024
"""`kubectl apply` keeps a manifest in an annotation, which may not be longer."""


def test_the_committed_files_are_up_to_date() -> None:
    assert crdgen.stale(crdgen.CHECKOUT, crdgen.files()) == []


def test_no_file_is_left_from_something_that_is_gone() -> None:
    generated = set(crdgen.files())
    for folder in ("crds", f"{crdgen.TEMPLATES}/crds", f"{crdgen.TEMPLATES}/policies"):
        found = {f"{folder}/{path.name}" for path in (crdgen.CHECKOUT / folder).iterdir()}
        assert found - generated == set()


def test_the_check_fails_on_a_stale_file_and_writes_nothing(tmp_path: Path) -> None:
    run = CliRunner().invoke(crdgen.main, ["--checkout", str(tmp_path)])
    assert run.exit_code == 0
    stale = tmp_path / "crds" / "incidents.dev_incidents.yaml"
    stale.write_text("edited by hand")
    check = CliRunner().invoke(crdgen.main, ["--check", "--checkout", str(tmp_path)])
    assert check.exit_code == 1
    assert "stale: crds/incidents.dev_incidents.yaml" in check.output
    assert stale.read_text() == "edited by hand"


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        run = CliRunner().invoke(crdgen.main, ["--checkout", str(tmp_path)])
    assert "wrote" not in run.output


def test_every_crd_can_be_applied_by_kubectl() -> None:
    for kind in kinds.ALL:
        kept = json.dumps(kinds.definition(kind), separators=(",", ":"))
        assert len(kept.encode()) < LAST_APPLIED_LIMIT, kind.name


def test_the_plain_policies_trust_the_default_operator_only() -> None:
    generated = crdgen.files()
    plain = ("approval-policies.yaml", *policies.LIMITING, policies.STAMPING)
    texts = {file: generated[f"crds/{file}"] for file in plain}
    assert [file for file, text in texts.items() if policies.OPERATOR in text] == []
    nameless = [file for file, text in texts.items() if DEFAULT_OPERATOR not in text]
    assert nameless == ["incident-deletion.yaml", "label-counts.yaml"], "the operator is held like everybody else"


def test_the_plain_policies_are_what_the_operator_expects_to_find() -> None:
    text = crdgen.files()["crds/approval-policies.yaml"]
    expected = [guard.manifest for guard in policies.guards(DEFAULT_OPERATOR)]
    assert list(yaml.safe_load_all(text)) == expected
