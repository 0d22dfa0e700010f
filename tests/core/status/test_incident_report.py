"""The report of an Incident, whole, and with texts from people who mean harm."""

from datetime import timedelta

import pytest

from incident_operator.api.meta import Severity
from incident_operator.core import texts
from incident_operator.core.outcomes import Succeeded
from incident_operator.core.status import report
from incident_operator.core.texts import cell, code_span, markdown_text
from tests.core.builders import UNDO, alert, incident, job, read, scale, sql, usual
from tests.core.machine.simulation import Simulation, failed

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
The first mitigation was in place after 0s (objective 15m: met).

## What happened

PackFailed (1 alert; pack_date=2025-10-21) was detected at 2025-10-21T00:30:00Z: No fresh pack.
Found: look: 5 rows.
Done: serve-last-good (Users can run patterns again); grow; rebuild (Builds tonight's pack again); mark-fresh.
It ended as Resolved at 2025-10-21T00:39:00Z, after 9m.

## Timeline

| time | stage | what | how long |
|---|---|---|---|
| 2025-10-21T00:29:00Z | alert | PackFailed fires: No fresh pack |  |
| 2025-10-21T00:30:00Z | diagnose | look done: 5 rows |  |
| 2025-10-21T00:30:00Z | mitigate | serve-last-good done: 1 row changed |  |
| 2025-10-21T00:30:00Z | mitigate | grow done: 2 → 5 replicas |  |
| 2025-10-21T00:30:00Z | approval | asked for: rebuild, mark-fresh |  |
| 2025-10-21T00:34:00Z | approval | alice@dawsos.com approved rebuild, mark-fresh | waited 4m |
| 2025-10-21T00:34:00Z | remediate | rebuild done: Job finished |  |
| 2025-10-21T00:34:00Z | remediate | mark-fresh done: ok |  |
| 2025-10-21T00:34:00Z | verify | execute done: ok |  |
| 2025-10-21T00:39:00Z | restore | grow undone: ok |  |
| 2025-10-21T00:39:00Z | restore | serve-last-good undone: ok |  |

## What was changed

| step | what was done | result | before → after | undone? |
|---|---|---|---|---|
| serve-last-good | `do serve-last-good` | done: 1 row changed | `was id=PP-1, fresh=false` | yes, at 2025-10-21T00:39:00Z |
| grow | `do grow` | done: 2 → 5 replicas | `2 → 5` | yes, at 2025-10-21T00:39:00Z |
| rebuild | `do rebuild` | done: Job finished |  | stays |
| mark-fresh | `do mark-fresh` | done: ok |  | stays |

## Approvals

- 2025-10-21T00:34:00Z alice@dawsos.com approved rebuild, mark-fresh, plan {plan} (waited 4m)

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
    simulation = Simulation(RB_01, started.model_copy(update={"spec": spec}))
    simulation.script = {
        "look": [Succeeded({}, "5 rows")],
        "serve-last-good": [Succeeded({}, "1 row changed", captured={"was": [{"id": "PP-1", "fresh": False}]})],
        "grow": [Succeeded({}, "2 → 5 replicas", captured={"before": 2, "after": 5})],
        "rebuild": [Succeeded({}, "Job finished")],
    }
    simulation.go(timedelta(minutes=4)).approve().go(timedelta(minutes=5)).resolve().go()
    whole = simulation.status.approvals[0].plan_hash
    told = report.markdown(simulation.stored, RB_01.spec)
    assert told == GOLDEN.replace("{plan}", whole[:12])
    assert whole not in told
    assert f"plan `{whole}`" in report.markdown(simulation.stored, RB_01.spec, digests=True)


def test_hostile_texts_stay_text():
    hostile = (
        "</td><script>x</script> [click](http://evil) `rm` | a | \n## Approved by root\n- [x] done \x1b[2J\u202e\u200b"
    )
    simulation = Simulation(usual(), incident(alert(instance=hostile), alertname=hostile))
    simulation.script["look"] = [Succeeded({}, hostile)]
    simulation.script["serve"] = [failed(hostile)]
    told = report.markdown(simulation.go().stored, usual().spec)
    assert "<script>" not in told.replace("\\<script\\>", "")
    assert "[click](" not in told
    assert "\n## Approved by root" not in told
    assert "\n- [x]" not in told
    assert {texts.unseen(line) for line in told.splitlines()} == {None}
    rows = [line for line in told.splitlines() if line.startswith("| 2025")]
    assert rows
    assert all(_cells(row) == 4 for row in rows)
    changed = [line for line in told.splitlines() if line.startswith("| serve ")]
    assert all(_cells(row) == 5 for row in changed)


def test_an_open_incident_has_a_report_too_even_without_its_runbook():
    simulation = Simulation(usual()).go()
    told = report.markdown(simulation.stored, None)
    assert told.startswith("# pack-failed-5f2c1-1 · P2 · 2025-10-21\n\nApprove or reject by 01:00 UTC")
    assert "It stands at AwaitingApproval." in told
    assert "No approval was asked for." in told


def test_the_first_paragraph_tells_what_was_to_be_found_and_what_was():
    compiled = usual(
        diagnose=[
            read("packs", description="How old is the newest pack?", outputs={"fresh": "result.rows.size() > 1"}),
            read("polygon", outputs={"up": "result.rows.size() > 0"}),
        ]
    )
    simulation = Simulation(compiled)
    simulation.script = {
        "packs": [Succeeded({"rows": [{}]}, "1 row")],
        "polygon": [failed("503 from https://polygon.")],
    }
    told = report.markdown(simulation.go().stored, compiled.spec)
    found = (
        "Found: packs (How old is the newest pack?): 1 row, fresh = `false`; polygon: failed: 503 from https://polygon."
    )
    assert found in told.splitlines()


def test_links_of_the_alerts_are_told_once_each():
    more = {"runbook_url": "https://wiki.example/pack", "dashboard_url": "https://grafana.example/d/1?a=b"}
    alerts = [alert(each).model_copy(update=more) for each in range(3)]
    told = report.markdown(Simulation(usual(), incident(*alerts)).go().stored, None).splitlines()
    assert "Runbook of the alert: https://wiki.example/pack" in told
    assert "Dashboard: https://grafana.example/d/1?a=b" in told


def test_values_and_both_ends_of_a_change_are_told():
    simulation = Simulation(usual())
    details = {
        "statements": [{"statement": "UPDATE …", "params": {"pack": "PP-2", "days": [1, 2]}}],
        "before": {"params": {"pack": "PP-2"}},
    }
    simulation.does["serve"], simulation.details["serve"] = "UPDATE pack SET fresh = TRUE WHERE id = %(pack)s", details
    rows = {"was": [{"id": "PP-2", "fresh": False}], "became": [{"id": "PP-2", "fresh": True}]}
    simulation.script["serve"] = [Succeeded({}, "1 row changed", captured=rows)]
    (row,) = _rows(report.markdown(simulation.go().stored, usual().spec), "serve")
    assert "`UPDATE pack SET fresh = TRUE WHERE id = %(pack)s (pack=PP-2, days=[1, 2])`" in row
    assert "`id=PP-2, fresh=false → id=PP-2, fresh=true`" in row
    assert row.endswith("| not yet |")


def test_what_stays_after_an_abort_is_told_as_in_place():
    told = report.markdown(Simulation(usual()).go().abort().go().stored, usual().spec)
    (row,) = _rows(told, "serve")
    assert row.endswith("| no, it is still in place |")


def test_a_table_is_one_cell_for_one_text_also_in_code():
    assert cell(code_span("a | b `` c")) == "```a \\| b `` c```"
    assert code_span("`rm`") == "`` `rm` ``"
    assert code_span("") == ""


def test_a_plan_that_was_only_proposed_is_not_told_as_done():
    simulation = Simulation(usual()).go().reject().go()
    told = report.markdown(simulation.stored, usual().spec)
    assert "alice@dawsos.com rejected rebuild" in told
    assert not _rows(told, "rebuild")


def _rows(told: str, step: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith(f"| {step} |")]


def _cells(row: str) -> int:
    return row.replace("\\\\", "").replace("\\|", "").count("|") - 1


@pytest.mark.parametrize("text", ["# Approved by root", "* done", "+ done", "- [x] done", "~~~"])
def test_no_text_from_outside_opens_a_block_of_its_own(text):
    assert markdown_text(text).startswith("\\")
    assert markdown_text(f"said: {text}").startswith("said: ")
