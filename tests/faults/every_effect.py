"""Every class of effect once, each with a witness of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml

from faults import databases, sql_line
from faults.audit import seconds
from faults.history import Effect, Moment, Rules
from faults.scene import Scene
from faults.sql_line import SqlLine
from faults.troubles import ON_WATCHES, Fault
from sql.endpoints import PASSWORD

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
    async def set_up(self, scene: Scene) -> AsyncIterator[list[dict[str, Any]]]:
        """Open the lane's database and the line to it."""
        made = await asyncio.to_thread(databases.create, scene.database_host, scene.namespace)
        socket = f"{scene.database_host}/.s.PGSQL.5432"
        async with AsyncExitStack() as stack:
            self._owner = stack.enter_context(made.owner())
            line = SqlLine(lambda: asyncio.open_unix_connection(socket))
            scene.sql = await stack.enter_async_context(sql_line.opened(line))
            yield [_secret(scene.namespace), *self.documents(scene, line.port)]

    def documents(self, scene: Scene, sql_port: int) -> list[dict[str, Any]]:
        """Return the objects, with the ports of this lane."""
        text = _MANIFEST.read_text().replace("NAMESPACE", scene.namespace)
        text = text.replace("SQL_PORT", str(sql_port)).replace("HTTP_PORT", str(scene.recorder.port))
        found: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        return found

    async def begin(self, scene: Scene) -> None:
        """One replica; rows of the run's own."""
        await scene.scale("worker", 1)
        databases.begin(self._owner, scene.run)

    async def open(self, scene: Scene) -> None:
        """The Runbook is there already."""

    async def effects(self, scene: Scene) -> Sequence[Effect]:
        """What the database, the service and the container know."""
        return [*databases.effects(self._owner, scene.run), *self.served(scene), *await self._commands(scene)]

    def served(self, scene: Scene) -> list[Effect]:
        """What the service carried out."""
        return [
            Effect(f"POST {each.path}", Moment(each.at), each.key, "" if each.key else each.path.removeprefix("/"))
            for each in scene.recorder.done
            if each.run == scene.run
        ]

    async def happened(self, scene: Scene, step: str) -> bool:
        """Look at what the service, or the container, did for the run."""
        if step == "command":
            return bool(await self._commands(scene))
        return bool(scene.recorder.of(scene.run, f"/{step}"))

    async def meddle(self, scene: Scene) -> None:
        """Somebody scales, and puts another row where one was approved."""
        await scene.scale("worker", 2)
        self._owner.execute("INSERT INTO stock (run, item) VALUES (%s, 2)", [scene.run])
        scene.noted("another row of stock")

    async def change(self, scene: Scene) -> None:
        """The same as somebody who meddles does."""
        await self.meddle(scene)

    async def _commands(self, scene: Scene) -> list[Effect]:
        text = await scene.log(_BOX)
        lines = [line.split(" ", 1) for line in text.splitlines()]
        return [
            Effect("command in the container", Moment(seconds(when)), step="command")
            for when, said in lines
            if said.strip() == scene.run
        ]


def _secret(namespace: str) -> dict[str, Any]:
    login = {"username": databases.ROLE, "password": PASSWORD}
    metadata = {"name": "database", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": login}
