"""The quickstart by an operator that starts for the first time: it makes the Secret with the key of its markers."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import NotFound
from proofs.faults.operators import LEASE
from proofs.faults.quickstart import Quickstart
from proofs.faults.scenario import Scenario
from proofs.faults.troubles import Fault

_SECRET = f"{LEASE}-markers"


class FirstStart(Quickstart):
    """Everything that a first start writes is written in each run."""

    name = "first-start"
    bound = 60.0
    watched: Mapping[str, tuple[Fault, ...]] = MappingProxyType({})

    async def open(self, scenario: Scenario) -> None:
        """Take the Secret away and start anew."""
        with suppress(NotFound):
            await scenario.admin.delete(discovery.secrets(scenario.namespace, _SECRET))
        await scenario.restart()
        await super().open(scenario)
