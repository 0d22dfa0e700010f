"""Rendering: values reach their fields whole, with their type, and are never read again."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.actions import ACTIONS
from incident_operator.actions.http import Http
from incident_operator.actions.sql.query import SqlQuery
from incident_operator.api.meta import Model
from incident_operator.api.runbook import Undo
from incident_operator.core.expressions import templates
from incident_operator.core.expressions.cel import StepFact
from incident_operator.core.expressions.templates import RenderError
from incident_operator.core.runbooks import reading
from tests.core.runbooks.runbook_texts import NOW, facts

HOSTILE = [
    "it's",
    '"quoted"',
    "$(rm -rf /)",
    "$(DB_PASSWORD)",
    "${params.secret}",
    "$${params.secret}",
    "'; DROP TABLE pricing_pack; --",
    "line\nbreak\r\n",
    "../../admin",
    "a/b?c=d#e",
    "%(id)s %s %%",
    "{{ .Values }}",
    "\u202eevil",
    "é漢字🙂",
    "x" * 2000,
]


def prepared(written: dict) -> templates.Template:
    read = reading.parse(Undo.model_validate(written), "spec.verify[0]", ACTIONS)
    return templates.prepare(read.spec, read.action.rendering, read.path)


def rendered(written: dict, params: dict | None = None, **steps: StepFact):
    template = prepared(written)
    assert template.problems == ()
    return templates.render(template, facts(params, **steps), NOW)


def query(params: dict) -> dict:
    return {"sqlQuery": {"connection": "db", "statement": "SELECT 1", "params": params}}


def request(**fields: object) -> dict:
    return {"http": {"connection": "api", **fields}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${params.n}", 5),
        ("${params.flag}", True),
        ("${params.list}", [1, "two", None]),
        ("${params.nothing}", None),
        ("${ {'a': params.n} }", {"a": 5}),
        ("${params.half}", 0.5),
        ("PP-${params.n}", "PP-5"),
        ("${params.n}${params.n}", "55"),
        ("${params.n} ", "5 "),
        ("is ${params.flag}", "is true"),
        ("$${params.n}", "${params.n}"),
        ("a $${x} b ${params.n} $${y}", "a ${x} b 5 ${y}"),
        ("$", "$"),
        ("$5 and $$ and }", "$5 and $$ and }"),
        ("${params.n == 5 ? '}' : '{'}", "}"),
        ({"deep": ["${params.n}", {"er": "x${params.n}"}]}, {"deep": [5, {"er": "x5"}]}),
    ],
)
def test_a_value_keeps_its_type_unless_there_is_text_around_it(written, expected):
    params = {"n": 5, "flag": True, "list": [1, "two", None], "nothing": None, "half": 0.5}
    found = rendered(query({"value": written}), params)
    assert isinstance(found, SqlQuery)
    assert found.params == {"value": expected}
    assert type(found.params["value"]) is type(expected)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_bound_as_it_is_and_never_interpolated_again(hostile):
    found = rendered(query({"whole": "${params.x}", "part": "<${params.x}>"}), {"x": hostile, "secret": "s3cret"})
    assert found.params == {"whole": hostile, "part": f"<{hostile}>"}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_one_segment_of_a_path(hostile):
    found = rendered(request(path="/orders/${params.x}/items"), {"x": hostile, "secret": "s3cret"})
    assert isinstance(found, Http) or len(hostile) > 600
    if isinstance(found, Http):
        before, segment, after = found.path.removeprefix("/").split("/")
        assert (before, unquote(segment), after) == ("orders", hostile, "items")


@pytest.mark.parametrize("climbing", [".", "..", ""])
def test_a_path_segment_that_would_name_something_else_is_refused(climbing):
    found = rendered(request(path="/orders/${params.x}"), {"x": climbing})
    assert isinstance(found, RenderError)
    assert found.field == "spec.verify[0].http.path"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_one_argument_that_kubernetes_does_not_expand(hostile):
    written = {
        "job": {"from": "deployment/scheduler", "command": ["run", "--date=${params.x}"], "env": {"D": "${params.x}"}}
    }
    found = rendered(written, {"x": hostile, "secret": "s3cret"})
    assert found.command == ["run", f"--date={hostile.replace('$', '$$')}"]
    assert found.env == {"D": hostile.replace("$", "$$")}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_one_argument_of_a_command(hostile):
    found = rendered({"exec": {"target": "pod/x", "command": ["rm", "${params.x}"]}}, {"x": hostile})
    assert found.command == ["rm", hostile]


@pytest.mark.parametrize(("value", "told"), [(None, "the value is null"), ([1], "a list or object is not a text")])
def test_what_is_no_text_is_no_argument(value, told):
    found = rendered({"exec": {"target": "pod/x", "command": ["rm", "${params.x}"]}}, {"x": value})
    assert isinstance(found, RenderError)
    assert (found.field, told in found.message) == ("spec.verify[0].exec.command[1]", True)


def test_a_pod_template_takes_values_with_their_type_but_text_where_kubernetes_wants_text():
    container = {"args": ["run", "${params.n}"], "env": [{"name": "N", "value": "${params.n}"}], "image": "shell:$(v)"}
    template = {
        "metadata": {"annotations": {"for": "${params.n}"}},
        "spec": {"activeDeadlineSeconds": "${params.n}", "containers": [container]},
    }
    found = rendered({"job": {"template": template}}, {"n": 5})
    assert found.template == {
        "metadata": {"annotations": {"for": "5"}},
        "spec": {
            "activeDeadlineSeconds": 5,
            "containers": [{"args": ["run", "5"], "env": [{"name": "N", "value": "5"}], "image": "shell:$(v)"}],
        },
    }


@pytest.mark.parametrize(
    ("written", "params", "field", "message"),
    [
        (
            query({"id": "${steps.packs.outputs.lastGood}"}),
            {},
            "sqlQuery.params.id",
            "packs failed (connection refused)",
        ),
        (query({"id": "x-${params.x}"}), {"x": [1]}, "sqlQuery.params.id", "a list or object is not a text"),
        (query({"id": ["a", "x-${params.x}"]}), {"x": None}, "sqlQuery.params.id[1]", "the value is null"),
        (query({"id": "${1 / params.x}"}), {"x": 0}, "sqlQuery.params.id", "divide by zero"),
        (request(headers={"X-Date": "${params.x}"}), {"x": "a\r\nX-Evil: 1"}, "http.headers.X-Date", "one line"),
        (request(body="${params.x}"), {"x": {"a": 1}}, "http.body", "a list or object is not a text"),
        (request(path="/${params.x}"), {"x": "y" * 3000}, "http.path", "at most 2048 characters"),
        (
            {"get": {"apiVersion": "v1", "kind": "Pod", "name": "${params.x}"}},
            {"x": "../x"},
            "get.name",
            "is not a valid object name",
        ),
        (
            {"get": {"apiVersion": "v1", "kind": "Pod", "selector": {"app": "${params.x}"}}},
            {"x": "a,b=c"},
            "get.selector.app",
            "is not a valid label value",
        ),
        ({"logs": {"selector": {"app": "${params.x}"}}}, {"x": ""}, "logs.selector.app", "is not a valid label value"),
        (
            {"scale": {"target": "deployment/x", "replicas": "${params.x}"}},
            {"x": "5"},
            "scale.replicas",
            "not a number",
        ),
        (
            {"scale": {"target": "deployment/x", "replicas": "${params.x}"}},
            {"x": True},
            "scale.replicas",
            "not a number",
        ),
        ({"scale": {"target": "deployment/x", "replicas": "${params.x}"}}, {"x": -1}, "scale.replicas", "not a number"),
        (
            {"scale": {"target": "deployment/x", "replicas": "${params.x}"}},
            {"x": 1.5},
            "scale.replicas",
            "not a number",
        ),
    ],
)
def test_what_does_not_fit_its_field_is_refused_with_the_place(written, params, field, message):
    found = rendered(written, params, packs=StepFact("Failed", None, "connection refused"))
    assert isinstance(found, RenderError)
    assert found.field == f"spec.verify[0].{field}"
    assert message in found.message


def test_replicas_may_be_calculated():
    written = {"scale": {"target": "deployment/x", "replicas": "${steps.deploy.outputs.replicas + 2}"}}
    assert rendered(written, deploy=StepFact("Succeeded", {"replicas": 3})).replicas == 5
    half = {"scale": {"target": "deployment/x", "replicas": "${params.load / 2.0}"}}
    assert rendered(half, {"load": 6.0}).replicas == 3


def test_a_selector_takes_a_label_value():
    written = {"logs": {"selector": {"app": "${params.app}", "tier": "web"}}}
    assert rendered(written, {"app": "Check_out-1.0"}).selector == {"app": "Check_out-1.0", "tier": "web"}


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ({"sqlQuery": {"connection": "db", "statement": "SELECT '${params.x}'"}}, "sqlQuery.statement", "parameter"),
        (
            {"sqlExecute": {"connection": "db", "maxRows": 1, "statement": "DELETE ${x}"}},
            "sqlExecute.statement",
            "as it is",
        ),
        (
            {"sqlExecute": {"connection": "db", "maxRows": 1, "statements": [{"statement": "DELETE ${x}"}]}},
            "sqlExecute.statements[0].statement",
            "as it is",
        ),
        ({"promql": {"connection": "m", "query": "up{a='${params.x}'}"}}, "promql.query", "as it is"),
        ({"logs": {"selector": {"a": "b"}, "pattern": "${params.x}"}}, "logs.pattern", "as it is"),
        ({"get": {"apiVersion": "${params.x}", "kind": "Pod", "name": "a"}}, "get.apiVersion", "as it is"),
        ({"get": {"apiVersion": "v1", "kind": "${params.x}", "name": "a"}}, "get.kind", "as it is"),
        (request(json={"${params.x}": 1}), "http.json", "only values may"),
        (query({"id": "${params.x"}), "sqlQuery.params.id", "never closed"),
        (query({"id": "${}"}), "sqlQuery.params.id", "the expression is empty"),
        (query({"id": "${params.x +}"}), "sqlQuery.params.id", "ends too early"),
        (query({"id": "${result.x}"}), "sqlQuery.params.id", "there is no 'result.x'"),
        ({"scale": {"target": "deployment/x", "replicas": "1${params.x}"}}, "scale.replicas", "one ${…}"),
    ],
)
def test_a_template_that_can_never_be_rendered_is_a_problem(written, field, message):
    template = prepared(written)
    (problem,) = template.problems
    assert problem.path == f"spec.verify[0].{field}"
    assert message in problem.message


TEXT = st.text() | st.sampled_from(HOSTILE)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=3)
WRITTEN = st.sampled_from(
    [
        query({"a": "${params.x}", "b": ["${params.x}!", {"c": "${params.y}"}]}),
        request(path="/${params.x}/${params.y}", query={"q": "${params.x}"}, headers={"H": "${params.x}"}),
        request(method="POST", json={"a": "${params.x}"}, path="/"),
        request(method="POST", body="<${params.x}>"),
        {"get": {"apiVersion": "v1", "kind": "Pod", "name": "${params.x}"}},
        {"logs": {"selector": {"app": "${params.x}"}}},
        {"scale": {"target": "deployment/x", "replicas": "${params.x}"}},
        {"job": {"from": "deployment/x", "command": ["run", "${params.x}"], "env": {"E": "a${params.y}"}}},
        {"job": {"template": {"spec": {"containers": [{"command": ["run", "${params.x}"]}]}}}},
        {"exec": {"target": "pod/x", "command": ["echo", "${params.x}"]}},
    ]
)


@given(WRITTEN, VALUES, VALUES)
def test_rendering_never_raises_whatever_the_values_are(written, x, y):
    found = rendered(written, {"x": x, "y": y})
    assert isinstance(found, RenderError | Model)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_any_text_is_bound_unchanged(text):
    assert rendered(query({"x": "${params.x}"}), {"x": text}).params == {"x": text}


@given(st.text(max_size=200))
def test_preparing_never_raises_whatever_is_written(text):
    prepared(query({"x": text, "y": "${" + text, "z": "${" + text + "}"}))
    prepared(request(path="/" + text[:100], body=text))
