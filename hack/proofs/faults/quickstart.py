"""The quickstart as it ships, with two differences: each run is a group of its own, and no Pods are made (paused)."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import yaml
from demonstration.cluster import REPOSITORY

from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import NotFound
from proofs.faults.history import Effect, Rules
from proofs.faults.scenario import Scenario
from proofs.faults.troubles import ON_WATCHES, Fault

_FOLDER = REPOSITORY / "examples" / "quickstart"
_NAMESPACE = "quickstart"


class Quickstart:
    """Scales up, and back once the alert has resolved."""

    name = "quickstart"
    beside: frozenset[str] = frozenset()
    rules = Rules(order=("scale-up", "undo-scale-up"), asks=frozenset(), temporary=frozenset({"scale-up"}))
    bound = 40.0
    watched: Mapping[str, tuple[Fault, ...]] = {
        "added": tuple(fault for fault in ON_WATCHES if fault is not Fault.WATCH_HIDES_MODIFIED),
        "resolved": tuple(fault for fault in ON_WATCHES if fault is not Fault.WATCH_HIDES_ADDED),
    }

    def __init__(self, namespace: str) -> None:
        self._runbook: dict[str, Any] = {}
        self.labels: Mapping[str, str] = {"alertname": "HighLatency", "namespace": namespace, "severity": "warning"}

    @asynccontextmanager
    async def set_up(self, scenario: Scenario) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the example's objects, in another namespace."""
        yield self._documents(scenario.namespace)

    def _documents(self, namespace: str) -> list[dict[str, Any]]:
        text = "---\n".join((_FOLDER / f"{name}.yaml").read_text() for name in ("web", "rbac", "runbook"))
        text = text.replace(f"namespace: {_NAMESPACE}", f"namespace: {namespace}")
        text = text.replace(f'namespace="{_NAMESPACE}"', f'namespace="{namespace}"')
        found = [each for each in yaml.safe_load_all(text) if each and each["kind"] not in {"Namespace", "Service"}]
        for each in found:
            if each["kind"] == "Deployment":
                each["spec"]["paused"] = True
            if each["kind"] == "Runbook":
                each["spec"]["groupBy"] = ["run"]
                self._runbook = each
        return found

    async def begin(self, scenario: Scenario) -> None:
        """Two replicas, and no Runbook."""
        await scenario.scale("web", 2)
        with suppress(NotFound):
            await scenario.admin.delete(discovery.runbooks(scenario.namespace, self._runbook["metadata"]["name"]))

    async def open(self, scenario: Scenario) -> None:
        """The Runbook anew, so that what the operator writes about Runbooks is part of each run."""
        await scenario.admin.create(discovery.runbooks(scenario.namespace), self._runbook)

    async def effects(self, _: Scenario) -> Sequence[Effect]:
        """Nothing but the Deployment is changed."""
        return ()

    async def happened(self, scenario: Scenario, step: str) -> bool:
        """Look whether the step of this run left its mark on the Deployment: somebody may have scaled over it since."""
        now = {each["metadata"]["name"] async for each in scenario.admin.list(discovery.incidents(scenario.namespace))}
        web = await scenario.admin.get(discovery.of("/apis/apps/v1", scenario.namespace, "deployments", "web"))
        marks = json.loads(web["metadata"].get("annotations", {}).get("incidents.dev/scaled-by", "[]"))
        return any(mark["step"] == step and mark["incident"] in now for mark in marks)

    async def meddle(self, scenario: Scenario) -> None:
        """Somebody scales by hand."""
        await scenario.scale("web", 3)

    async def change(self, scenario: Scenario) -> None:
        """The same as somebody who meddles does."""
        await self.meddle(scenario)
