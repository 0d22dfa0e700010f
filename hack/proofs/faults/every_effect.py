"""Every class of effect once, each with a witness of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml

from proofs.faults import databases, sql_line
from proofs.faults.audit import seconds
from proofs.faults.history import Effect, Moment, Rules
from proofs.faults.scenario import Scenario
from proofs.faults.sql_line import SqlLine
from proofs.faults.troubles import ON_WATCHES, Fault
from tests.actions.sql.endpoints import PASSWORD

_MANIFEST = Path(__file__).with_name("every-effect.yaml")
_BOX = "box"
_REMEDIATE = ("rebuild", "keyed", "unkeyed", "probed", "command", "settle")


class EveryEffect:
    """Reads, changes rows, scales, runs a Job, calls a service with and without a key, runs a command."""

    name = "every-effect"
    bound = 60.0
    watched: Mapping[str, tuple[Fault, ...]] = {
        "approved": tuple(fault for fault in ON_WATCHES if fault is not Fault.WATCH_HIDES_ADDED),
    }
    beside = frozenset({"PATCH runbooks/status", "PATCH connections/status", "POST controllerrevisions"})
    rules = Rules(
        order=("note", "scale-up", *_REMEDIATE, "undo-scale-up", "undo-note"),
        asks=frozenset(_REMEDIATE),
        temporary=frozenset({"note", "scale-up"}),
    )

    def __init__(self, namespace: str) -> None:
        self.labels: Mapping[str, str] = {"alertname": "EveryEffect", "namespace": namespace}
        self._owner: psycopg.Connection

    @asynccontextmanager
    async def set_up(self, scenario: Scenario) -> AsyncIterator[list[dict[str, Any]]]:
        """Open the worker's database and the line to it."""
        made = await asyncio.to_thread(databases.create, scenario.database_host, scenario.namespace)
        socket = f"{scenario.database_host}/.s.PGSQL.5432"
        async with AsyncExitStack() as stack:
            self._owner = stack.enter_context(made.owner())
            line = SqlLine(lambda: asyncio.open_unix_connection(socket))
            scenario.sql = await stack.enter_async_context(sql_line.opened(line))
            yield [_secret(scenario.namespace), *self.documents(scenario, line.port)]

    def documents(self, scenario: Scenario, sql_port: int) -> list[dict[str, Any]]:
        """Return the objects, with the ports of this worker."""
        text = _MANIFEST.read_text().replace("NAMESPACE", scenario.namespace)
        text = text.replace("SQL_PORT", str(sql_port)).replace("HTTP_PORT", str(scenario.recorder.port))
        found: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        return found

    async def begin(self, scenario: Scenario) -> None:
        """One replica; rows of the run's own."""
        await scenario.scale("worker", 1)
        databases.begin(self._owner, scenario.run)

    async def open(self, scenario: Scenario) -> None:
        """The Runbook is there already."""

    async def effects(self, scenario: Scenario) -> Sequence[Effect]:
        """What the database, the service and the container know."""
        return [*databases.effects(self._owner, scenario.run), *self.served(scenario), *await self._commands(scenario)]

    def served(self, scenario: Scenario) -> list[Effect]:
        """What the service carried out."""
        return [
            Effect(f"POST {each.path}", Moment(each.at), each.key, "" if each.key else each.path.removeprefix("/"))
            for each in scenario.recorder.done
            if each.run == scenario.run
        ]

    async def happened(self, scenario: Scenario, step: str) -> bool:
        """Look at what the service, or the container, did for the run."""
        if step == "command":
            return bool(await self._commands(scenario))
        return bool(scenario.recorder.of(scenario.run, f"/{step}"))

    async def meddle(self, scenario: Scenario) -> None:
        """Somebody scales, and puts another row where one was approved."""
        await scenario.scale("worker", 2)
        self._owner.execute("INSERT INTO stock (run, item) VALUES (%s, 2)", [scenario.run])
        scenario.noted("another row of stock")

    async def change(self, scenario: Scenario) -> None:
        """The same as somebody who meddles does."""
        await self.meddle(scenario)

    async def _commands(self, scenario: Scenario) -> list[Effect]:
        text = await scenario.log(_BOX)
        lines = [line.split(" ", 1) for line in text.splitlines()]
        return [
            Effect("command in the container", Moment(seconds(when)), step="command")
            for when, said in lines
            if said.strip() == scenario.run
        ]


def _secret(namespace: str) -> dict[str, Any]:
    login = {"username": databases.ROLE, "password": PASSWORD}
    metadata = {"name": "database", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": login}
