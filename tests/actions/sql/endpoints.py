"""Endpoints, calls and a Connections object for tests of SQL actions."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from incident_operator.actions.sql import execute as execute_action
from incident_operator.actions.sql import query as query_action
from incident_operator.actions.sql.execute import SqlExecute
from incident_operator.actions.sql.query import SqlQuery
from incident_operator.api.connection import Connection, ConnectionSpec
from incident_operator.api.meta import Model, ObjectMeta
from incident_operator.api.runbook import Stage
from incident_operator.clients import queries
from incident_operator.clients.queries import Query, Reads
from incident_operator.clients.sql import Rows, Sessions
from incident_operator.connections import Endpoint
from incident_operator.connections.postgres import Postgres
from incident_operator.core.action import Call, UndoOf
from tests.actions.played import Played, clients

EFFECTS_SQL = Path(__file__).parents[3] / "operator/incident_operator/clients/effects.sql"
PASSWORD = "p%ss/w0rd+ßecret"


@dataclass(frozen=True)
class Database:
    """One fresh database, its owner's connection, and endpoints for other roles."""

    host: str
    name: str
    port: int = 5432

    def owner(self) -> psycopg.Connection:
        return psycopg.connect(host=self.host, port=self.port, dbname=self.name, user="postgres", autocommit=True)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with self.owner() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str) -> Any:
        return self.run(statement)[0][0]

    def grant_effects(self, role: str) -> None:
        text = EFFECTS_SQL.read_text().replace(':"role"', sql.Identifier(role).as_string(None))
        self.run(text)

    def endpoint(self, role: str = "app_write", **other: Any) -> Endpoint:
        where = {"host": self.host, "port": self.port, "database": self.name, "ssl_mode": "disable"} | other
        return endpoint(Postgres.model_validate(where), {"username": role, "password": PASSWORD})


def endpoint(where: Postgres, secret: dict[str, str]) -> Endpoint:
    spec = ConnectionSpec.model_validate({"type": "postgres", "postgres": where.to_json()})
    connection = Connection(metadata=ObjectMeta(name="db", namespace="prod"), spec=spec)
    return Endpoint(connection=connection, secret=secret, version="1/1")


@dataclass
class FakeConnections:
    """Answers every name with one endpoint, or raises."""

    found: Endpoint | Exception
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def endpoint(self, namespace: str, name: str, service_account: str) -> Endpoint:
        self.asked.append((namespace, name, service_account))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def call(spec: Model, key: str = "key-1", timeout: float = 10.0, undo_of: UndoOf | None = None) -> Call[Any]:
    return Call(
        namespace="prod",
        incident="pack-5f2c1-1",
        incident_uid="uid-1",
        runbook="pack",
        service_account="rb-pack",
        stage=Stage.MITIGATE,
        step="serve-last-good",
        attempt=1,
        key=key,
        action="sqlQuery" if isinstance(spec, SqlQuery) else "sqlExecute",
        spec=spec,
        timeout=timeout,
        started_at=datetime(2025, 10, 21, tzinfo=UTC),
        undo_of=undo_of,
    )


def execute(statement: str | None, max_rows: int = 10, **other: Any) -> SqlExecute:
    return SqlExecute.model_validate({"connection": "db", "statement": statement, "maxRows": max_rows} | other)


def query(statement: str, **other: Any) -> SqlQuery:
    return SqlQuery.model_validate({"connection": "db", "statement": statement} | other)


def writing(connections: FakeConnections, sessions: Sessions | None = None) -> Played:
    return Played(execute_action.ACTION, clients(connections=connections, sessions=sessions or Sessions()))


@dataclass(frozen=True)
class Here:
    """Runs queries as the helper does, in the test's own process."""

    sessions: Sessions

    async def read(self, query: Query) -> Rows:
        async with self.sessions.slot(query.endpoint, query.seconds):
            return await queries.read_here(query)


def reading(connections: FakeConnections, sessions: Sessions | None = None, queries: Reads | None = None) -> Played:
    return Played(
        query_action.ACTION, clients(connections=connections, queries=queries or Here(sessions or Sessions()))
    )
