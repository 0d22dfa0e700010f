"""The quickstart by an operator that starts for the first time: it makes the Secret with the key of its markers."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from faults.operators import LEASE
from faults.quickstart import Quickstart
from faults.scene import Scene
from faults.troubles import Fault
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import NotFound

_SECRET = f"{LEASE}-markers"


class FirstStart(Quickstart):
    """Everything that a first start writes is written in each run."""

    name = "first-start"
    bound = 60.0
    watched: Mapping[str, tuple[Fault, ...]] = MappingProxyType({})

    async def open(self, scene: Scene) -> None:
        """Take the Secret away and start anew."""
        with suppress(NotFound):
            await scene.admin.delete(discovery.secrets(scene.namespace, _SECRET))
        await scene.restart()
        await super().open(scene)
