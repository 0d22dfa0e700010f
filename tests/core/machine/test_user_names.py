"""User names are taken exactly as Kubernetes knows them: with commas, blanks, colons, quotes, and however long."""

import shlex
import subprocess
from pathlib import Path

import pytest

from incident_operator.api.incident import EDITORS, OPENED_BY, REVIEWED, Incident, Phase, Verb
from incident_operator.api.meta import ObjectMeta
from incident_operator.api.runbook import Runbook
from incident_operator.core import approval
from incident_operator.core.runbooks import reviews
from incident_operator.core.status import report
from tests.core.builders import usual
from tests.core.machine.simulation import Simulation

NAMES = {
    "a comma": "Hopper, Grace",
    "two blanks in a row": "Grace  Hopper",
    "a blank in front": " grace",
    "a blank behind": "grace ",
    "colons": "oidc:grace:ops",
    "a service account's": "system:serviceaccount:prod:bot",
    "an LDAP name": "cn=Grace Hopper,ou=ops,dc=example,dc=com",
    "an URL": "https://accounts.example.com#110248495921238986420",
    "quotes": """Grace "Amazing" O'Hopper""",
    "what a shell would run": "$(touch pwned) `touch pwned` ; touch pwned",
    "a backslash": "CORP\\grace",
    "unicode": "Grâce Høpper 🚀 グレース",
    "right to left": "grace\u202egro.live",
    "a tab": "grace\thopper",
    "markup": "**grace** | <b>h</b> [x](http://y)",
    "253 characters": "g" * 253,
    "what looks like an answer": "now grace",
    "an equals sign": "done=grace",
}
NAMED = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@NAMED
def test_a_name_approves_as_it_is_written(name: str) -> None:
    simulation = Simulation(usual()).go()
    simulation.approve(by=name).go()
    assert simulation.done == ["serve", "rebuild"]
    by = simulation.status.approvals[-1].by
    assert 0 < len(by) <= 253
    assert by.isprintable()


@NAMED
def test_a_name_that_is_excluded_approves_nothing_and_one_that_is_like_it_does(name: str) -> None:
    simulation = Simulation(usual(), excluded=(name,)).go()
    assert name in simulation.pending.excluded
    simulation.approve(by=name).go()
    assert simulation.done == ["serve"]
    simulation.approve(by=f"{name}x"[-253:]).go()
    assert simulation.done == ["serve", "rebuild"]


@NAMED
def test_each_verb_takes_a_name_as_it_is_written(name: str) -> None:
    for verb in Verb:
        found = approval.answer({verb.annotation: f"token {name}"}, verb)
        assert found == approval.Answer("token", name)


@NAMED
def test_a_name_is_one_editor_and_no_other(name: str) -> None:
    book = runbook_by(name, "alice@example.com")
    assert reviews.of(book) == tuple(sorted((name, "alice@example.com")))
    assert reviews.of_kept(reviews.kept(reviews.of(book))) == reviews.of(book)


@NAMED
def test_a_name_opens_an_incident_and_does_not_approve_it(name: str) -> None:
    simulation = Simulation(usual())
    metadata = simulation.stored.metadata.model_copy(update={"annotations": {OPENED_BY: name}})
    simulation.stored = simulation.stored.model_copy(update={"metadata": metadata})
    simulation.go()
    assert simulation.pending.excluded == [name]
    simulation.approve(by=name).go()
    assert simulation.done == ["serve"]


@NAMED
def test_a_name_is_one_line_of_the_report_and_of_the_status(name: str) -> None:
    simulation = Simulation(usual(), excluded=(name,)).go()
    simulation.approve(by="alice@example.com").go()
    simulation.abort()
    simulation.annotate(Verb.ABORT, "now", by=name).go()
    assert simulation.status.phase is Phase.FAILED
    text = report.markdown(Incident.model_validate(simulation.stored.to_json()), usual().spec)
    assert "\u202e" not in text
    assert "\n" not in simulation.status.message
    assert "<b>" not in text


@NAMED
def test_the_line_to_paste_writes_the_name_as_it_is(name: str, tmp_path: Path) -> None:
    """In a shell, with a `kubectl` that says who asks, and shows what it is told."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\nif [ "$1" = auth ]; then printf %s "$ASKS"; else for word in "$@"; do printf "%s\\0" "$word"; done; fi\n'
    )
    kubectl.chmod(0o755)
    line = approval.command("prod", "pack-1", Verb.APPROVE, "7f3a9cde1234")
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ASKS": name}
    told = subprocess.run(["sh", "-c", line], env=path, cwd=tmp_path, capture_output=True, check=True).stdout
    words = told.decode().split("\0")[:-1]
    assert words[:-1] == shlex.split("annotate --overwrite -n prod incident pack-1")
    assert words[-1] == f"{Verb.APPROVE.annotation}=7f3a9cde1234 {name}"
    assert [each.name for each in tmp_path.iterdir()] == ["kubectl"]


def test_a_name_that_is_too_long_to_be_excluded_leaves_nobody_to_approve() -> None:
    simulation = Simulation(usual(), excluded=("g" * 254,)).go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, "ApprovalPolicyMissing")
    assert "not all of its editors can be excluded; somebody else has to review it" in simulation.status.message


def test_a_name_of_more_than_253_characters_answers_and_is_kept_cut() -> None:
    simulation = Simulation(usual()).go()
    simulation.approve(by="g" * 1000).go()
    assert simulation.done == ["serve", "rebuild"]
    assert len(simulation.status.approvals[-1].by) <= 253


def test_a_runbook_that_was_reviewed_by_a_name_with_blanks_has_no_editor() -> None:
    book = runbook_by("grace", "alice")
    reviewed = {**book.metadata.annotations, REVIEWED: "3 Hopper,  Grace"}
    metadata = book.metadata.model_copy(update={"annotations": reviewed, "generation": 3})
    assert reviews.of(book.model_copy(update={"metadata": metadata})) == ()


def runbook_by(*names: str) -> Runbook:
    made = Runbook.model_validate({"spec": usual().spec.to_json()})
    metadata = ObjectMeta(name="pack", namespace="prod", annotations={EDITORS: "\n".join(names)})
    return made.model_copy(update={"metadata": metadata})
