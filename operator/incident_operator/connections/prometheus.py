"""A Prometheus, or what speaks its query API."""

from incident_operator.connections.declaration import Asking, ConnectionType
from incident_operator.connections.http import CREDENTIALS, SECRET, HttpEndpoint, derived


async def _probe(_where: HttpEndpoint, ask: Asking) -> None:
    await ask.promql("vector(1)")


CONNECTION = ConnectionType("prometheus", HttpEndpoint, SECRET, _probe, CREDENTIALS, derived)
