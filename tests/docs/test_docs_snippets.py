"""What a reader copies out of the documentation works."""

import subprocess

import pytest
import yaml

from incident_operator import connections
from incident_operator.actions import ACTIONS
from incident_operator.api.connection import Connection
from incident_operator.api.incident import IncidentSpec
from incident_operator.api.runbook import Runbook
from incident_operator.commands import check, outputs
from incident_operator.core.runbooks import compiler, reading
from incident_operator.receiver.server import ReceiverSettings
from tests.docs import pages

SPECS = {"Runbook": reading.whole_spec(ACTIONS), "Connection": connections.whole_spec(), "Incident": IncidentSpec}
OBJECTS = [found for kind in SPECS for found in pages.objects(kind)]


def documents(*names):
    texts = [(pages.TUTORIAL / name).read_text() for name in names]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def of_kind(kind, found):
    return [each for each in found if each["kind"] == kind]


def tutorial_connections():
    found = [Connection.model_validate(each) for each in of_kind("Connection", documents("connections.yaml"))]
    return {each.metadata.name: each.spec.type for each in found}


def lost(written, kept, path="spec"):
    """Paths that are written but not kept: a misspelt field, or a comma that YAML took for its own."""
    if isinstance(written, dict) and isinstance(kept, dict):
        return [gone for key in written for gone in lost(written[key], kept.get(key), f"{path}.{key}")]
    if isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        return [gone for at, each in enumerate(written) for gone in lost(each, kept[at], f"{path}[{at}]")]
    return [] if written == kept else [path]


@pytest.mark.parametrize("block", pages.blocks("yaml"), ids=str)
def test_a_yaml_block_is_yaml(block):
    assert [each for each in yaml.safe_load_all(block.text) if each]


@pytest.mark.parametrize(
    "body",
    [*(body for _, body in OBJECTS), *documents("runbook.yaml"), *of_kind("Connection", documents("connections.yaml"))],
)
def test_an_object_holds_nothing_but_fields_that_there_are(body):
    kept = SPECS[body["kind"]].model_validate(body["spec"]).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert lost(body["spec"], kept) == []


@pytest.mark.parametrize(
    ("block", "body"), pages.objects("Runbook"), ids=lambda each: str(each) if isinstance(each, pages.Block) else ""
)
def test_a_runbook_compiles_with_the_connections_of_the_tutorial(block, body):
    compiled = compiler.compile_runbook(Runbook.model_validate(body), tutorial_connections(), ACTIONS)
    assert isinstance(compiled, compiler.Compiled), f"{block}: {compiled}"


def test_the_action_that_is_added_by_the_page_is_one():
    (block,) = [each for each in pages.blocks("python") if each.page.endswith("adding-an-action.md")]
    module = {}
    exec(compile(block.text, str(block), "exec"), module)
    purge = module["ACTION"]
    actions = (*(each for each in ACTIONS if each.key != purge.key), purge)
    spec = {"title": "t", "serviceAccountName": "rb", "match": ["a=b"]}
    step = {"name": "drop", "purge": {"connection": "api", "path": "/prices/${params.date}"}}
    good = {**spec, "parameters": [{"name": "date", "type": "date", "default": "2025-10-21"}], "remediate": [step]}
    everything = {**step, "purge": {"connection": "api", "path": "/"}}
    for written, wrong in (
        (good, 0),
        ({**spec, "remediate": [everything]}, 1),
        ({**good, "remediate": [], "verify": [step]}, 1),
    ):
        found = compiler.compile_runbook(Runbook.model_validate({"spec": written}), {"api": "http"}, actions)
        assert isinstance(found, compiler.Compiled) if not wrong else len(found) == wrong, found


def test_the_readme_shows_the_files_that_it_names():
    shown = [body for block, body in pages.objects("Runbook") if block.page == "README.md"]
    quickstart = yaml.safe_load(pages.text("examples/quickstart/runbook.yaml"))
    assert shown == [quickstart, *documents("runbook.yaml")]


def test_the_typo_of_the_readme_is_told_as_the_readme_says(tmp_path):
    misspelt = tmp_path / "runbook.yaml"
    misspelt.write_text((pages.TUTORIAL / "runbook.yaml").read_text().replace("steps.flags.", "steps.flag."))
    told = "\n".join(outputs.text_line(each) for each in check.check([misspelt]).findings)
    told = told.replace(str(misspelt), "docs/tutorial/runbook.yaml")
    assert f"```\n{told}\n```" in pages.text("README.md")


def test_the_tutorial_runbook_may_read_the_secrets_of_its_connections():
    found = documents("connections.yaml")
    secrets = {each["spec"]["secretRef"]["name"] for each in of_kind("Connection", found)}
    assert [set(rule["resourceNames"]) for each in of_kind("Role", found) for rule in each["rules"]] == [secrets]
    accounts = {subject["name"] for each in of_kind("RoleBinding", found) for subject in each["subjects"]}
    assert accounts == {each["spec"]["serviceAccountName"] for each in documents("runbook.yaml")}


def test_the_receiver_of_the_readme_is_the_one_that_the_chart_opens():
    block = next(block for block in pages.blocks("yaml") if "webhook_configs" in block.text)
    receiver = yaml.safe_load(block.text)["receivers"][0]["webhook_configs"][0]
    port = yaml.safe_load(pages.text("charts/incident-operator/values.yaml"))["webhook"]["port"]
    assert receiver["url"].endswith(f".svc:{port}{ReceiverSettings.__dataclass_fields__['path'].default}")
    assert receiver["send_resolved"] is True


@pytest.mark.parametrize("block", pages.blocks("sh"), ids=str)
def test_a_shell_block_can_be_pasted(block):
    parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    assert not any(line.startswith(("$ ", "# ", "> ")) for line in block.text.splitlines())


def test_every_runbook_that_is_shown_is_free_of_warnings(tmp_path):
    for block, body in pages.objects("Runbook"):
        shown = tmp_path / "runbook.yaml"
        shown.write_text(yaml.safe_dump(body))
        assert check.check([shown]).findings == (), block
