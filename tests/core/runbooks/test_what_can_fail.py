"""A `verify` step that nothing can fail is a problem; a `retry` that covers next to nothing is a warning."""

import pytest

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks.advice import warnings_of
from incident_operator.core.runbooks.compiler import Compiled, compile_runbook
from incident_operator.core.runbooks.limits import COVERS

READS = {
    "logs": {"from": "deployment/web"},
    "get": {"apiVersion": "v1", "kind": "Pod", "name": "web"},
    "promql": {"connection": "metrics", "query": "up"},
    "http": {"connection": "api"},
    "sqlQuery": {"connection": "db", "statement": "SELECT 1"},
}
NEEDED = "a verify step needs an expect: without one, any result counts as verified; say what has to be true, e.g. "


def compiled(stage: str, **step: object) -> Compiled | list[str]:
    spec = {"title": "t", "serviceAccountName": "rb", "match": ["a=b"], stage: [{"name": "one", **step}]}
    found = compile_runbook(Runbook.model_validate({"spec": spec}), None, ACTIONS)
    return found if isinstance(found, Compiled) else [f"{problem.path}: {problem.message}" for problem in found]


def test_every_action_that_reads_is_tried():
    assert set(READS) == {action.key for action in ACTIONS if action.may_read}


@pytest.mark.parametrize("action", READS)
def test_a_verify_step_without_an_expectation_is_a_problem(action):
    found = compiled("verify", **{action: READS[action]})
    assert isinstance(found, list)
    (problem,) = found
    assert problem.startswith(f"spec.verify[0].expect: {NEEDED}result.")
    example = problem.removeprefix(f"spec.verify[0].expect: {NEEDED}")
    assert isinstance(compiled("verify", **{action: READS[action]}, expect=example), Compiled)


@pytest.mark.parametrize("stage", ["diagnose", "mitigate", "remediate", "restore"])
def test_other_stages_may_look_without_one(stage):
    assert isinstance(compiled(stage, http=READS["http"]), Compiled)


@pytest.mark.parametrize(
    "expect",
    [
        *("true", "1 == 1", "'result' == 'result'", "size('a') > 0", "!false || false"),
        *("true || result.status == 200", "result.status == 200 || 1 == 1", "false && result.status == 200"),
        *("has(result.status)", "!has(result.json)", "has( result.body ) || result.status == 200"),
        *("true ? true : result.status == 200", "incident.resolved || true"),
    ],
)
def test_an_expectation_that_nothing_can_change_is_a_problem(expect):
    found = compiled("verify", http=READS["http"], expect=expect)
    assert found == [
        "spec.verify[0].expect: has the same value whatever the step finds; say what has to be true of result"
    ]


@pytest.mark.parametrize(
    "expect",
    [
        *("result.status == 200", "now() > timestamp('2025-10-21T00:00:00Z')", "incident.resolved"),
        *("has(result.json.ready)", "has(result.status) && result.status == 200", "!('x-error' in result.headers)"),
        *("result.json.?ready.orValue(true)", "result.status == 200 ? true : false"),
    ],
)
def test_one_that_something_can_change_is_fine(expect):
    assert isinstance(compiled("verify", http=READS["http"], expect=expect), Compiled)


SENT = {"http": {"connection": "api", "method": "POST"}}
KEYED = {"http": {"connection": "api", "method": "POST", "idempotencyKey": "Idempotency-Key"}}
JOB = {"job": {"from": "deployment/web"}}
RUN = {"exec": {"target": "pod/web", "command": ["true"]}}
SQL = {"sqlExecute": {"connection": "db", "statement": "UPDATE t SET a = 1", "maxRows": 1}}
UNSENT = "covers only what was never sent"
A_JOB = "covers only a workload that does not exist"


@pytest.mark.parametrize(
    ("step", "attempts", "told"),
    [
        (SENT, 3, UNSENT),
        (RUN, 3, UNSENT),
        (JOB, 3, A_JOB),
        (KEYED, 3, "covers nothing more"),
        (SQL, 3, ""),
        ({"http": READS["http"]}, 3, ""),
        ({"promql": READS["promql"]}, 2, ""),
        ({"promql": READS["promql"]}, 1, "1 is the first attempt"),
    ],
)
def test_a_retry_that_covers_next_to_nothing_is_a_warning(step, attempts, told):
    found = compiled("remediate", **step, retry={"attempts": attempts})
    assert isinstance(found, Compiled)
    warned = [warning.message for warning in warnings_of(found)]
    assert [warning.startswith(told) for warning in warned] == ([True] if told else [])


def test_what_a_retry_covers_is_said_of_every_effect():
    assert set(COVERS) == {effect for action in ACTIONS for effect in action.effects}
