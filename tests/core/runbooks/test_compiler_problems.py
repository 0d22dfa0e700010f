"""The compiler on bad Runbooks: the place, what is wrong, what would be right, and a caret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks.compiler import MAX_PROBLEMS, Problem, compile_runbook
from tests.core.runbooks.runbook_texts import changed, compile_spec, spec

READ = {"name": "look", "sqlQuery": {"connection": "dawsos-read", "statement": "SELECT 1"}}
POST = {"name": "post", "http": {"connection": "api", "method": "POST", "path": "/x"}}
SCALE = {"name": "more", "scale": {"target": "deployment/web", "replicas": 5}}


def problems(document: dict) -> tuple[Problem, ...]:
    found = compile_spec(document)
    assert isinstance(found, tuple), "it compiled"
    return found


STAGES = [
    ("verify.0.name", "packs", "spec.diagnose[1].name", "packs is the name of 2 steps; each needs its own"),
    ("verify.0.name", "undo-packs", "spec.verify[0].name", "undo-packs begins with undo-, which is kept for undos"),
    ("diagnose.0", SCALE, "spec.diagnose[0].scale", "diagnose only reads, and this scale changes things (k8s-patch)"),
    (
        "verify.0.http.safe",
        False,
        "spec.verify[0].http",
        (
            "verify only reads, and this http changes things (unkeyed); "
            "an http request that changes nothing is declared safe: true"
        ),
    ),
    (
        "mitigate.0.undo",
        None,
        "spec.mitigate[0].undo",
        "sqlExecute in mitigate needs an undo; or move it to remediate, or declare it protective: true",
    ),
    (
        "mitigate.0.undo",
        {"sqlQuery": READ["sqlQuery"]},
        "spec.mitigate[0].undo.sqlQuery",
        "sqlQuery only reads, so it undoes nothing",
    ),
    (
        "mitigate.1",
        {**READ, "undo": {"scale": SCALE["scale"]}},
        "spec.mitigate[1].undo",
        "the step only reads, so there is nothing to undo",
    ),
    (
        "restore",
        [{**SCALE, "undo": {"scale": SCALE["scale"]}}],
        "spec.restore[0].undo",
        "restore is where things are taken back; its own steps are not undone",
    ),
    (
        "remediate.0",
        {**SCALE, "undo": {"scale": SCALE["scale"]}},
        "spec.remediate[0].undo",
        "a remediation is permanent; a change that is to be undone belongs in mitigate",
    ),
    (
        "remediate.0",
        {**POST, "http": {**POST["http"], "json": {"pod": "${incident.alerts[0].labels.pod}"}}},
        "spec.remediate[0].http.json.pod",
        "incident.alerts holds text that any sender may have written; pass the value by a typed parameter",
    ),
    (
        "diagnose.0.outputs",
        {"pod": "incident.alerts[0].labels.pod"},
        "spec.diagnose[0].outputs.pod",
        "incident.alerts holds text that any sender may have written; pass the value by a typed parameter",
    ),
    (
        "remediate.0",
        {**POST, "http": {**POST["http"], "json": {"at": "${string(now())}"}}},
        "spec.remediate[0].http.json.at",
        "changes over time, so after a restart the act would differ from the one that was started",
    ),
    (
        "remediate.0.protective",
        True,
        "spec.remediate[0].protective",
        "is for mitigate only; remediate does not need it",
    ),
    (
        "mitigate.0.protective",
        True,
        "spec.mitigate[0].protective",
        "is for what cannot be undone, and this step declares an undo",
    ),
    (
        "remediate.0",
        {**POST, "probe": {"http": POST["http"], "expect": "true"}},
        "spec.remediate[0].probe.http",
        "a probe only reads, and this http changes things",
    ),
    (
        "remediate.0.probe",
        {"sqlQuery": READ["sqlQuery"], "expect": "true"},
        "spec.remediate[0].probe",
        "is for an unkeyed act; k8s-create needs no probe after a crash",
    ),
    ("verify.0.approval", {"expiresAfter": "5m"}, "spec.verify[0].approval", "the step only reads, so nobody is asked"),
]
TIMING = [
    ("verify.0.expect", None, "spec.verify[0].until", "polls until expect is true, but the step has no expect"),
    (
        "remediate.0",
        {**POST, "expect": "true", "until": {"every": "1s", "for": "5s"}},
        "spec.remediate[0].until",
        "would repeat an act (unkeyed); only a read can be polled",
    ),
    (
        "verify.0.retry",
        {"attempts": 2},
        "spec.verify[0].retry",
        "a polled step is tried again anyway; leave out retry or until",
    ),
    (
        "verify.0.until.every",
        "3m",
        "spec.verify[0].until.every",
        "3m is longer than for (2m), so it would look only once",
    ),
    ("verify.0.until.every", "0s", "spec.verify[0].until.every", "0s is not longer than 0s; write for example 30s"),
    ("remediate.0.timeout", "0ms", "spec.remediate[0].timeout", "0ms is not longer than 0s; write for example 30s"),
    ("objectives.resolve", "0h", "spec.objectives.resolve", "0h is not longer than 0s; write for example 30s"),
    ("resolveTimeout", "0s", "spec.resolveTimeout", "0s is not longer than 0s; write for example 30s"),
    (
        "remediate.0.approval.expiresAfter",
        "0s",
        "spec.remediate[0].approval.expiresAfter",
        "0s is not longer than 0s; write for example 30s",
    ),
]
OWN_RULES = [
    ("verify.0.http.path", "/a?b=c", "spec.verify[0].http.path", "holds ? or #; what follows a ? goes into query"),
    (
        "remediate.1.sqlExecute.statements.1.params.marker",
        "x",
        "spec.remediate[1].sqlExecute.statements[1].params.marker",
        "is taken: %(marker)s is bound to the step key; choose another name",
    ),
    ("verify.0.http.connection", "apis", "spec.verify[0].http.connection", "there is no Connection apis in this namespace; of type http: api"),
    ("verify.0.http.connection", "metrics", "spec.verify[0].http.connection", "Connection metrics is of type prometheus; http needs http"),
    ("mitigate.0.undo.sqlExecute.connection", "x", "spec.mitigate[0].undo.sqlExecute.connection", "there is no Connection x in this namespace; of type postgres: dawsos-read, dawsos-write"),
    ("diagnose.0.logs.from", None, "spec.diagnose[0].logs", "needs one of from, selector, pod (found none)"),
    ("diagnose.0.logs.selector", {"a": "b"}, "spec.diagnose[0].logs", "needs one of from, selector, pod (found from and selector)"),
    ("remediate.0.job.from", None, "spec.remediate[0].job", "needs either from or template (found neither)"),
    ("mitigate.0.sqlExecute.statement", None, "spec.mitigate[0].sqlExecute", "needs either statement or statements (found neither)"),
    ("diagnose.0.logs.pattern", "(?P<a", "spec.diagnose[0].logs.pattern", "not a regular expression (RE2): invalid named capture group: (?P<a"),
    ("verify.0.http.path", "/a/../b", "spec.verify[0].http.path", "climbs out of the Connection's URL: a segment is . or .."),
    ("verify.0.http.body", "x", "spec.verify[0].http.body", "a request has one body: either json or body"),
    ("mitigate.0", {"name": "more", "scale": {"target": "deployment/w", "replicas": "5"}}, "spec.mitigate[0].scale.replicas", "'5' is text; write a number, or ${…} for one"),
    ("mitigate.0", {"name": "more", "scale": {"target": "deployment/w", "replicas": 101}}, "spec.mitigate[0].scale.replicas", "101 is not between 0 and maxReplicas (100)"),
    ("diagnose.1.sqlQuery.statement", "DELETE FROM x", "spec.diagnose[1].sqlQuery.statement", "begins with DELETE; allowed are SELECT, SHOW, TABLE, VALUES, WITH"),
    ("remediate.1.sqlExecute.statements.0.statement", "TRUNCATE x", "spec.remediate[1].sqlExecute.statements[0].statement", "begins with TRUNCATE; allowed are DELETE, INSERT, MERGE, SELECT, UPDATE, WITH"),
    ("mitigate.0.sqlExecute.before.statement", "LOCK x", "spec.mitigate[0].sqlExecute.before.statement", "begins with LOCK; allowed are SELECT, SHOW, TABLE, VALUES, WITH"),
    ("mitigate.0", {"name": "flush", "exec": {"target": "pod/a", "command": ["flush"]}}, "spec.mitigate[0].undo", "exec in mitigate needs an undo; or move it to remediate, or declare it protective: true"),
    ("diagnose.0", {"name": "flush", "exec": {"target": "pod/a", "command": ["flush"]}}, "spec.diagnose[0].exec", "diagnose only reads, and this exec changes things (unkeyed)"),
    ("remediate.0", {"name": "flush", "exec": {"target": "pod/a", "command": ["flush"], "pattern": "(?P<a"}}, "spec.remediate[0].exec.pattern", "not a regular expression (RE2): invalid named capture group: (?P<a"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "value", "path", "message"), STAGES + TIMING + OWN_RULES)
def test_a_defect_is_told_with_its_place(change, value, path, message):
    found = {problem.path: problem.message for problem in problems(changed(change, value))}
    assert found.get(path) == message, found


@pytest.mark.parametrize(
    ("change", "value", "shown"),
    [
        (
            "mitigate.0.when",
            "!steps.pack.outputs.fresh",
            "spec.mitigate[0].when: steps has no pack; did you mean packs?\n!steps.pack.outputs.fresh\n ^",
        ),
        (
            "mitigate.0.when",
            "steps.packs.outputs.frehs",
            "spec.mitigate[0].when: outputs of packs has no frehs; did you mean fresh?\nsteps.packs.outputs.frehs\n^",
        ),
        (
            "mitigate.0.when",
            "steps.packs.output.fresh",
            "spec.mitigate[0].when: step packs has no output; did you mean outputs?\nsteps.packs.output.fresh\n^",
        ),
        (
            "mitigate.0.when",
            "steps.rebuild.state == 'Failed'",
            (
                "spec.mitigate[0].when: rebuild does not come before this step, so it has no answers yet\n"
                "steps.rebuild.state == 'Failed'\n^"
            ),
        ),
        (
            "mitigate.0.when",
            'steps["serve-last-good"].state == "Failed"',
            (
                "spec.mitigate[0].when: serve-last-good does not come before this step, so it has no answers yet\n"
                'steps["serve-last-good"].state == "Failed"\n^'
            ),
        ),
        (
            "verify.0.when",
            "true && steps.serve-last-good.outputs.served > 0",
            (
                'spec.verify[0].when: a name with a hyphen is written steps["serve-last-good"]\n'
                "true && steps.serve-last-good.outputs.served > 0\n              ^"
            ),
        ),
        (
            "verify.0.when",
            "steps[params.date].state == 'Failed'",
            (
                "spec.verify[0].when: steps needs a fixed name, such as steps.packs or "
                "steps[\"pause-alerts\"]\nsteps[params.date].state == 'Failed'\n^"
            ),
        ),
        (
            "mitigate.0.sqlExecute.params.id",
            "PP-${params.dat}",
            "spec.mitigate[0].sqlExecute.params.id: params has no dat; did you mean date?\nparams.dat\n^",
        ),
        (
            "mitigate.0.sqlExecute.params.id",
            "${params.size()}",
            (
                "spec.mitigate[0].sqlExecute.params.id: params needs the name of a parameter after it, such as params.date\n"
                "params.size()\n^"
            ),
        ),
        (
            "mitigate.0.undo.sqlExecute.params.id",
            "${steps.rebuild.state}",
            (
                "spec.mitigate[0].undo.sqlExecute.params.id: rebuild does not come before this step, so it has no answers yet\n"
                "steps.rebuild.state\n^"
            ),
        ),
        (
            "mitigate.0.when",
            "incident.severty == 'P1'",
            "spec.mitigate[0].when: incident has no severty; did you mean severity?\nincident.severty == 'P1'\n^",
        ),
        (
            "verify.0.expect",
            "result.stauts == 200",
            "spec.verify[0].expect: the result of http has no stauts; did you mean status?\nresult.stauts == 200\n^",
        ),
        (
            "diagnose.1.outputs.fresh",
            "result.rows.exists(r, r.is_fresh",
            (
                "spec.diagnose[1].outputs.fresh: ')' is missing at the end\n"
                "result.rows.exists(r, r.is_fresh\n                                ^"
            ),
        ),
        (
            "verify.0.expect",
            "result.status",
            None,
        ),
        (
            "verify.0.expect",
            "size(result.body)",
            "spec.verify[0].expect: gives int, but a condition gives true or false\nsize(result.body)\n^",
        ),
        (
            "match.0",
            "severity~page",
            (
                "spec.match[0]: expected =, !=, =~ or !~ after the label name; write for example "
                'severity=~"critical|page"\nseverity~page\n        ^'
            ),
        ),
        (
            "parameters.0.from",
            "alert.lables.pack_date",
            (
                "spec.parameters[0].from: an alert has no lables; it has annotations, labels, startsAt, status\n"
                "alert.lables.pack_date\n^"
            ),
        ),
        (
            "diagnose.1.sqlQuery.statement",
            "SELECT 1; DROP TABLE x",
            (
                "spec.diagnose[1].sqlQuery.statement: a second statement begins here; list several under statements of "
                "sqlExecute\nSELECT 1; DROP TABLE x\n          ^"
            ),
        ),
        (
            "diagnose.1.sqlQuery.statement",
            "SELECT 1 WHERE a = %(x)s",
            "spec.diagnose[1].sqlQuery.statement: params has no x\nSELECT 1 WHERE a = %(x)s\n                   ^",
        ),
        (
            "diagnose.1.sqlQuery.statement",
            "SELECT 1\nWHERE a LIKE '5%'",
            (
                "spec.diagnose[1].sqlQuery.statement: a percent sign in SQL is written %%; a value is written %(name)s\n"
                "WHERE a LIKE '5%'\n               ^"
            ),
        ),
        (
            "mitigate.0.sqlExecute.statement",
            "UPDATE x SET a = '%(id)s'",
            (
                "spec.mitigate[0].sqlExecute.statement: %(id)s is inside quotes; a bound value needs none\n"
                "UPDATE x SET a = '%(id)s'\n                  ^"
            ),
        ),
        (
            "diagnose.2.promql.query",
            "up{pack=%(pak)s} % 60",
            "spec.diagnose[2].promql.query: params has no pak\nup{pack=%(pak)s} % 60\n        ^",
        ),
        (
            "mitigate.0.sqlExecute.statement",
            "UPDATE x SET a = '${params.date}'",
            (
                "spec.mitigate[0].sqlExecute.statement: is taken as it is written, so it cannot hold ${…}; "
                "pass the value by a parameter"
            ),
        ),
        (
            "remediate.0.job.command.4",
            "${params.date",
            "spec.remediate[0].job.command[4]: ${ is never closed by }; write $${ for the text ${\n${params.date\n^",
        ),
    ],
)
def test_a_defect_in_an_expression_is_shown_as_people_see_it(change, value, shown):
    document = changed(change, value)
    if shown is None:
        assert not isinstance(compile_spec(document), tuple)
        return
    assert shown in [str(problem) for problem in problems(document)]


def test_every_defect_is_told_at_once():
    document = changed("mitigate.0.when", "steps.pack.outputs.fresh")
    document["verify"][0]["expect"] = "result.status =="
    document["verify"][0]["http"]["connection"] = "nowhere"
    document["match"][0] = "alertname"
    assert {problem.path for problem in problems(document)} == {
        "spec.match[0]",
        "spec.verify[0].expect",
        "spec.mitigate[0].when",
        "spec.verify[0].http.connection",
    }


def test_a_probe_sees_the_result_of_its_own_action():
    probe = {"sqlQuery": READ["sqlQuery"], "expect": "result.status == 200"}
    (problem,) = problems(changed("remediate.0", {**POST, "probe": probe}))
    assert problem.path == "spec.remediate[0].probe.expect"
    assert problem.message == "the result of sqlQuery has no status; it has rows, truncated"


@pytest.mark.parametrize(
    ("change", "value", "path", "found"),
    [
        ("verify.0.scale", SCALE["scale"], "spec.verify[0]", "http, scale"),
        ("verify.0.http", None, "spec.verify[0]", "none"),
        ("mitigate.0.undo", {}, "spec.mitigate[0].undo", "none"),
        ("mitigate.0.probe", {"expect": "true"}, "spec.mitigate[0].probe", "none"),
    ],
)
def test_a_step_without_exactly_one_action_is_told_even_past_the_api(change, value, path, found):
    (problem,) = problems(changed(change, value))
    assert str(problem) == f"{path}: exactly one action (found {found})"


@pytest.mark.parametrize(
    ("change", "value", "told"),
    [
        (
            "mitigate.0",
            {"name": "a", "scale": {"target": "deployment/web"}},
            "spec.mitigate[0].scale: needs either replicas or atLeast (found neither)",
        ),
        (
            "mitigate.0.undo.sqlExecute.maxRows",
            "many",
            "spec.mitigate[0].undo.sqlExecute.maxRows: Input should be a valid integer",
        ),
        ("verify.0.http", "GET /", "spec.verify[0].http: Input should be a valid dictionary"),
        (
            "remediate.1.sqlExecute.statements.1",
            {},
            "spec.remediate[1].sqlExecute.statements[1].statement: Field required",
        ),
        ("diagnose.0.logs.from", "web", "spec.diagnose[0].logs.from: String should match pattern"),
    ],
)
def test_a_malformed_action_is_told_with_its_place_even_past_the_api(change, value, told):
    (problem,) = problems(changed(change, value))
    assert str(problem).startswith(told)


def test_every_malformed_action_is_told_at_once():
    document = changed("verify.0.http", "GET /")
    document["diagnose"][0]["logs"] = []
    assert [problem.path for problem in problems(document)] == ["spec.diagnose[0].logs", "spec.verify[0].http"]


def test_what_an_action_of_this_version_does_not_know_is_left_alone():
    assert not isinstance(compile_spec(changed("verify.0.http.fromTheFuture", {"a": 1})), tuple)
    assert not isinstance(compile_spec(changed("verify.0.fromTheFuture", {"a": 1})), tuple)


def test_the_list_of_defects_is_bounded():
    document = spec()
    document["remediate"] = [{**READ, "name": f"r{at}", "when": "nope"} for at in range(50)]
    document["verify"] = [{**READ, "name": f"v{at}", "when": "nope"} for at in range(50)]
    assert len(problems(document)) == MAX_PROBLEMS


WORDS = st.lists(
    st.sampled_from(
        [
            "steps",
            ".",
            "packs",
            "outputs",
            "fresh",
            "${",
            "}",
            "(",
            ")",
            "[",
            "]",
            "'",
            '"',
            "params",
            "date",
            "result",
            "status",
            "==",
            "&&",
            "!",
            "%",
            "%(id)s",
            ";",
            "1",
        ]
    ),
    max_size=12,
).map(" ".join)
PLACES = st.sampled_from(
    ["mitigate.0.when", "verify.0.expect", "diagnose.1.outputs.fresh", "mitigate.0.sqlExecute.params.id",
     "mitigate.0.sqlExecute.statement", "remediate.0.job.command.0", "parameters.0.from", "match.0",
     "diagnose.0.logs.pattern", "diagnose.2.promql.query"]
)  # fmt: skip


@given(PLACES, st.text(min_size=1, max_size=60) | WORDS.filter(bool))
def test_whatever_is_written_anywhere_compiles_or_is_a_defect_at_that_place(place, text):
    found = compile_spec(changed(place, text))
    if isinstance(found, tuple):
        start = "spec." + place.split(".")[0]
        assert all(problem.path.startswith(start) or "steps" in problem.excerpt for problem in found)
        assert all(str(problem) for problem in found)


def test_a_runbook_that_is_only_what_the_api_requires_compiles():
    least = {"title": "t", "serviceAccountName": "sa", "match": ['a="b"']}
    assert not isinstance(compile_runbook(Runbook.model_validate({"spec": least}), {}, ACTIONS), tuple)
