"""What a namespace writes is worked on in a time that grows with its length, and no faster."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from incident_operator.api.incident import AlertStatus
from incident_operator.core import approval, argv, masks, sanitize, texts
from incident_operator.core.alerts import matching, merging, received_alerts
from incident_operator.core.expressions import templates, weight
from incident_operator.core.machine import machine
from incident_operator.core.masks import Credential
from incident_operator.core.redactor import Redactor
from incident_operator.core.runbooks import reading, statements, untrusted
from incident_operator.core.runbooks.untrusted import Sql
from incident_operator.core.sanitize import deeper_than, is_deeper
from incident_operator.kubernetes.exec import Tail
from incident_operator.receiver.alertmanager import read_message
from incident_operator.receiver.index import IncidentIndex
from incident_operator.receiver.refusals import MalformedError
from tests.core import builders
from tests.core.machine.simulation import Simulation
from tests.core.runbooks.runbook_texts import compile_spec
from tests.core.scaling import MOST, growth
from tests.receiver import messages

START = datetime(2025, 10, 21, 0, 30, tzinfo=UTC)


def sql_problems(statement: str) -> int:
    """How many problems one statement has."""
    return sum(1 for _ in untrusted.sql(Sql("statement", statement, statements.READING, {"a": 1})))


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (lambda n: "SELECT " + ",".join(["%(a)s"] * n), 100),
        (lambda n: "SELECT " + " ".join(f"$a{at}$" for at in range(n)), 250),
        (lambda n: "SELECT " + "%(" * n, 500),
        (lambda n: "SELECT " + "%(" * n + ")x", 500),
        (lambda n: "SELECT " + "e'\\'" * n, 250),
        (lambda n: "SELECT " + "e''" * n + "'", 250),
        (lambda n: "SELECT " + 'U&"""' * n, 250),
        (lambda n: "SELECT " + "/*" * n, 250),
        (lambda n: "SELECT " + "--\n" * n, 250),
        (lambda n: "WITH a AS " + "(" * n, 250),
    ],
    ids=["placeholders", "tags", "opened", "closed", "escapes", "doubled", "names", "comments", "lines", "parentheses"],
)
def test_a_statement_is_checked_in_linear_time(written: Callable[[int], str], size: int) -> None:
    assert growth(written, sql_problems, size) <= MOST


def chained(count: int) -> dict[str, Any]:
    """Steps, each of which looks at all outputs of the one before, and a command made of the last ones'."""
    outputs = [
        {f"o{at}": f"steps.s{number - 1}.outputs.o{at}" if number else "params.p" for at in range(8)}
        for number in range(count)
    ]
    steps = [builders.read(f"s{number}", outputs=each) for number, each in enumerate(outputs)]
    command = ["build", *[f"${{steps.s{count - 1}.outputs.o1}}"] * 20]
    jobs = [{"name": f"j{at}", "job": {"from": "deployment/web", "command": command}} for at in range(count)]
    parameter = {"name": "p", "type": "string", "default": "x", "pattern": "x"}
    return {"diagnose": steps, "remediate": jobs, "parameters": [parameter]}


def mistaken(count: int) -> dict[str, Any]:
    """Steps whose conditions name what is not there."""
    wrong = " || ".join(["steps.nope.outputs.x"] * 20)
    return {"diagnose": [builders.read(f"s{number}", when=wrong) for number in range(count)]}


def compiled(spec: dict[str, Any]) -> object:
    """The Runbook, or all that is told of it."""
    return compile_spec({"title": "t", "serviceAccountName": "a", "match": ["a=b"], **spec})


@pytest.mark.parametrize("written", [chained, mistaken])
def test_a_runbook_is_compiled_in_a_time_that_grows_with_its_steps(written: Callable[[int], dict[str, Any]]) -> None:
    assert growth(written, compiled, 6) <= MOST


def test_one_decision_takes_a_time_that_grows_with_the_steps() -> None:
    def played(count: int) -> Simulation:
        return Simulation(builders.runbook(diagnose=[builders.read(f"s{at}") for at in range(count)])).go()

    def decide(simulation: Simulation) -> object:
        return machine.decide(simulation.view(simulation.stored.status))

    assert growth(played, decide, 6) <= MOST


@pytest.mark.parametrize(
    "written",
    [
        lambda n: " ".join(["steps"] * n),
        lambda n: "steps" + ".a" * n,
        lambda n: '\\"""' * n,
        lambda n: "\"'\n" * n,
        lambda n: "x?.steps[?'a']" * n,
        lambda n: "{" * n,
    ],
    ids=["names", "path", "texts", "lines", "optional", "braces"],
)
def test_the_names_in_an_expression_are_read_in_linear_time(written: Callable[[int], str]) -> None:
    assert growth(written, weight.references, 200) <= MOST


@pytest.mark.parametrize(
    "written",
    [
        lambda n: "${1}" * n,
        lambda n: "$${" * n,
        lambda n: "${" * n,
        lambda n: '${"' + '\\"' * 8 * n,
        lambda n: "${" + '"""\n\\' * 8 * n,
        lambda n: "${" + ("r" + 3 * "'" + "\n") * 8 * n,
    ],
    ids=["many", "escaped", "never closed", "a text that never ends", "blocks that never end", "raw blocks"],
)
def test_a_template_is_taken_apart_in_linear_time(written: Callable[[int], str]) -> None:
    def prepare(text: str) -> object:
        return list(templates._parts(text))

    assert growth(written, prepare, 40) <= MOST


@pytest.mark.parametrize(
    "written",
    [
        lambda n: [("sh",), *[("-x",), (None,)] * n],
        lambda n: [*[("sh",)] * n, (None,)],
        lambda n: [("a",)] * n,
    ],
    ids=["values", "shells", "texts"],
)
def test_a_command_is_judged_in_linear_time(written: Callable[[int], list[argv.Element]]) -> None:
    def judge(elements: list[argv.Element]) -> object:
        return argv.may_begin_with_dash(elements), list(argv.wrong(elements))

    assert growth(written, judge, 100) <= MOST


@pytest.mark.parametrize(
    "written",
    [
        lambda n: 'a="' + "\\" * n,
        lambda n: '"' + '\\"' * n,
        lambda n: "a=" + " " * n + '"',
        lambda n: "a=b" + " " * n + "x",
    ],
    ids=["backslashes", "escapes", "blanks", "left over"],
)
def test_a_matcher_is_read_in_linear_time(written: Callable[[int], str]) -> None:
    assert growth(written, matching.parse, 500) <= MOST


VALUES = [f"v{number:05d}Xq!{number * 7919:08x}" for number in range(1024)]
MASKS = masks.Masks(Credential(value, "db") for value in VALUES)


@pytest.mark.parametrize(
    "written",
    [
        lambda n: [f"t{number}" for number in range(n)],
        lambda n: [VALUES[number % 1024] + "z" for number in range(n)],
        lambda n: " ".join(VALUES[number % 1024] for number in range(n)),
        lambda n: " ".join(VALUES[number % 1024][:9] for number in range(n)),
        lambda n: "\\" * n,
        lambda n: "%25" * n,
    ],
    ids=["short texts", "hits", "hits in one text", "beginnings", "backslashes", "percents"],
)
def test_a_result_is_masked_in_linear_time(written: Callable[[int], Any]) -> None:
    MASKS.json(["warm", "x" * 1000])
    assert growth(written, MASKS.json, 400) <= MOST


def test_the_secrets_of_many_connections_are_learned_in_a_time_that_grows_with_them() -> None:
    def learn(count: int) -> object:
        redactor = Redactor()
        for number in range(count):
            redactor.learn(f"c{number}", "1", lambda at=number: [f"{value}-{at}" for value in VALUES[:50]])
        return redactor

    assert growth(lambda count: count, learn, 10) <= MOST


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = "x" * 200
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "clean",
    [
        *(sanitize.cleaned, sanitize.exact, sanitize.unmistakable, sanitize.plain, sanitize.result, sanitize.canonical),
        *(sanitize.distinct, texts.yaml_lines),
        lambda value: reading.too_deep(value, "spec"),
        is_deeper,
        lambda value: approval._change("what", list(value.items()), list(value.items())[:-1]),
    ],
)
def test_a_result_is_cleaned_and_shown_in_linear_time(clean: Callable[[Any], object]) -> None:
    assert growth(lambda n: {f"k{at}": ["a\u202e", "b" * 90] for at in range(n)}, clean, 100) <= MOST


@pytest.mark.parametrize(
    "show", [texts.visible, texts.visible_page, texts.line, texts.exact, texts.unmistakable, texts.cleaned, texts.plain]
)
def test_a_text_is_cleaned_in_linear_time(show: Callable[[str], str]) -> None:
    assert growth(lambda n: "a \u202e \n" * n, show, 500) <= MOST


@pytest.mark.parametrize(
    "written",
    [lambda n: b'["\\"' * n, lambda n: b'{"a":"\\\\"},' * n, lambda n: b"[" * n],
    ids=["quotes", "backslashes", "brackets"],
)
def test_the_depth_of_json_is_told_in_linear_time(written: Callable[[int], bytes]) -> None:
    assert growth(written, deeper_than, 1000) <= MOST


@pytest.mark.parametrize("piece", [b"x", b"x" * 1000], ids=["bytes", "pieces"])
def test_the_end_of_a_stream_is_kept_in_linear_time_however_it_is_parted(piece: bytes) -> None:
    def follow(count: int) -> bytes:
        tail = Tail(4096)
        for _ in range(count):
            tail.add(piece)
        return tail.kept

    assert growth(lambda count: count, follow, 2000) <= MOST
    assert follow(10_000) == (piece * 10_000)[-4096:]


def received(count: int, *, resolved: bool = False, same: bool = False) -> list[received_alerts.ReceivedAlert]:
    """Alerts of one message: of labels of their own, or all of the same."""
    return [
        received_alerts.of(
            {"alertname": "A", "pod": "same" if same else str(number)},
            START + timedelta(seconds=number),
            START - timedelta(days=number + 1) if resolved else None,
            status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
            annotations={},
            generator_url="",
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("same", [False, True], ids=["labels of their own", "the same labels"])
def test_alerts_are_merged_into_a_group_in_linear_time(same: bool) -> None:
    group = merging.of("prod", "pack", ["alertname"], {"alertname": "A"})

    def grouped(count: int) -> Any:
        opened = merging.opened(group, builders.runbook().spec.severity, received(count, same=same), 0)
        return opened, received(count, resolved=True, same=same)

    assert growth(grouped, lambda given: merging.merged(given[0], given[1], 0), 100) <= MOST


def stored(count: int) -> Iterator[dict[str, Any]]:
    """Incidents of one name, each with the same few alerts."""
    made = messages.alert("A")
    alerts = [{"id": f"{number:064x}" + messages.received_id(made)[64:], "status": "firing"} for number in range(20)]
    for number in range(1, count + 1):
        metadata = {
            "namespace": "prod",
            "name": f"pack-5f2c1-{number}",
            "uid": str(number),
            "resourceVersion": str(number),
        }
        yield {"metadata": metadata, "spec": {"alerts": alerts}, "status": {}}


def test_incidents_of_one_name_are_noted_in_a_time_that_grows_with_them() -> None:
    def note(listed: list[dict[str, Any]]) -> None:
        index = IncidentIndex()
        for each in listed:
            index.note(each)

    assert growth(lambda count: list(stored(count)), note, 20) <= MOST


def test_an_incident_with_many_labels_is_noted_in_linear_time() -> None:
    def labelled(count: int) -> dict[str, Any]:
        found = next(stored(1))
        return {**found, "metadata": {**found["metadata"], "labels": {f"l{at}": "x" for at in range(count)}}}

    assert growth(labelled, lambda found: IncidentIndex().note(found), 500) <= MOST


ONE = json.dumps(messages.alert()).encode()


@pytest.mark.parametrize(
    "written",
    [
        lambda n: b'{"alerts":[' + b",".join([ONE] * n) + b"]}",
        lambda n: b'{"alerts":[' + b"{}," * n + b"{}]}",
        lambda n: b'{"alerts":[' + b"[]," * n + b"[]]}",
        lambda n: b'{"alerts":[{"labels":{"a":"' + b"x" * 64 * n,
        lambda n: b'{"alerts":[{"labels":{"a":"' + b'\\"' * 64 * n + b'"}}]}',
        lambda n: b'{"x":' + b'{"a":' * n,
        lambda n: b'{"x":[' + b"[]," * n + b'[]],"alerts":[]}',
        lambda n: b"{" + b" " * 64 * n,
    ],
    ids=["alerts", "empty alerts", "lists", "a text without end", "escapes", "deep", "beside the alerts", "blanks"],
)
def test_a_message_is_read_in_linear_time(written: Callable[[int], bytes]) -> None:
    def read(body: bytes) -> object:
        try:
            return read_message(body, messages.LIMITS, beginning=True)
        except MalformedError:
            return None

    assert growth(written, read, 200) <= MOST


def test_of_a_long_message_only_what_is_kept_stays_in_memory() -> None:
    told = {**messages.alert(), "annotations": {"description": "x" * 2**20}}
    alerts = [json.dumps({**told, "labels": {"alertname": "A", "pod": str(at)}}).encode() for at in range(31)]
    body = b'{"alerts":[' + b",".join(alerts) + b"]}"
    tracemalloc.start()
    try:
        message = read_message(body, messages.LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(message.alerts), len(body) > 30 * 2**20) == (31, True)
    assert peak < 8 * 2**20, "one alert at a time is decoded, which has 1 MiB"
