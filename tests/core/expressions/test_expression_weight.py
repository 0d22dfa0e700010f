"""Which expressions stay in the operator's own process: those that are linear in whatever they are given."""

import pytest

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.expressions import cel
from incident_operator.core.expressions import weight as expr_weight
from incident_operator.core.expressions.cel import CompileError, NoAnswer, Program, Scope
from incident_operator.core.expressions.weight import Weight
from incident_operator.core.runbooks import compiler, reading
from incident_operator.core.runbooks.compiled import Compiled, expressions
from tests.core.runbooks import runbook_texts
from tests.core.runbooks.runbook_texts import NOW
from tests.examples import shipped

LIGHT = [
    "result.rows.exists(r, r.is_fresh)",
    "result.rows.all(r, r.state in ['a', 'b'])",
    "result.rows.all(r, r.n + 1 > 3 && has(r.m))",
    "result.rows.exists(r, r.id == 'PP-' + params.date)",
    "result.rows[?5].orValue({'id': 'none'}).id",
    "result.status == 200 && result.json.pack == 'PP-' + params.date",
    "result.body.matches('^ok [a-z]+$') || result.body.contains(params.word)",
    "result.body.indexOf('x', 3) > 0",
    "string(timestamp(params.date + 'T00:00:00Z') - duration('24h')).substring(0, 10)",
    "now() - timestamp(incident.alerts[0].startsAt) > duration('5m')",
    "result.rows == steps.before.outputs.rows",
    "[result, result, result, result].size() > 0",
    "'/' + params.a + '/' + params.b + '/' + params.c + '/' + params.d + '/' + params.e",
    "params.a in {'a': 1}",
    " && ".join(f"result.{name}[0] == 1" for name in "abcde"),
    " && ".join(f"(result.{name})[0] == 1" for name in "abcde"),
    "[1]",
    "'x.replace(1)' == params.x  // .replace('a', 'b')",
]
BY_LENGTH = [
    "result.rows.filter(r, r.date < params.date)[0].id",
    "result.rows.filter(r, r.seconds > 300).map(r, r.pid)",
]
HEAVY = {
    "builds a text": "'a'.replace('a', 'b')",
    "joins": "result.rows.map(r, r.id).join(',')",
    "splits": "result.body.split(',').size() > 3",
    "formats": "'%s'.format([params.x])",
    "quotes": "strings.quote(params.x)",
    "is not known": "result.body.unheard()",
    "looks for data in data": "result.body.contains(result.word)",
    "has data as a pattern": "result.body.matches(result.pattern)",
    "repeats by number": "result.body.matches('(a{1000}){10}')",
    "repeats by number, escaped": r"result.body.matches('a\x7b1000}')",
    "matches many open places": f"result.body.matches('^.*a{'.' * 50}c$')",
    "matches many sets": f"result.body.matches('a{'[ab]' * 12}c')",
    "matches many classes": r"result.body.matches(r'a\w\w\w\w\w\w\w\w\wc')",
    "matches classes of Unicode": r"result.body.matches(r'\pL+')",
    "iterates within an iteration": "result.rows.exists(r, result.rows.exists(s, s == r))",
    "iterates within its own element": "result.rows.exists(r, r.parts.exists(s, s == 1))",
    "compares whole lists for each element": "result.rows.exists(r, result.rows == result.other)",
    "looks through a list for each element": "result.rows.exists(r, r in result.other)",
    "names the variable from its root": "result.rows.exists(r, r in .result.other)",
    "doubles each element": "result.rows.map(r, r + r)",
    "joins each element": "result.rows.map(r, 'a' + r.x)",
    "pairs each element": "result.rows.map(r, [r, r])",
    "wraps each element": "result.rows.map(r, {'a': r})",
    "calls its element as a variable": "result.rows.map(params, params.x + params.y)",
    "iterates within its own element, by the same name": "result.rows.exists(r, r.parts.exists(r, r == 1))",
    "joins something to each element": "result.rows.map(r, r.x + 'a')",
    "looks for nothing": "result.body.contains()",
    "copies all there is, often": "[result, result, result, result, result]",
    "copies all there is, often, by a map": "{1: result, 2: result, 3: result, 4: result, 5: result}",
    "looks in a list made of each element": "result.rows.exists(r, r.x in [r.a, r.b])",
    "joins a field of the element": "result.rows.map(r, r.params.x + 'a')",
    "joins what it looks for": "result.body.contains('x' + result.word)",
    "joins a parameter to what it looks for": "result.body.contains(params.x + result.word)",
    "makes a message": "google.protobuf.Duration{seconds: 1} == duration('1s')",
    "iterates without a variable": "result.rows.exists('r', true)",
    "iterates without a comma": "result.rows.exists(r == true)",
    "adds nothing before": "result.rows.exists(r, + 'x')",
    "adds nothing after": "result.rows.exists(r, 'x' +)",
    "doubles itself": "optional.of(params.x).optMap(a, a).orValue('')",
}
CUT = ["", "(", "a.map(", "a.map(r", "contains(params.", "a.contains(", "x +", "+ x", "[", "a.exists(r, [", "matches("]


def compiled(source: str) -> Program:
    program = cel.compile_value(source, Scope.RESULT)
    assert isinstance(program, Program), program
    return program


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        *((source, Weight.LIGHT) for source in LIGHT),
        *((source, Weight.BY_LENGTH) for source in BY_LENGTH),
        *((source, Weight.HEAVY) for source in HEAVY.values()),
    ],
    ids=[*LIGHT, *BY_LENGTH, *HEAVY],
)
def test_an_expression_is_light_only_where_it_is_linear_in_what_it_is_given(source, wanted):
    assert expr_weight.weight(source) is wanted


@pytest.mark.parametrize("source", CUT)
def test_what_is_no_expression_has_a_weight_all_the_same(source):
    assert expr_weight.weight(source) in Weight


def test_the_expressions_of_the_examples_stay_in_the_process_while_lists_are_short():
    weights = {}
    for document in shipped.of_kind("Runbook"):
        runbook = reading.runbook_of(document)
        assert isinstance(runbook, Runbook)
        ready = compiler.compile_runbook(runbook, None, ACTIONS)
        assert isinstance(ready, Compiled)
        weights |= {placed.program.source: placed.program.weight for placed in expressions(ready)}
    assert len(weights) > 10
    assert Weight.HEAVY not in weights.values()
    assert {source for source, weight in weights.items() if weight is Weight.BY_LENGTH} == {
        source for source in weights if ".filter(" in source
    }


@pytest.mark.parametrize("macro", [".optMap(a, a)", ".optFlatMap(a, optional.of(a))"])
def test_what_doubles_itself_too_often_is_refused_before_it_is_compiled(macro):
    assert isinstance(cel.compile_value(f"optional.of(1){macro * 8}.orValue(2)", Scope.STEP), Program)
    refused = cel.compile_value(f"optional.of(1){macro * 9}.orValue(2)", Scope.STEP)
    assert isinstance(refused, CompileError)
    assert "each use doubles its size" in refused.message


def test_what_doubles_something_long_is_refused_before_it_is_compiled():
    long = f"optional.of([{'1,' * 400}1])"
    assert isinstance(cel.compile_value(long + ".optMap(a, a)" * 5, Scope.STEP), Program)
    refused = cel.compile_value(long + ".optMap(a, a)" * 6, Scope.STEP)
    assert isinstance(refused, CompileError)
    assert "each double its size" in refused.message


@pytest.mark.parametrize(
    ("source", "count"),
    [("optional.of(1)" + ".optMap(a, a)" * 8, 20), ("[" + "1," * 500 + "1]", 200), ("1", 8000)],
    ids=["doubled", "long", "many"],
)
def test_no_more_expressions_are_compiled_than_a_runbook_may_have_parts(source, count):
    with cel.compiled_at_most(expr_weight.RUNBOOK_PARTS):
        made = [cel.compile_value(source, Scope.STEP) for _ in range(count)]
    assert isinstance(made[0], Program)
    assert isinstance(made[-1], CompileError)
    assert "too many parts" in made[-1].message
    assert sum(each.parts for each in made if isinstance(each, Program)) <= expr_weight.RUNBOOK_PARTS
    assert isinstance(cel.compile_value(source, Scope.STEP), Program)


def test_what_a_runbook_weighs_grows_with_its_expressions():
    def parts(count: int) -> int:
        steps = [
            {"name": f"s{at}", "when": "1 < 2", "sqlQuery": {"connection": "c", "statement": "SELECT 1"}}
            for at in range(count)
        ]
        ready = runbook_texts.compile_spec(
            {**runbook_texts.spec(), "diagnose": steps, "mitigate": [], "verify": []}, None
        )
        assert isinstance(ready, Compiled), ready
        return ready.parts

    assert parts(11) - parts(1) == 10 * expr_weight.parts("1 < 2")


def test_a_field_that_is_called_like_it_doubles_nothing():
    assert isinstance(cel.compile_value("params.optMap == 1" + " && params.optMap == 1" * 9, Scope.STEP), Program)


@pytest.mark.parametrize(
    ("source", "length", "asked"),
    [
        (LIGHT[0], cel.LONG_LIST + 1, False),
        (BY_LENGTH[1], cel.LONG_LIST, False),
        (BY_LENGTH[1], cel.LONG_LIST + 1, True),
        ("'a'.replace('a', 'b')", 0, True),
    ],
)
def test_another_one_evaluates_what_is_heavy_for_the_data_there_is(source, length, asked):
    rows = [{"is_fresh": False, "seconds": 1, "pid": 1}] * length

    def elsewhere(*_: object) -> NoAnswer:
        return NoAnswer("elsewhere")

    program = compiled(source)
    with cel.evaluated_by(elsewhere):
        found = cel.evaluate(program, {"result": {"rows": rows}}, NOW)
    assert (found == NoAnswer("elsewhere")) is asked
    assert cel.evaluate(program, {"result": {"rows": rows}}, NOW) != NoAnswer("elsewhere")


def test_a_runbook_is_heavy_if_one_of_its_expressions_may_be():
    def heavy(when: str) -> bool:
        spec = {"title": "t", "serviceAccountName": "rb", "match": ['alertname="A"'], "mitigate": []}
        spec["diagnose"] = [{"name": "a", "when": when, "sqlQuery": {"connection": "c", "statement": "SELECT 1"}}]
        runbook = reading.runbook_of({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})
        assert isinstance(runbook, Runbook)
        ready = compiler.compile_runbook(runbook, None, ACTIONS)
        assert isinstance(ready, Compiled), ready
        return ready.heavy

    assert not heavy("incident.severity == 'P1'")
    assert heavy("incident.alerts.filter(a, a.status == 'firing').size() > 2")
    assert heavy("incident.name.replace('a', 'b') == 'b'")
