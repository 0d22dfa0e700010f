"""Every name in the documentation names something, and every name that a reader needs is in it."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from incident_operator import cli, health, settings
from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import ParameterType, Stage
from incident_operator.core import outcomes, reasons
from incident_operator.engine.metrics import EngineMetrics
from incident_operator.receiver import json_text
from incident_operator.receiver.metrics import ReceiverMetrics
from tests.docs import pages

_PATH = re.compile(r"\b(?:docs|examples|hack|charts|crds|operator|tests)/[\w./-]*\w")
_MODULE = re.compile(
    r"(?<![\w/])(?:(?:api|core|engine|receiver|clients|kubernetes|actions|connections|commands)/[\w/]+|app|cli|process|settings)\.(?:py|sql)"
)
_MAKE = re.compile(r"\bmake ([a-z.][\w./-]*)")
_TARGET = re.compile(r"^([\w./-]+):", re.MULTILINE)


@pytest.mark.parametrize("page", pages.FILES, ids=pages.name)
def test_a_link_leads_somewhere(page):
    for link in pages.links(page):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in pages.anchors(target), link


@pytest.mark.parametrize("page", pages.FILES, ids=pages.name)
def test_a_file_that_is_named_exists(page):
    for path in {found for code in pages.code(page) for found in _PATH.findall(code)}:
        assert (pages.ROOT / path).exists(), path


@pytest.mark.parametrize("page", pages.FILES, ids=pages.name)
def test_a_module_that_is_named_exists(page):
    for path in {found for code in pages.code(page) for found in _MODULE.findall(code)}:
        assert (pages.PACKAGE / path).exists() or any(pages.ROOT.rglob(f"hack/**/{path}")), path


@pytest.mark.parametrize("page", pages.FILES, ids=pages.name)
def test_a_make_target_that_is_named_exists(page):
    targets = set(_TARGET.findall(pages.text("Makefile")))
    for code in pages.code(page):
        assert set(_MAKE.findall(code)) <= targets, code


def test_every_make_target_that_help_lists_is_in_the_readme():
    listed = set(re.findall(r"^([a-z-]+):.*## ", pages.text("Makefile"), re.MULTILINE))
    named = {found for code in pages.code(pages.ROOT / "README.md") for found in _MAKE.findall(code)}
    assert listed - named == set()


def test_every_option_of_run_is_a_row_of_the_settings_with_its_default_and_nothing_else_is():
    context = cli.run.make_context("run", [])
    options = [each for each in cli.run.get_params(context) if isinstance(each, settings.Option)]
    assert {each.name for each in options} == {each.name for each in dataclasses.fields(settings.Settings)}
    rows = re.findall(r"^\| `([A-Z_]+)` \| `?([^|`]*)`? ", pages.text("docs/settings.md"), re.MULTILINE)
    told = {
        each.get_help_extra(context)["envvars"][0]: each.get_help_extra(context)["default"].strip("()")
        for each in options
        if each.name != "context"
    }
    assert {name: default.strip() for name, default in rows} == told


def test_every_option_of_run_has_a_help_and_the_name_of_its_setting():
    for option in settings.OPTIONS:
        assert option.help
        assert option.opts == [f"--{option.name.replace('_', '-')}"]
        assert option.envvar == {"kubeconfig": "KUBECONFIG", "context": None}.get(
            option.name, f"{settings.PREFIX}{option.name.upper()}"
        )


def leaves(values, path=""):
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in {"resources", "podSecurityContext"}:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_every_value_of_the_chart_is_in_settings_and_nothing_else_is():
    values = set(leaves(yaml.safe_load(pages.text("charts/incident-operator/values.yaml"))))
    table = pages.text("docs/settings.md")
    environment = re.findall(rf"^\| `{settings.PREFIX}\w+` \|[^|]*\| `([\w.]+)`", table, re.MULTILINE)
    other = pages.section("docs/settings.md", "## Other values of the chart")
    named = [
        *environment,
        *(name for row in re.findall(r"^\| (`.*?) \|", other, re.MULTILINE) for name in row.split(", ")),
    ]
    assert {name.strip("`") for name in named} == values


def test_every_reason_is_explained_and_no_other():
    known = {value for name, value in vars(reasons).items() if name.isupper()}
    sections = pages.text("docs/troubleshooting.md").partition("## A Runbook or")[0]
    assert sorted(pages.first_cells(sections)) == sorted(known)


def test_every_metric_is_listed_and_no_other():
    registry = health.registry()
    health.HelperMetrics(registry)
    EngineMetrics(registry)
    ReceiverMetrics(registry)
    ending = {"counter": "_total", "info": "_info"}
    served = {f"{each.name}{ending.get(each.type, '')}" for each in registry.collect() if "operator" in each.name}
    assert set(pages.first_cells(pages.section("docs/operating.md", "## Metrics"))) == served


def test_every_action_is_listed_with_all_that_its_result_holds():
    table = pages.section("docs/runbook.md", "## Actions")
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", table, re.MULTILINE)}
    assert list(rows) == [action.key for action in ACTIONS]
    for action in ACTIONS:
        assert action.result_names <= set(re.findall(r"`(\w+)`", rows[action.key])), action.key


def test_every_stage_type_and_effect_is_listed():
    reference = pages.text("docs/runbook.md")
    assert pages.first_cells(pages.section("docs/runbook.md", "## Stages")) == list(Stage)
    assert pages.first_cells(pages.section("docs/runbook.md", "## Parameters")) == list(ParameterType)
    told = pages.first_cells(pages.section("docs/how-it-works.md", "## After a crash"))
    assert set(told) == set(outcomes.Effect) - {outcomes.Effect.HUMAN}
    assert all(effect in reference for effect in told)


def test_what_is_generated_is_not_stale():
    checked = subprocess.run(
        [sys.executable, str(pages.DOCS / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", [*pages.FILES, *sorted(pages.TUTORIAL.iterdir())], ids=pages.name)
def test_a_line_is_no_longer_than_the_code_s(page: Path):
    # what a program printed stands there as it was
    text = re.sub(r"<!-- demo output -->.*<!-- /demo output -->", "", page.read_text(), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith("|") and "kubectl create role " not in line]
    if page.name != "fields.md":
        assert max(len(line) for line in lines) <= 150


def test_the_manual_names_the_receiver_s_own_limit_of_a_message():
    assert f"{json_text.ELEMENTS:,} lists, objects and commas an alert" in (pages.DOCS / "operating.md").read_text()
