"""What the declarations of actions and of Connection types say fits together."""

import subprocess
import sys
from typing import is_typeddict

import pytest

from incident_operator.actions import ACTIONS
from incident_operator.api.connection import ConnectionSpec
from incident_operator.connections import CONNECTIONS
from incident_operator.core.expressions import templates
from incident_operator.core.expressions.templates import ANY, Rule, Take
from incident_operator.core.outcomes import Effect


def test_no_two_declarations_have_one_key():
    for catalogue in (ACTIONS, CONNECTIONS):
        keys = [each.key for each in catalogue]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.key)
def test_a_declaration_is_whole(action):
    assert action.model.__doc__
    assert action.rights
    assert is_typeddict(action.result)
    assert isinstance(action.effect, Effect) != bool(action.cases)
    assert set(action.connections.values()) <= {each.key for each in CONNECTIONS}


def test_a_mark_holds_for_everything_in_its_field():
    execute = next(action for action in ACTIONS if action.key == "sqlExecute")
    assert set(execute.rendering) == {
        Rule(("params",), Take.NATIVE),
        Rule(("statements", ANY, "params"), Take.NATIVE),
        Rule(("before", "params"), Take.NATIVE),
    }
    assert templates.take_of(execute.rendering, ("statements", 3, "params", "ids", 0)) is Take.NATIVE
    assert templates.take_of(execute.rendering, ("statements", 3, "statement")) is Take.LITERAL
    assert templates.take_of(execute.rendering, ()) is Take.LITERAL


def test_a_declared_path_goes_before_a_mark_around_it():
    job = next(action for action in ACTIONS if action.key == "job")
    assert templates.take_of(job.rendering, ("template", "spec", "containers", 0, "args", 1)) is Take.POD_ARGV
    assert templates.take_of(job.rendering, ("template", "spec", "activeDeadlineSeconds")) is Take.NATIVE


def test_a_connection_of_another_type_leads_nowhere():
    postgres = CONNECTIONS[0]
    written = {"type": "http", "http": {"url": "http://api"}, "postgres": {"host": "db", "database": "app"}}
    assert postgres.of(ConnectionSpec.model_validate(written)) is None
    assert postgres.of(ConnectionSpec.model_validate({**written, "type": "postgres"})).port == 5432
    assert postgres.of(ConnectionSpec.model_validate({"type": "postgres"})) is None


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("incident_operator.connections", ["kopf", "aiohttp", "kubernetes", "psycopg", "requests", "structlog"]),
        ("incident_operator.actions", ["kopf"]),
    ],
)
def test_reading_the_declarations_loads_no_more_than_they_need(module, heavy):
    program = f"import sys, {module}; print(*sorted(sys.modules.keys() & set({heavy})))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
