"""Expressions: values, unknowns, and what must never crash the process."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core.expressions import cel, evaluation
from incident_operator.core.expressions.cel import CompileError, NoAnswer, Program, Scope, StepFact
from tests.core.runbooks.runbook_texts import NOW, facts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def compiled(source: str, scope: Scope = Scope.RESULT) -> Program:
    program = cel.compile_value(source, scope)
    assert isinstance(program, Program), program
    return program


def value(source: str, result: object = None, params: dict | None = None, **steps: StepFact) -> object:
    return evaluation.value(compiled(source), facts(params, **steps), NOW, result)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("result.rows.filter(r, r.date < params.date)[0].id", "PP-2025-10-20"),
        ("result.rows.exists(r, r.is_fresh)", False),
        ("params.date < '2025-10-22'", True),
        ("has(result.missing) || result.rows.size() == 2", True),
        ("result.?missing.?deeper.orValue('none')", "none"),
        ("result.rows[?5].orValue({'id': 'none'}).id", "none"),
        ("steps.packs.outputs.fresh", False),
        ("steps.packs.state == 'Succeeded'", True),
        ("'%s is %d'.format([params.date, params.count])", "2025-10-21 is 3"),
        ("params.count * 2", 6),
        ("now() > timestamp('2025-10-21T00:00:00Z')", True),
        ("now()", "2025-10-21T00:33:00Z"),
        ("now() - duration('24h')", "2025-10-20T00:33:00Z"),
        ("string(timestamp(params.date + 'T00:00:00Z') - duration('24h')).substring(0, 10)", "2025-10-20"),
        ("duration('90s')", "90s"),
        ("duration('-1500ms')", "-1.5s"),
        ("duration('0s')", "0s"),
        ("b'ab'", "YWI="),
        ("{2: 'a', true: 'b'}", {"2": "a", "true": "b"}),
        ("3u", 3),
        ("null", None),
        ("[1, 2.5, 'x', null, {'a': []}]", [1, 2.5, "x", None, {"a": []}]),
        ("incident.severity == 'P1' && !incident.resolved", True),
    ],
)
def test_an_expression_gives_plain_json(source, expected):
    rows = [{"id": "PP-2025-10-21", "date": "2025-10-21", "is_fresh": False}]
    rows.append({"id": "PP-2025-10-20", "date": "2025-10-20", "is_fresh": False})
    packs = StepFact("Succeeded", {"fresh": False})
    found = value(source, {"rows": rows}, {"date": "2025-10-21", "count": 3}, packs=packs)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("!steps.packs.outputs.fresh", "packs failed (connection refused to dawsos-read)"),
        ("steps.packs.outputs.fresh && steps.ok.outputs.n == 1", "packs failed (connection refused to dawsos-read)"),
        ("steps['pause-alerts'].outputs.id == ''", "pause-alerts has not run"),
        ("steps.ok.outputs.n == 1 && steps.skipped.outputs.n == 1", "skipped was skipped (its condition was false)"),
        (
            "steps.packs.outputs.x && steps.skipped.outputs.x",
            "packs failed (connection refused to dawsos-read) and skipped was skipped (its condition was false)",
        ),
        ("steps.never.outputs.x", "never has not run"),
        ("steps.ok.outputs.lost == 1", "ok gave no lost (5 rows)"),
        ("steps.skipped.outputs.x == 1", "skipped was skipped (its condition was false)"),
        ("params.n / 0", "divide by zero, in: params.n / 0"),
        ("params.n * 1.5", "* does not work on (int64, double), in: params.n * 1.5"),
        ("params.lost", 'there is no "lost", in: params.lost'),
        ("result.rows[0].id", "no data: element 0 is missing: the list is empty, in: result.rows[0].id"),
        (
            "result.status.code",
            "the value before the dot has no fields (it is null, a text or a number), in: result.status.code",
        ),
        ("params.n ? 1 : 2", "the condition before ? is neither true nor false, in: params.n ? 1 : 2"),
        ("1.0 / 0.0", "the number is not finite (a division by zero?), in: 1.0 / 0.0"),
        ("optional.of(1)", "the value is optional; end it with .orValue(…), in: optional.of(1)"),
        ("type(1)", "a value of CEL type type cannot be kept, in: type(1)"),
        ("'a'.matches('(')", "invalid regular expression: missing ): (, in: 'a'.matches('(')"),
    ],
)
def test_no_answer_says_whose_answer_is_missing(source, why):
    steps = {
        "packs": StepFact("Failed", None, "connection refused to dawsos-read"),
        "pause_alerts": StepFact("Pending"),
        "ok": StepFact("Succeeded", {"n": 1}, "5 rows"),
        "skipped": StepFact("Skipped", None, "its condition was false"),
    }
    found = value(source, {"rows": [], "status": 200}, {"n": 3}, **steps)
    assert isinstance(found, NoAnswer)
    assert found.why == why


def test_has_lets_the_author_decide_what_an_unknown_answer_means():
    failed = StepFact("Failed", None, "timeout")
    assert value("has(steps.packs.outputs.fresh) && steps.packs.outputs.fresh", packs=failed) is False
    assert value("!has(steps.packs.outputs.fresh)", packs=failed) is True
    assert value("steps.packs.outputs.?fresh.orValue(true)", packs=failed) is True
    assert value("steps.packs.outputs.fresh || true", packs=failed) is True


def test_an_output_that_is_null_is_an_answer():
    assert value("steps.packs.outputs.fresh == null", packs=StepFact("Succeeded", {"fresh": None})) is True


@pytest.mark.parametrize("source", ["'yes'", "1", "[true]", "null", "result.word"])
def test_a_condition_that_is_not_a_bool_is_unknown_never_true(source):
    found = evaluation.condition(compiled(source), facts(), NOW, {"word": "NOT_FOUND: false"})
    assert isinstance(found, NoAnswer)
    assert "neither true nor false" in found.why


@pytest.mark.parametrize("source", ["1 + 1", "'true'", "[true]", "now()"])
def test_a_condition_that_can_never_be_a_bool_does_not_compile(source):
    refused = cel.compile_condition(source, Scope.STEP)
    assert isinstance(refused, CompileError)
    assert "a condition gives true or false" in refused.message


@pytest.mark.parametrize(
    ("source", "scope", "message", "excerpt"),
    [
        ("params.n +", Scope.STEP, "the expression ends too early", "params.n +\n          ^"),
        ("(params.n", Scope.STEP, "')' is missing at the end", "(params.n\n         ^"),
        ("params.n params.m", Scope.STEP, "unexpected 'params'", "params.n params.m\n         ^"),
        ("'é' == 'abc", Scope.STEP, "the text 'abc is never closed", "'é' == 'abc\n       ^"),
        ("1 == 'a'", Scope.STEP, "== does not work on (int, string)", "1 == 'a'\n  ^"),
        ("params.n ==\n  @", Scope.STEP, "unexpected '@'", "  @\n  ^"),
        (
            "nope == 1",
            Scope.STEP,
            "there is no 'nope'; here there are incident, params, steps and now()",
            "nope == 1\n^",
        ),
        (
            "result.status == 200",
            Scope.STEP,
            "there is no 'result.status'; here there are incident, params, steps and now()",
            "result.status == 200\n      ^",
        ),
        (
            "alert.labels.x",
            Scope.RESULT,
            "there is no 'alert.labels.x'; here there are incident, params, steps, result and now()",
            "alert.labels.x\n            ^",
        ),
        (
            "true && steps.pause-alerts.outputs.id == ''",
            Scope.STEP,
            'a name with a hyphen is written steps["pause-alerts"]',
            "true && steps.pause-alerts.outputs.id == ''\n              ^",
        ),
        ("(" * 40 + "1" + ")" * 40, Scope.STEP, "nested too deeply (32 levels, a chain of + or && counts)", None),
        (" \n ", Scope.STEP, "the expression is empty", None),
        ("1" * 1025, Scope.STEP, "1025 characters; an expression may have 1024", None),
        ("'\ud800'", Scope.STEP, "holds a NUL or half a surrogate pair", None),
        ("params.a\x00", Scope.STEP, "holds a NUL or half a surrogate pair", None),
    ],
)
def test_what_does_not_compile_is_shown_with_its_place(source, scope, message, excerpt):
    refused = cel.compile_value(source, scope)
    assert isinstance(refused, CompileError)
    assert refused.message == message
    if excerpt is not None:
        assert refused.excerpt == excerpt


def test_the_caret_of_a_long_line_stays_on_the_screen():
    refused = cel.compile_value("true && " * 60 + "nope", Scope.STEP)
    assert isinstance(refused, CompileError)
    line, caret = refused.excerpt.split("\n")
    assert len(line) <= 100
    assert line[caret.index("^") :].startswith("nope")


@pytest.mark.parametrize(
    ("given_value", "source", "expected"),
    [
        ("good\x00; evil", "result.x", "good\ufffd; evil"),
        ("half \ud800 pair", "result.x", "half \ufffd pair"),
        (2**63 - 1, "result.x", 2**63 - 1),
        (10**30, "result.x > 5", True),
        pytest.param(10**5000, "result.x > 5", True, id="an int of 5001 digits"),
        pytest.param("x" * 10_000, "result.x.size()", 10_000, id="10 kB"),
        ("\u202eabc", "result.x", "\u202eabc"),
        ((1, 2), "result.x", [1, 2]),
    ],
)
def test_values_that_the_library_would_misread_are_made_harmless(given_value, source, expected):
    assert value(source, {"x": given_value}) == expected


def test_data_nested_without_end_is_unknown_and_does_not_exhaust_the_stack():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    found = value("result.size()", deep)
    assert isinstance(found, NoAnswer)
    assert found.why.startswith("the data is nested deeper than 80 levels")


@pytest.mark.parametrize("source", ["[optional.none()]", "{'a': optional.none()}", "{'a': [optional.of(1)]}"])
def test_an_optional_inside_a_list_or_map_does_not_crash_the_process(source):
    found = value(source)
    assert isinstance(found, NoAnswer)
    assert "end it with .orValue" in found.why


def test_an_expression_that_iterates_too_much_is_stopped():
    found = value("result.rows.all(a, result.rows.all(b, result.rows.all(c, true)))", {"rows": [1] * 100})
    assert isinstance(found, NoAnswer)
    assert found.why.startswith("it iterates more than 10000 times")


@given(JSON)
def test_evaluating_arbitrary_data_never_raises(data):
    for source in ("result.x", "result.x == result.x", "result.x.a[0] > 1", "string(result.x)", "{'k': [result.x]}"):
        found = value(source, {"x": data})
        assert isinstance(found, None | bool | int | float | str | list | dict | NoAnswer)


@given(st.text(max_size=60))
def test_compiling_arbitrary_text_never_raises(source):
    found = cel.compile_value(source, Scope.RESULT)
    assert isinstance(found, Program | CompileError)
    if isinstance(found, Program):
        evaluation.value(found, facts(), NOW, {})


def test_now_is_the_moment_of_each_evaluation_in_every_thread():
    program = compiled("now().getFullYear()")
    wrong: list[object] = []

    def ask(year: int) -> None:
        moment = datetime(year, 1, 1, tzinfo=UTC)
        found = {evaluation.value(program, facts(), moment) for _ in range(300)}
        wrong.extend(found - {year})

    threads = [threading.Thread(target=ask, args=(2000 + at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_outputs_keep_what_has_a_value_and_tell_the_rest():
    sources = {"count": "result.rows.size()", "first": "result.rows[0].id", "status": "result.status"}
    programs = {name: compiled(source) for name, source in sources.items()}
    found = evaluation.outputs(programs, facts(), NOW, {"rows": [], "status": 200})
    assert found.values == {"count": 0, "status": 200}
    assert found.problems == {"first": "no data: element 0 is missing: the list is empty, in: result.rows[0].id"}


def test_outputs_take_four_kibibytes_together_and_no_more():
    programs = {name: compiled(f"result.{name}") for name in ("half", "rest", "small")}
    found = evaluation.outputs(programs, facts(), NOW, {"half": "h" * 3000, "rest": "é" * 1500, "small": 1})
    assert found.values == {"half": "h" * 3000, "small": 1}
    assert found.problems == {"rest": "3002 bytes are too many: all outputs of a step may have 4096 together"}


MEMORY_BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (640 * 1024**2, 640 * 1024**2))
from tests.core.runbooks.runbook_texts import NOW, facts
from incident_operator.core.expressions import cel, evaluation
source = "['aaaaaaaaaa']" + ".map(x, x+x+x+x+x+x+x+x+x+x)" * 12 + ".size()"
print(evaluation.value(cel.compile_value(source, cel.Scope.STEP), facts(), NOW).why)
"""


def test_an_expression_that_needs_all_memory_is_unknown_where_the_process_has_a_limit():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_BOMB],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("it needs more memory than there is")
