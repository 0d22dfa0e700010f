"""One effect of each class, killed between its intent and its act, and a guard that does not hold any more by then.

Judged by the time of the effect at its witness: etcd's versions of objects, the database's time of the commit, the service's own
log. What each row proves is in `proofs.py`. Two limits of what rows can prove:

- a `keyed-call` and an `unkeyed` effect cannot be called back once they are on the way: their late rows prove that they are told
  as `Unknown` or done, never as not done, and are done at most once;
- the policies are gone for the operator under test alone: its proxy answers 404 for them. On the cluster they stay, since other
  tests need them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from incident_operator.kubernetes import discovery
from proofs.faults import databases
from proofs.faults.every_effect import EveryEffect
from proofs.faults.history import Effect, Rules
from proofs.faults.runs import Run
from proofs.faults.scenario import Scenario
from proofs.faults.troubles import BETWEEN, LATE, Call, Fault, Trouble

_MANIFEST = Path(__file__).with_name("between.yaml")
_INSERT = "SQL INSERT INTO incident_operator.incident_operator_effects"
_CLAIMS = 3
"""The marker is claimed in the trial that people are shown, in that of the comparison, and by the act."""
ACTS: Mapping[str, Call] = {
    "scale": Call("PATCH deployments", 1),
    "job": Call("PATCH jobs", 1),
    "keyed": Call("POST /keyed", 1),
    "unkeyed": Call("POST /unkeyed", 1),
    "sql": Call(_INSERT, _CLAIMS),
}
"""By the label of the alert: the call that is the act."""
LATE_SQL = Call("SQL COMMIT", 1)
"""Before that, nothing that comes late could do anything."""
_LATE = (Fault.DELAYED, Fault.DELAYED_ABORTED)
"""Only a database keeps a look waiting until what was begun is over."""
_STEPS = ("scale", "rebuild", "keyed", "unkeyed", "settle")


def matrix() -> Iterator[Run]:
    """Every class of effect with every row."""
    for act, call in ACTS.items():
        for fault in BETWEEN:
            yield Run(Between.name, Trouble(fault, call))
        for fault in LATE if act == "sql" else _LATE:
            yield Run(Between.name, Trouble(fault, LATE_SQL if act == "sql" else call))


class Between(EveryEffect):
    """Alice approves one act; what comes after is up to the run."""

    name = "between"
    bound = 60.0
    watched: Mapping[str, tuple[Fault, ...]] = MappingProxyType({})
    rules = Rules(order=_STEPS, asks=frozenset(_STEPS), temporary=frozenset())

    def documents(self, scenario: Scenario, sql_port: int) -> list[dict[str, Any]]:
        """The same account, worker and Connections, and other Runbooks."""
        kept = [each for each in super().documents(scenario, sql_port) if each["kind"] not in {"Runbook", "Pod"}]
        return [*kept, *yaml.safe_load_all(_MANIFEST.read_text().replace("NAMESPACE", scenario.namespace))]

    async def begin(self, scenario: Scenario) -> None:
        """Everything as it was before the last run, and the alert that starts the Runbook of this one."""
        self.labels = {"alertname": "Between", "namespace": scenario.namespace, "act": _act(scenario)}
        await scenario.scale("worker", 1)
        await _set_worker(scenario, [])
        await self._move_service(scenario, "127.0.0.1")
        databases.begin(self._owner, scenario.run)

    async def effects(self, scenario: Scenario) -> list[Effect]:
        """What the database and the service know."""
        return [*databases.effects(self._owner, scenario.run), *self.served(scenario)]

    async def change(self, scenario: Scenario) -> None:
        """Make something else of what was approved, whatever that was."""
        await scenario.scale("worker", 2)
        await _set_worker(scenario, [{"name": "CHANGED", "value": scenario.run}])
        await self._move_service(scenario, "localhost")
        self._owner.execute("INSERT INTO stock (run, item) VALUES (%s, 2)", [scenario.run])

    async def _move_service(self, scenario: Scenario, host: str) -> None:
        url = f"http://{host}:{scenario.recorder.port}"
        path = discovery.connections(scenario.namespace, "service")
        await scenario.admin.merge_patch(path, {"spec": {"http": {"url": url}}})


async def _set_worker(scenario: Scenario, env: list[dict[str, str]]) -> None:
    path = discovery.of("/apis/apps/v1", scenario.namespace, "deployments", "worker")
    worker = await scenario.admin.get(path)
    containers = [{**each, "env": env} for each in worker["spec"]["template"]["spec"]["containers"]]
    await scenario.admin.merge_patch(path, {"spec": {"template": {"spec": {"containers": containers}}}})


def _act(scenario: Scenario) -> str:
    if scenario.trouble is None:
        return "scale"
    kind = scenario.trouble.call.kind
    return next((act for act, call in ACTS.items() if call.kind == kind), "sql")
