"""A Runbook as the apiserver returns it: whatever it holds is read, or told of, and nothing recurses without end."""

import pytest

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import reading
from incident_operator.core.runbooks.compiler import compile_runbook
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.engine import runbooks
from tests.core.runbooks.runbook_texts import spec

META = {"name": "pack", "namespace": "prod", "uid": "1", "generation": 3, "annotations": {}}


def nested(levels):
    value = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


def runbook(**changes):
    return {"metadata": META, "spec": {**spec(), **changes}}


def posting(body):
    return runbook(verify=[{"name": "execute", "http": {"connection": "api", "json": body}}])


@pytest.mark.parametrize("levels", [65, 900, 1000, 100_000])
@pytest.mark.parametrize("make", [posting, lambda body: runbook(surprise=body), lambda body: runbook(match=body)])
def test_what_is_nested_too_deep_is_told_with_its_place(make, levels):
    found = reading.runbook_of(make(nested(levels)))
    assert isinstance(found, Malformed)
    assert found.metadata.generation == 3
    assert found.problem.message == "is nested deeper than 64 levels"
    assert found.problem.path.startswith("spec.")
    assert len(found.problem.path) < 200


def test_lists_count_as_levels_too():
    value = []
    for _ in range(900):
        value = [value]
    assert isinstance(reading.runbook_of(posting(value)), Malformed)


def test_what_is_as_deep_as_anybody_writes_is_read_kept_and_named():
    found = reading.runbook_of(posting(nested(50)))
    assert isinstance(found, Runbook)
    kept = found.spec.to_json()
    assert kept["verify"][0]["http"]["json"] == nested(50)
    assert runbooks.name({"metadata": META, "spec": kept}).startswith("pack-")
    assert reading.runbook_of({"metadata": META, "spec": kept}) == found


def test_what_the_definition_would_refuse_is_told_with_its_place():
    found = reading.runbook_of(runbook(severity="P9"))
    assert isinstance(found, Malformed)
    assert found.problem.path == "spec.severity"


@pytest.mark.parametrize(
    "raw", [{}, {"spec": None}, {"metadata": [], "spec": 1}, {"status": {"conditions": 1}, "spec": []}]
)
def test_what_is_no_runbook_at_all_is_told(raw):
    assert isinstance(reading.runbook_of(raw), Malformed)


def test_an_action_is_kept_as_it_is_written():
    http = {"connection": "api", "json": {"a": None, "b": [1]}, "fromTheFuture": 1}
    step = {"name": "post", "http": http, "expect": "result.status == 200"}
    found = reading.runbook_of(runbook(verify=[{**step, "alsoNew": {"x": None}}]))
    assert isinstance(found, Runbook)
    assert found.spec.to_json()["verify"][0].items() >= {**step, "alsoNew": {"x": None}}.items()
    assert found.spec.verify[0].model_copy(update={"description": "x"}).others["http"] == step["http"]
    assert not isinstance(compile_runbook(found, None, ACTIONS), tuple)


def test_the_connections_of_a_malformed_action_are_still_known():
    steps = [{"name": "a", "http": {"connection": "api", "method": 5}}, {"name": "b", "sqlQuery": "x"}]
    found = reading.runbook_of(runbook(diagnose=steps, mitigate=[], remediate=[], verify=[]))
    assert isinstance(found, Runbook)
    assert reading.connections_of(found.spec, ACTIONS) == {"api"}
