"""Parameters: a hostile label is refused or inert, whatever the type."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.api.runbook import Parameter, ParameterType
from incident_operator.core.runbooks import parameters
from incident_operator.core.runbooks.draft import compile_parameter
from incident_operator.core.runbooks.parameters import CompiledParameter, ParameterError
from tests.core.runbooks.runbook_texts import NOW

HOSTILE = [
    "it's",
    '"',
    "$(reboot)",
    "`reboot`",
    "${params.secret}",
    "'; DROP TABLE users; --",
    "x\ny",
    "x\n",
    "\n",
    "\x00",
    "x\x00y",
    "\ud800",
    "x" * 10_000,
    "\u202ex",
    "\u200bx",
    "\u2028",
    "\ufffd",
    "9" * 5000,
    "-",
    "\u0663",
    "1e9",
    "0x10",
    "2025-13-41",
    "2025-02-29",
    "2025-1-1",
    "\uff12\uff10\uff12\uff15-01-01",
    "20250101",
    "2025-W01-1",
    "../etc",
    "UPPER",
    "-x",
    "a..b",
    "1h ",
    "-5m",
    "1x",
    "NaN",
    " 5",
    "true",
    "null",
]


def compiled(**fields: object) -> CompiledParameter:
    written = {"name": "x", "from": "alert.labels.x", **fields}
    found = compile_parameter(Parameter.model_validate(written), "spec.parameters[0]")
    assert isinstance(found, CompiledParameter), found
    return found


def resolved(parameter: CompiledParameter, labels: dict[str, object]):
    alert = {"labels": labels, "annotations": {}, "startsAt": "2025-10-21T00:30:04Z", "status": "firing"}
    return parameters.resolve([parameter], alert, NOW)


TYPES = {
    "date": compiled(type="date"),
    "int": compiled(type="int", min=0, max=1000),
    "k8sName": compiled(type="k8sName"),
    "duration": compiled(type="duration"),
    "enum": compiled(type="string", enum=["alpha", "beta"]),
    "pattern": compiled(type="string", pattern="[a-z0-9]+"),
}
_WORDS = {"1e9", "0x10", "1x", "20250101", "true", "null"}
HARMLESS = {"pattern": _WORDS, "k8sName": _WORDS | {"2025-13-41", "2025-02-29", "2025-1-1"}}
"""What of it is a value of the type after all, and goes through as it is."""
PLAIN = {"it's", '"', "$(reboot)", "`reboot`", "${params.secret}", "'; DROP TABLE users; --"}


@pytest.mark.parametrize(
    ("fields", "text", "expected"),
    [
        ({"type": "date"}, "2024-02-29", "2024-02-29"),
        ({"type": "int"}, "0042", 42),
        ({"type": "int", "min": -5}, "-5", -5),
        ({"type": "int"}, "9" * 18, 10**18 - 1),
        ({"type": "k8sName"}, "api-7d9f.prod", "api-7d9f.prod"),
        ({"type": "duration"}, "1h30m", "1h30m"),
        ({"type": "duration"}, "7d", "7d"),
        ({"type": "duration"}, "1d12h", "1d12h"),
        ({"type": "duration"}, "0.5s", "0.5s"),
        ({"type": "string"}, "any text, é漢字 🙂", "any text, é漢字 🙂"),
        ({"type": "string", "pattern": "PP-[0-9-]+"}, "PP-2025-10-21", "PP-2025-10-21"),
        ({"type": "string", "enum": ["a", "b"]}, "b", "b"),
        ({"type": "string"}, "v" * 253, "v" * 253),
        ({"type": "int", "from": "size(alert.labels)"}, "ignored", 1),
        ({"type": "date", "from": "alert.startsAt.substring(0, 10)"}, "ignored", "2025-10-21"),
        ({"type": "date", "from": "alert.startsAt"}, "ignored", "2025-10-21"),
        ({"type": "date", "from": ' alert["startsAt"]'}, "ignored", "2025-10-21"),
        ({"type": "date", "from": "string(alert.startsAt)"}, "ignored", "2025-10-21"),
        ({"type": "date", "from": "timestamp(alert.startsAt) - duration('1h')"}, "ignored", "2025-10-20"),
        ({"type": "date", "from": "timestamp(alert.labels.x)"}, "2025-10-21T23:30:00-05:00", "2025-10-22"),
        ({"type": "string", "from": "alert.startsAt"}, "ignored", "2025-10-21T00:30:04Z"),
        ({"type": "int", "from": "int(timestamp(alert.startsAt))"}, "ignored", 1761006604),
        (
            {"type": "duration", "from": "timestamp(alert.startsAt) - timestamp(alert.labels.x)"},
            "2025-10-21T00:00:04Z",
            "1800s",
        ),
    ],
)
def test_a_value_of_its_type_comes_through(fields, text, expected):
    found = resolved(compiled(**fields), {"x": text})
    assert found == {"x": expected}
    assert type(found["x"]) is type(expected)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_refused_by_every_type(kind, hostile):
    found = resolved(TYPES[kind], {"x": hostile})
    if hostile in HARMLESS.get(kind, ()):
        assert found == {"x": hostile}
    else:
        assert isinstance(found, ParameterError), found
        assert found.message.endswith("; nothing was done. Fix the alert's label.")


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_plain_text_is_taken_whole_or_not_at_all(hostile):
    found = resolved(compiled(type="string"), {"x": hostile})
    if isinstance(found, ParameterError):
        assert hostile not in PLAIN
    else:
        assert found == {"x": hostile}
        assert hostile.isprintable()


@pytest.mark.parametrize(
    ("fields", "labels", "message"),
    [
        ({"type": "date"}, {"x": "2025-13-41"}, 'label x="2025-13-41" is not a date (YYYY-MM-DD)'),
        ({"type": "date"}, {}, "label x is missing"),
        ({"type": "date"}, {"x": ""}, "label x is missing"),
        ({"type": "int", "max": 5}, {"x": "6"}, 'label x="6" is above the maximum 5'),
        ({"type": "int", "min": 5}, {"x": "4"}, 'label x="4" is below the minimum 5'),
        ({"type": "string", "enum": ["a", "b"]}, {"x": "c"}, 'label x="c" is none of a, b'),
        (
            {"type": "string", "pattern": "[a-z]+"},
            {"x": "ok\n"},
            'label x="ok\\n" holds an invisible character (U+000A)',
        ),
        ({"type": "string", "pattern": "[a-z]+"}, {"x": "oK"}, 'label x="oK" does not match [a-z]+'),
        ({"type": "k8sName"}, {"x": "\u202ex"}, 'label x="\\u202ex" holds an invisible character (U+202E)'),
        (
            {"type": "string"},
            {"x": "y" * 300},
            f'label x="{"y" * 79}…" is too long: 300 characters, 253 at most',
        ),
    ],
)
def test_the_message_names_the_label_the_value_and_what_would_be_right(fields, labels, message):
    found = resolved(compiled(**fields), labels)
    assert found == ParameterError("x", f"{message}; nothing was done. Fix the alert's label.")


def test_a_value_that_is_calculated_is_named_by_its_parameter():
    joined = compiled(type="date", **{"from": "alert.labels.y + '-' + alert.labels.m"})
    found = resolved(joined, {"y": "2025", "m": "x"})
    assert found.message.startswith('parameter x="2025-x" is not a date')
    broken = resolved(compiled(type="int", **{"from": "int(alert.labels.x) / 0"}), {"x": "5"})
    assert broken.message.startswith("parameter x cannot be read: divide by zero") or "label x" in broken.message


@pytest.mark.parametrize("labels", [{}, {"x": ""}])
def test_a_missing_label_takes_the_default(labels):
    assert resolved(compiled(type="int", default="7"), labels) == {"x": 7}
    constant = Parameter.model_validate({"name": "x", "type": "date", "default": "2025-10-21"})
    found = compile_parameter(constant, "p")
    assert isinstance(found, CompiledParameter)
    assert resolved(found, labels) == {"x": "2025-10-21"}


def test_a_wrong_label_does_not_fall_back_to_the_default():
    assert isinstance(resolved(compiled(type="int", default="7"), {"x": "seven"}), ParameterError)


@pytest.mark.parametrize("value", [True, 1.5, None, ["a"], {"a": "b"}])
def test_what_is_no_text_is_no_label(value):
    found = resolved(compiled(type="string"), {"x": value})
    assert isinstance(found, ParameterError)


@pytest.mark.parametrize("kind", TYPES)
@given(text=st.text())
def test_no_text_makes_it_raise_and_what_passes_is_printable(kind, text):
    found = resolved(TYPES[kind], {"x": text})
    if isinstance(found, ParameterError):
        json.dumps(found.message).encode()
        assert found.message.isprintable()
    else:
        assert str(found["x"]).isprintable()


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"type": "date", "from": None}, "", "needs from, e.g. alert.labels.x, or a default"),
        ({"type": "date", "from": "alert.labels +"}, ".from", "the expression ends too early"),
        ({"type": "date", "from": "alert.label.x"}, ".from", "an alert has no label; it has annotations, labels"),
        ({"type": "date", "from": "params.x"}, ".from", "there is no 'params.x'; here there are alert and now()"),
        ({"type": "string", "pattern": "("}, ".pattern", "not a regular expression (RE2): missing ): ("),
        (
            {"type": "string", "pattern": "(?=x)"},
            ".pattern",
            "not a regular expression (RE2): invalid perl operator: (?=",
        ),
        ({"type": "date", "pattern": "x"}, ".pattern", "is for type string only; this one is date"),
        ({"type": "int", "enum": ["1"]}, ".enum", "is for type string only; this one is int"),
        ({"type": "string", "min": 1}, ".min", "is for type int only; this one is string"),
        ({"type": "int", "min": 5, "max": 1}, ".min", "5 is above max 1"),
        ({"type": "int", "default": "seven"}, ".default", "'seven' is not a whole number"),
    ],
)
def test_a_parameter_that_can_never_have_a_value_is_a_problem(fields, path, message):
    written = {"name": "x", "from": "alert.labels.x", **fields}
    found = compile_parameter(Parameter.model_validate(written), "spec.parameters[0]")
    assert isinstance(found, tuple)
    assert found[0].path == f"spec.parameters[0]{path}"
    assert found[0].message.startswith(message)


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        ("int", "alert.startsAt", "gives a timestamp, which is never of type int; int(timestamp(…)) gives the seconds since"),
        ("duration", "now()", "gives a timestamp, which is never of type duration; now() - timestamp(…) gives how long"),
        ("k8sName", "timestamp(alert.labels.x)", "gives a timestamp, which is never of type k8sName; use type string or date"),
        ("date", "size(alert.labels)", "gives an int, which is never of type date; use type string or int or k8sName"),
        ("duration", "5", 'gives an int, which is never of type duration; write string(…) + "s" where it counts seconds'),
        ("int", "now() - timestamp(alert.startsAt)", "gives a duration, which is never of type int; write ….getSeconds()"),
        ("int", "double(alert.labels.x)", "gives a double, which is never of type int; write int(…) or string(…)"),
        ("string", '"x" in alert.labels', 'gives a bool, which is never of type string; write for example … ? "yes" : "no"'),
        ("string", "alert.labels", "gives a map, which is never of type string; name one of its values, such as alert.labels."),
        ("string", "[alert.labels.x]", "gives a list, which is never of type string; name one of its values"),
        ("string", "optional.of(alert.labels.x)", "gives an optional, which is never of type string; end it with .orValue(…)"),
        ("int", "alert.status", "gives firing or resolved, which is never of type int; use type string or k8sName"),
        ("date", '"today"', "always gives 'today', which is not a date (YYYY-MM-DD)"),
        ("int", "1 / 0", "never gives a value: "),
    ],
)  # fmt: skip
def test_an_expression_that_never_gives_a_value_of_the_type_is_refused_and_says_what_would_be_right(
    kind, written, told
):
    found = compile_parameter(
        Parameter.model_validate({"name": "x", "type": kind, "from": written}), "spec.parameters[0]"
    )
    assert isinstance(found, tuple)
    (problem,) = found
    assert problem.path == "spec.parameters[0].from"
    assert problem.message.startswith(told)


@pytest.mark.parametrize("kind", list(ParameterType))
@pytest.mark.parametrize(
    "written", ["alert.labels.x", "alert.annotations.x", 'alert.labels.x == "" ? "" : alert.startsAt', "null"]
)
def test_what_only_the_alert_decides_is_left_to_it(kind, written):
    assert isinstance(compiled(type=kind, **{"from": written}, default=None), CompiledParameter)
