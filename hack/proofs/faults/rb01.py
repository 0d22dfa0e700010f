"""RB-01 of the sample platform, as it ships: real Pods, real Services, a database in the cluster, a day of its own for each run."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from demonstration import cluster as clusters
from demonstration import manifests, platform, timings

from incident_operator.kubernetes import discovery
from proofs.faults import sql_line
from proofs.faults.history import Effect, Moment, Rules
from proofs.faults.scenario import Scenario
from proofs.faults.sql_line import SqlLine
from proofs.faults.troubles import ON_WATCHES, Fault

_PLATFORM = ("database", "providers", "scheduler", "api")
"""Without Prometheus and Alertmanager: the run itself says when the alert fires."""
_FIRST_DAY = date(2031, 1, 1)
"""Later than any pack that the sample has."""
_WITNESS = """
CREATE TABLE IF NOT EXISTS information_schema.witness (
  number bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), tx xid8 DEFAULT pg_current_xact_id(),
  pack text, fresh boolean, key text);
CREATE OR REPLACE FUNCTION witnessed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET track_counts = off AS $$ BEGIN
  IF session_user = 'dawsos_write' THEN INSERT INTO information_schema.witness (pack, fresh) VALUES (NEW.id, NEW.is_fresh); END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION marked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET track_counts = off AS $$ BEGIN
  INSERT INTO information_schema.witness (key) VALUES (NEW.step_key);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER marked AFTER UPDATE ON incident_operator.incident_operator_effects
  FOR EACH ROW EXECUTE FUNCTION marked();
CREATE OR REPLACE TRIGGER witnessed AFTER UPDATE ON pricing_pack FOR EACH ROW EXECUTE FUNCTION witnessed();
"""
"""What it sees is not counted by the server, since whoever limits what a statement may change goes by its counts."""
_EFFECTS = """
SELECT coalesce(string_agg(pack || CASE WHEN fresh THEN ' fresh' ELSE ' stale' END, ', ' ORDER BY number), 'no pack changed'),
  extract(epoch FROM min(at))::float, min(key)
FROM information_schema.witness WHERE number > %s GROUP BY tx ORDER BY min(number)"""
"""A transaction is one effect, be it that it found nothing to change; the marker that was filled in it tells its key.

A marker that is only inserted is a tombstone: nothing was done under its key.
"""
_CHANGES = ("serve-last-good", "mark-fresh", "undo-serve-last-good")
"""The steps that change the database, in order."""
_OVERSEER, _PASSWORD = "overseer", "of-a-test"


class Rb01:
    """Serves the last good pack, rebuilds tonight's, gives it to users, takes the old one back."""

    name = "RB-01"
    bound = 120.0
    watched: Mapping[str, tuple[Fault, ...]] = {
        "approved": tuple(fault for fault in ON_WATCHES if fault is not Fault.WATCH_HIDES_ADDED),
    }
    beside = frozenset({"PATCH runbooks/status", "PATCH connections/status", "POST controllerrevisions"})
    rules = Rules(
        order=("serve-last-good", "rebuild", "mark-fresh", "undo-serve-last-good"),
        asks=frozenset({"rebuild", "mark-fresh"}),
        temporary=frozenset({"serve-last-good"}),
    )

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._day = _FIRST_DAY
        self._last = 0
        self._owner: psycopg.Connection

    @property
    def labels(self) -> Mapping[str, str]:
        """The alert of the run's own day."""
        labels = {"alertname": "PricingPackBuildFailure", "namespace": self._namespace, "severity": "page"}
        return {**labels, "pack_date": str(self._day)}

    @asynccontextmanager
    async def set_up(self, scenario: Scenario) -> AsyncIterator[list[dict[str, Any]]]:
        """Deploy the platform, look over the database's shoulder, and put the line before it."""
        cluster = scenario.cluster
        await asyncio.to_thread(clusters.build_image, platform.IMAGE, platform.DOCKERFILE, "platform")
        await asyncio.to_thread(cluster.apply, _deployed(scenario.namespace))
        await asyncio.to_thread(cluster.roll_out, scenario.namespace, *_PLATFORM)
        address = await _address(scenario, "database")
        await asyncio.to_thread(_as_administrator, scenario)
        async with AsyncExitStack() as stack:
            login: dict[str, Any] = {"host": address, "user": _OVERSEER, "password": _PASSWORD, "dbname": "dawsos"}
            self._owner = stack.enter_context(await _connected(login))
            self._owner.execute(_WITNESS)
            line = SqlLine(lambda: asyncio.open_connection(address, 5432))
            scenario.sql = await stack.enter_async_context(sql_line.opened(line))
            names = ("rbac", "connections", "runbook")
            found = _moved(manifests.documents(*(f"incidents/{name}.yaml" for name in names)), scenario.namespace)
            yield [await _reachable(scenario, each, line.port) for each in found]

    async def begin(self, scenario: Scenario) -> None:
        """A new day, whose pack was not built; none is fresh."""
        self._day += timedelta(days=1)
        self._owner.execute("UPDATE pricing_pack SET is_fresh = FALSE")
        row = self._owner.execute("SELECT coalesce(max(number), 0) FROM information_schema.witness").fetchone()
        self._last = row[0] if row else 0
        scenario.group = {"pack_date": str(self._day)}

    async def open(self, scenario: Scenario) -> None:
        """The Runbook is there already."""

    async def effects(self, _: Scenario) -> Sequence[Effect]:
        """What the trigger noted, one effect for each transaction of the operator's role."""
        rows = self._owner.execute(_EFFECTS, [self._last]).fetchall()
        return [Effect(what, Moment(at), key or "no mark") for what, at, key in rows]

    async def happened(self, scenario: Scenario, step: str) -> bool:
        """Look whether the database was changed as often as it is once that step is done."""
        return len(await self.effects(scenario)) > _CHANGES.index(step)

    async def meddle(self, scenario: Scenario) -> None:
        """Nobody interferes."""

    async def change(self, scenario: Scenario) -> None:
        """The same as somebody who meddles does."""
        await self.meddle(scenario)


def _deployed(namespace: str) -> list[dict[str, Any]]:
    files = (f"platform/{name}.yaml" for name in ("namespace", *_PLATFORM))
    objects = [each for each in manifests.documents(*files) if each["kind"] != "Namespace"]
    objects = [*manifests.credentials("not used"), manifests.database_sql(), *objects]
    found = _moved(timings.shortened(objects, datetime.now(UTC)), namespace)
    for each in found:
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "providers"):
            each["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "0"  # DELAY_SECONDS
    return found


def _moved(objects: Sequence[Mapping[str, Any]], namespace: str) -> list[dict[str, Any]]:
    text = json.dumps(list(objects)).replace(".prod.svc", f".{namespace}.svc")
    text = text.replace('"namespace": "prod"', f'"namespace": "{namespace}"')
    text = text.replace('namespace=\\"prod\\"', f'namespace=\\"{namespace}\\"')
    found: list[dict[str, Any]] = json.loads(text)
    return found


def _as_administrator(scenario: Scenario) -> None:
    psql = ("psql", "--host=/tmp", "--username=postgres", "--dbname=dawsos", "--command")
    statement = f"CREATE ROLE {_OVERSEER} SUPERUSER LOGIN PASSWORD '{_PASSWORD}'"
    scenario.cluster.kubectl("exec", "deployment/database", "-n", scenario.namespace, "--", *psql, statement)


async def _reachable(scenario: Scenario, document: dict[str, Any], sql_port: int) -> dict[str, Any]:
    """Replace names of Services, which only Pods can resolve; writes go through the line."""
    if document["kind"] != "Connection":
        return document
    if document["metadata"]["name"] == "dawsos-write":
        document["spec"]["postgres"] |= {"host": "127.0.0.1", "port": sql_port}
        return document
    text = json.dumps(document)
    for name in ("database", "api", "polygon", "fmp", "fred"):
        if f"{name}.{scenario.namespace}.svc" in text:
            text = text.replace(f"{name}.{scenario.namespace}.svc", await _address(scenario, name))
    replaced: dict[str, Any] = json.loads(text)
    return replaced


async def _connected(login: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Connect as soon as the Service leads to the database: a Pod that is ready may be a moment ahead of it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return psycopg.connect(**login, autocommit=True)
            except psycopg.OperationalError:
                await asyncio.sleep(0.2)


async def _address(scenario: Scenario, service: str) -> str:
    found = await scenario.admin.get(discovery.of("/api/v1", scenario.namespace, "services", service))
    return str(found["spec"]["clusterIP"])
