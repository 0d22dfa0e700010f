"""What a plan says of a step: all that it binds, each value on one line that nothing can be mistaken for, and neither cut nor masked."""

from typing import Any

import pytest

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.incident import Phase, StepRecord
from incident_operator.api.runbook import Stage
from incident_operator.core import approval, texts
from incident_operator.core.action import Call, Preview
from incident_operator.core.machine.stages import call_of, entry_of
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Failure, Succeeded
from tests.core.builders import incident, post, runbook, view
from tests.core.machine.simulation import Simulation

FORGED = "a\nCommand: true\nPlan Hash: 0000\nIn Trial: 0 rows"
FORGED_LINES = {"Command: true", "Plan Hash: 0000", "In Trial: 0 rows", "Do: b", "b"}
HOSTILE = [FORGED, "\u202egnp.exe", "pro\u200bd", "\x1b[2J\x1b[H", "a\u2028Do: b", "a\rb", 'a"\n', "Do: nothing"]
RUN = Run("act", "act", Stage.REMEDIATE, 1, "k")
COMPILED = runbook(remediate=[post("act")])
POD = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}


def entry(preview: Preview) -> PlanEntry | str:
    subject = incident()
    record = StepRecord(name="act", stage=Stage.REMEDIATE, action="http", effect="unkeyed")
    status = subject.status.model_copy(update={"steps": [record]})
    seen = view(COMPILED, subject.model_copy(update={"status": status}))
    call = call_of(seen, RUN)
    assert isinstance(call, Call)
    return entry_of(seen, RUN, call, preview)


def made(*args: Any, **more: Any) -> PlanEntry:
    found = entry(Preview(*args, **more))
    assert isinstance(found, PlanEntry), found
    return found


def lines(value: Any) -> list[str]:
    """Every text of an entry as `kubectl describe` writes it: one that holds a line end takes several."""
    match value:
        case dict():
            return [line for key, item in value.items() for line in (*key.split("\n"), *lines(item))]
        case list():
            return [line for item in value for line in lines(item)]
        case _:
            return str(value).split("\n")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["argument", "value", "key", "statement", "what is done", "trial", "template"])
def test_no_value_can_look_like_another_part_of_the_plan(text: str, place: str) -> None:
    plain = made("do", {"command": ["a", "x"], "params": {"x": "x"}}, "1 row", whole={"template": {"x": "x"}})
    shown = {
        "argument": Preview("do", {"command": ["a", text], "params": {"x": "x"}}, "1 row"),
        "value": Preview("do", {"command": ["a", "x"], "params": {"x": text}}, "1 row"),
        "key": Preview("do", {"command": ["a", "x"], "params": {text: "x"}}, "1 row"),
        "statement": Preview("do", {"command": ["a", "x"], "params": {"x": {"y": [text]}}}, "1 row"),
        "what is done": Preview(text, {"command": ["a", "x"], "params": {"x": "x"}}, "1 row"),
        "trial": Preview("do", {"command": ["a", "x"], "params": {"x": "x"}}, text),
        "template": Preview("do", {"command": ["a", "x"]}, "1 row", whole={"template": {"x": text}}),
    }
    found = made(*(getattr(shown[place], name) for name in ("do", "details", "in_trial")), whole=shown[place].whole)
    told = lines(found.to_json())
    assert [texts.unseen(line) for line in told] == [None] * len(told)
    assert not FORGED_LINES & {line.strip() for line in told}
    if place not in {"what is done", "trial"}:
        assert "Do: nothing" not in {line.strip() for line in told}
    assert plain.step == found.step


def test_what_differs_only_in_what_nobody_sees_is_shown_differently() -> None:
    shown = [made("do", {"x": text}).details["x"] for text in ("prod", "pro\u200bd", "pro\\u200bd", '"pro\\u200bd"')]
    assert len(set(shown)) == 4


def test_a_null_is_shown_since_it_sets_something_to_nothing() -> None:
    found = made("do", {"json": {"price": None, "tags": [None, {"a": None}], "text": "null"}, "params": {"id": None}})
    assert found.details["json"] == {"price": "null", "tags": ["null", {"a": "null"}], "text": '"null"'}
    assert found.details["params"] == {"id": "null"}
    assert found == PlanEntry.model_validate_json(found.to_bytes()), "also once it was stored"
    assert made("do", whole={"template": {"a": None}}).details["template"] == ["{a: null}"]


def test_a_pod_template_is_shown_whole_a_line_each() -> None:
    found = made("create a Job", {}, whole={"template": POD})
    assert found.details["template"] == [
        "metadata:",
        '  labels: {app: "web"}',
        "spec:",
        "  containers:",
        '    - {name: "main", image: "busybox"}',
    ]


def test_what_is_beyond_the_ordinary_stands_first() -> None:
    found = made("do", {}, allows=("hostPath: volume root is / of the node",)).to_json()
    assert min(found) == "allows"
    assert "allows" not in made("do").to_json()


@pytest.mark.parametrize(
    ("preview", "told"),
    [
        (Preview("do", {"params": {f"p{n}": n for n in range(391)}}), "has 401 lines and "),
        (Preview("do", {"command": ["x"] * 391}), "has 401 lines and "),
        (Preview("do", {}, whole={"template": {"env": [{"name": "a" * 99}] * 390}}), "has 401 lines and "),
        (Preview("x" * 40_000), " bytes; a step may have "),
        (Preview("do", {"json": "→" * 11_000}), " bytes; a step may have "),
        (Preview("do", {}, allows=("hostPath: x",) * 500), "lines"),
    ],
)
def test_a_step_that_is_too_large_to_read_is_not_approvable(preview: Preview, told: str) -> None:
    found = entry(preview)
    assert isinstance(found, str)
    assert found.startswith("not approvable: its plan has ")
    assert told in found
    assert "a step may have 400 lines and 32768 bytes at most" in found
    assert "Split the step" in found


@pytest.mark.parametrize(
    "preview", [Preview("do", {"command": ["x"] * 390}), Preview("x" * 32_000), Preview("do", {"x": "→" * 10_000})]
)
def test_what_is_just_small_enough_is_shown_whole(preview: Preview) -> None:
    found = entry(preview)
    assert isinstance(found, PlanEntry)
    assert found == PlanEntry.model_validate(found.to_json())
    assert (found.do, found.details.get("command")) == (preview.do, preview.details.get("command"))


def test_the_last_byte_that_a_step_may_take_is_still_shown() -> None:
    room = approval.MAX_STEP_BYTES - len(made("").to_bytes())
    assert made("x" * room).do == "x" * room
    assert "has 9 lines and 32769 bytes" in str(entry(Preview("x" * (room + 1))))


def test_a_step_that_is_too_large_is_not_asked_for_and_the_message_says_what_helps() -> None:
    simulation = Simulation(runbook(remediate=[post("act")]))
    simulation.does["act"] = "x" * 40_000
    simulation.go()
    assert (simulation.status.phase, simulation.status.reason) == (Phase.NEEDS_HUMAN, "PlanFailed")
    assert simulation.status.message.startswith("The plan for act cannot be rendered: act: not approvable: ")
    assert "Split the step" in simulation.status.message
    assert simulation.status.pending_approval is None


def test_a_step_that_grew_too_large_to_read_since_it_was_approved_is_not_done() -> None:
    simulation = Simulation(runbook(remediate=[post("act")])).go().approve()
    simulation.does["act"] = "x" * 40_000
    simulation.go()
    assert simulation.done == []
    assert (simulation.status.approvals[-1].state.value, simulation.status.reason) == ("Voided", "PlanFailed")
    assert "not approvable" in simulation.status.approvals[-1].reason


def test_a_plan_takes_as_many_steps_as_a_person_can_read_and_the_others_are_asked_for_afterwards() -> None:
    names = ["a", "b", "c", "d"]
    simulation = Simulation(runbook(remediate=[post(name) for name in names]))
    simulation.does = dict.fromkeys(names, "x" * 31_000)
    simulation.go()
    assert simulation.pending.steps == ["a", "b", "c"]
    assert approval.size(simulation.pending.plan) <= approval.MAX_PLAN_BYTES
    simulation.approve().go()
    assert simulation.pending.steps == ["d"]
    simulation.approve().go()
    assert simulation.done == names


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (
            {"labels": {"app": "web"}},
            {"labels": {"app": "api"}},
            '["  labels: {app: \\"web\\"}"] → ["  labels: {app: \\"api\\"}"]',
        ),
        ({}, {"annotations": {"vault": "admin"}}, "annotations"),
    ],
)
def test_a_changed_label_or_annotation_of_the_pod_voids_and_is_told(then: Any, now: Any, told: str) -> None:
    pods = [
        {**POD, "metadata": meta, "spec": {**POD["spec"], "volumes": [{"name": f"v{n}"} for n in range(30)]}}
        for meta in (then, now)
    ]
    approved, rendered = (made("do", {}, whole={"template": pod}, bound=pod) for pod in pods)
    differs = approval.difference(approved, rendered, trial_binds=True)
    assert differs.startswith("act: template ")
    assert told in differs
    assert len(differs) < 500


def test_what_is_allowed_is_a_part_of_what_was_approved() -> None:
    approved, rendered = made("do"), made("do", allows=("hostPath: volume root is / of the node",))
    assert "allows null → " in approval.difference(approved, rendered, trial_binds=True)


@pytest.mark.parametrize("text", HOSTILE)
def test_an_output_reaches_what_is_done_as_it_was_and_stands_in_the_status_on_one_line(text: str) -> None:
    act = {"name": "act", "exec": {"target": "pod/db", "command": ["echo", "${steps.look.outputs.said}"]}}
    reads = {
        "name": "look",
        "sqlQuery": {"connection": "db", "statement": "SELECT 1"},
        "outputs": {"said": "result.rows[0].said"},
    }
    simulation = Simulation(runbook(diagnose=[reads], remediate=[act]))
    simulation.script["look"] = [Succeeded({"rows": [{"said": text}]}, text)]
    simulation.go()
    assert simulation.status.phase is Phase.AWAITING_APPROVAL
    call = call_of(simulation.view(simulation.status), Run("act", "act", Stage.REMEDIATE, 1, "k"))
    assert isinstance(call, Call)
    assert call.spec.command == ["echo", text]
    told = lines(simulation.status.to_json())
    assert [texts.unseen(line) for line in told] == [None] * len(told)
    assert not FORGED_LINES & set(told)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_service_can_forge_a_line_of_a_message(text: str) -> None:
    simulation = Simulation(runbook(remediate=[post("act")]))
    simulation.preview_problem = Failure("StatementFailed", f"the database says: {text}")
    simulation.go()
    told = lines(simulation.status.to_json())
    assert simulation.status.reason == "PlanFailed"
    assert [texts.unseen(line) for line in told] == [None] * len(told)
