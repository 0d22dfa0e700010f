"""The report of an Incident, whole, and with texts from people who mean harm."""

from datetime import timedelta

import pytest

from core.builders import UNDO, alert, incident, job, read, scale, sql, usual
from core.simulator import World, failed
from incident_operator.api.meta import Severity
from incident_operator.core import texts
from incident_operator.core.outcomes import Succeeded
from incident_operator.core.status import markdown, report

RB_01 = usual(
    title="RB-01: Pricing pack build failure",
    groupBy=["pack_date"],
    objectives={"acknowledge": "5m", "mitigate": "15m", "resolve": "2h"},
    mitigate=[
        sql("serve-last-good", description="Users can run patterns again.", undo=UNDO),
        scale("grow"),
    ],
    remediate=[job("rebuild", description="Builds tonight's pack again."), sql("mark-fresh")],
    verify=[read("execute")],
    review={"classification": "batch-job", "tags": ["pricing"], "tasks": ["Root cause analysis", "Review the SLO"]},
)
GOLDEN = """\
# RB-01: Pricing pack build failure · P1 · 2025-10-21

batch-job · pricing

Resolved in 9m. Done: serve-last-good, grow, rebuild, mark-fresh, undo-grow, undo-serve-last-good. Approved by alice@dawsos.com.
Users were better off after 0s (objective 15m: met).

## What happened

PackFailed (1 alert; pack_date=2025-10-21) was detected at 2025-10-21T00:30:00Z.
Diagnosis: look: ok.
It ended as Resolved at 2025-10-21T00:39:00Z.

## Timeline

| time | what | evidence |
|---|---|---|
| 2025-10-21T00:29:00Z | PackFailed fires: No fresh pack |  |
| 2025-10-21T00:30:00Z | diagnose look Succeeded: ok |  |
| 2025-10-21T00:30:00Z | mitigate serve-last-good Undone: 1 row changed |  |
| 2025-10-21T00:30:00Z | mitigate grow Undone: 2 → 5 replicas |  |
| 2025-10-21T00:34:00Z | alice@dawsos.com approved rebuild, mark-fresh | plan {plan} |
| 2025-10-21T00:34:00Z | remediate rebuild Succeeded: Job finished |  |
| 2025-10-21T00:34:00Z | remediate mark-fresh Succeeded: ok |  |
| 2025-10-21T00:34:00Z | verify execute Succeeded: ok |  |
| 2025-10-21T00:39:00Z | restore undo-grow Succeeded: ok |  |
| 2025-10-21T00:39:00Z | restore undo-serve-last-good Succeeded: ok |  |

## What was changed

| step | what | undone? |
|---|---|---|
| serve-last-good (Undone) | 1 row changed | Done |
| grow (Undone) | 2 → 5 replicas (2 → 5) | Done |
| rebuild (Succeeded) | do rebuild: Job finished | - |
| mark-fresh (Succeeded) | do mark-fresh: ok | - |
| undo-grow (Succeeded) | ok | - |
| undo-serve-last-good (Succeeded) | ok | - |

## Approvals

- 2025-10-21T00:34:00Z alice@dawsos.com approved rebuild, mark-fresh, plan `{hash}`

## Objectives

- acknowledge: met after 4m (promised within 5m, by 1m)
- mitigate: met after 0s (promised within 15m, by 15m)
- resolve: met after 9m (promised within 2h, by 1h51m)

## To do

- [ ] Root cause analysis
- [ ] Review the SLO
"""


def test_the_report_of_rb_01_tells_it_all():
    started = incident(pack_date="2025-10-21")
    spec = started.spec.model_copy(update={"group": {"pack_date": "2025-10-21"}, "severity": Severity.P1})
    world = World(RB_01, started.model_copy(update={"spec": spec}))
    world.script = {
        "serve-last-good": [Succeeded({}, "1 row changed")],
        "grow": [Succeeded({}, "2 → 5 replicas", captured={"before": 2, "after": 5})],
        "rebuild": [Succeeded({}, "Job finished")],
    }
    world.go(timedelta(minutes=4)).approve().go(timedelta(minutes=5)).resolve().go()
    whole = world.status.approvals[0].plan_hash
    golden = GOLDEN.replace("{plan}", whole[:12]).replace("{hash}", whole)
    assert report.markdown(world.stored, RB_01.spec) == golden


def test_hostile_texts_stay_text():
    hostile = (
        "</td><script>x</script> [click](http://evil) `rm` | a | \n## Approved by root\n- [x] done \x1b[2J\u202e\u200b"
    )
    world = World(usual(), incident(alert(instance=hostile), alertname=hostile))
    world.script["look"] = [Succeeded({}, hostile)]
    world.script["serve"] = [failed(hostile)]
    told = report.markdown(world.go().stored, usual().spec)
    assert "<script>" not in told.replace("\\<script\\>", "")
    assert "[click](" not in told
    assert "\n## Approved by root" not in told
    assert "\n- [x]" not in told
    assert {texts.unseen(line) for line in told.splitlines()} == {None}
    rows = [line for line in told.splitlines() if line.startswith("| 2025")]
    assert rows
    assert all(_cells(row) == 3 for row in rows)


def test_an_open_incident_has_a_report_too_even_without_its_runbook():
    world = World(usual()).go()
    told = report.markdown(world.stored, None)
    assert told.startswith("# pack-failed-5f2c1-1 · P2 · 2025-10-21\n\nApprove or reject by 01:00 UTC")
    assert "It stands at AwaitingApproval." in told
    assert "None was asked for." in told


def test_a_plan_that_was_only_proposed_is_not_told_as_done():
    world = World(usual()).go().reject().go()
    told = report.markdown(world.stored, usual().spec)
    assert "alice@dawsos.com rejected rebuild" in told
    assert "| rebuild (" not in told


def _cells(row: str) -> int:
    return row.replace("\\\\", "").replace("\\|", "").count("|") - 1


@pytest.mark.parametrize("text", ["# Approved by root", "* done", "+ done", "- [x] done", "~~~"])
def test_no_text_from_outside_opens_a_block_of_its_own(text):
    assert markdown.plain(text).startswith("\\")
    assert markdown.plain(f"said: {text}").startswith("said: ")
