"""The compiler on good Runbooks: what is compiled is what the engine needs."""

from pathlib import Path

import pytest
import yaml

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook, Stage
from incident_operator.core.expressions import evaluation, templates
from incident_operator.core.expressions.cel import StepFact
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks import compiler, parameters
from incident_operator.core.runbooks.compiler import Compiled
from tests.core.runbooks.runbook_texts import CONNECTIONS, NOW, changed, compile_spec, facts, spec

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("runbook*.yaml"))
ALERT = {"labels": {"pack_date": "2025-10-21"}, "annotations": {}, "startsAt": "", "status": "firing"}


def compiled(document: dict | None = None) -> Compiled:
    found = compile_spec(document or spec())
    assert isinstance(found, Compiled), "\n".join(map(str, found))
    return found


def test_a_whole_runbook_compiles_into_its_steps_in_running_order():
    runbook = compiled()
    names = ["build-log", "packs", "build-time", "serve-last-good", "rebuild", "mark-fresh", "execute"]
    assert list(runbook.steps) == names
    assert [step.step.name for step in runbook.stage(Stage.REMEDIATE)] == ["rebuild", "mark-fresh"]
    assert runbook.stage(Stage.RESTORE) == ()
    assert [step.act.effect for step in runbook.stage(Stage.REMEDIATE)] == [Effect.K8S_CREATE, Effect.SQL_TX]
    assert runbook.steps["execute"].path == "spec.verify[0]"


def test_an_alert_becomes_parameters_answers_and_the_rendered_act():
    runbook = compiled()
    params = parameters.resolve(runbook.parameters, ALERT, NOW)
    assert params == {"date": "2025-10-21"}
    rows = [{"id": f"PP-{day}", "date": day, "is_fresh": False} for day in ("2025-10-21", "2025-10-20", "2025-10-17")]
    answers = evaluation.outputs(runbook.steps["packs"].outputs, facts(params), NOW, {"rows": rows})
    assert answers.values == {"lastGood": "PP-2025-10-20", "fresh": False}
    known = facts(params, packs=StepFact("Succeeded", answers.values))
    serve = runbook.steps["serve-last-good"]
    assert serve.when is not None
    assert evaluation.condition(serve.when, known, NOW) is True
    rendered = templates.render(serve.act.template, known, NOW)
    assert rendered.params == {"id": "PP-2025-10-20"}
    assert rendered.before.params == {"id": "PP-2025-10-20"}


def test_an_undo_sees_what_its_own_step_found_out():
    serve = compiled().steps["serve-last-good"]
    known = facts(
        packs=StepFact("Succeeded", {"lastGood": "PP-2025-10-20"}), serve_last_good=StepFact("Succeeded", {"served": 1})
    )
    assert serve.undo is not None
    assert templates.render(serve.undo.act.template, known, NOW).params == {"id": "PP-2025-10-20", "served": 1}
    assert (serve.undo.act.key, serve.undo.act.effect, serve.undo.natural) == ("sqlExecute", Effect.SQL_TX, False)


def test_a_mitigation_that_captures_what_it_replaces_is_undone_without_being_told():
    scale = {"name": "more", "scale": {"target": "deployment/web", "replicas": 5}}
    step = compiled(changed("mitigate.0", scale)).steps["more"]
    assert step.undo is not None
    assert step.undo.natural
    assert step.undo.act is step.act
    assert compiled(changed("remediate.0", scale)).steps["more"].undo is None


def test_a_probe_and_its_expectation_are_compiled():
    probe = {"http": {"connection": "api", "path": "/runs/${params.date}"}, "expect": "result.json.done"}
    step = {"name": "replay", "http": {"connection": "api", "method": "POST", "path": "/replay"}, "probe": probe}
    replay = compiled(changed("remediate.0", step)).steps["replay"]
    assert replay.act.effect is Effect.UNKEYED
    assert replay.probe is not None
    assert templates.render(replay.probe.act.template, facts({"date": "2025-10-21"}), NOW).path == "/runs/2025-10-21"
    assert evaluation.condition(replay.probe.expect, facts(), NOW, {"json": {"done": True}}) is True


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("diagnose.2.promql.params", {"pack": "${steps.packs.outputs.lastGood}"}),
        ("diagnose.1.outputs.state", 'steps["build-log"].state'),
        ("verify.0.when", 'steps.rebuild.state == "Succeeded" && steps["serve-last-good"].outputs.served == 1'),
        ("verify.0.expect", "has(result.json.ok) || result.status < 300"),
        ("mitigate.0.when", "has(steps.packs.outputs.fresh) && !steps.packs.outputs.fresh"),
        ("mitigate.0.when", "incident.alerts.exists(a, a.labels.tier == 'gold')"),
        ("mitigate.0.undo", {"http": {"connection": "api", "method": "DELETE", "path": "/flag"}}),
        ("mitigate.0.sqlExecute.before.statement", "SELECT 1 -- ; 'x' ;"),
        ("mitigate.0.sqlExecute.statement", "UPDATE x SET a = %(id)s, by = %(marker)s WHERE b LIKE '5%%' -- 100%%\n;"),
        ("diagnose.1.sqlQuery.statement", "/* newest */ (SELECT 1) UNION SELECT 2"),
        ("restore", [{"name": "replay", "http": {"connection": "api", "method": "POST", "path": "/replay"}}]),
        ("remediate.0.job.command", ["echo", "$${HOME}", "${ {'a': params.date}.a }"]),
        ("remediate.0.retry", {"attempts": 2}),
        ("parameters", [{"name": "date", "type": "date", "default": "2025-10-21"}]),
    ],
)
def test_what_is_right_is_not_complained_about(path, value):
    compiled(changed(path, value))


def test_a_protective_mitigation_needs_no_undo():
    revoke = {
        "name": "revoke",
        "protective": True,
        "http": {"connection": "api", "method": "DELETE", "path": "/keys/1"},
    }
    assert compiled(changed("mitigate.0", revoke)).steps["revoke"].undo is None


def test_without_a_list_of_connections_they_are_not_checked():
    document = changed("verify.0.http.connection", "elsewhere")
    assert isinstance(compile_spec(document, None), Compiled)
    assert isinstance(compile_spec(document, CONNECTIONS), tuple)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_compile(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document["kind"] == "Runbook"]
    assert documents
    for document in documents:
        found = compiler.compile_runbook(Runbook.model_validate(document), None, ACTIONS)
        assert isinstance(found, Compiled), "\n".join(map(str, found))


def test_there_are_examples():
    assert EXAMPLES
