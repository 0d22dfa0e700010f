"""An Alertmanager whose open alerts are read again; no Runbook names it."""

from typing import Annotated

from pydantic import Field

from incident_operator.api.connection import Url
from incident_operator.api.meta import Model, ObjectName, rule
from incident_operator.connections.declaration import Asking, ConnectionType
from incident_operator.connections.http import CREDENTIALS, SECRET, derived


class Alertmanager(Model):
    """An Alertmanager whose open alerts are read again; `secretRef` may hold what that of an HTTP service may."""

    url: Url | None = None
    """Scheme, host and port, maybe the path of its `--web.route-prefix`; where several are behind it, any of them may answer."""
    addresses: Annotated[list[Url], Field(min_length=1, max_length=16)] | None = None
    """Instead of `url`: each of a cluster's Alertmanagers, or a headless Service of all; every address that a name has is asked by itself."""
    receiver: Annotated[str, Field(max_length=253)] = ""
    """Its receiver that posts to the operator: only alerts that are routed there are read; all alerts when empty."""
    service_account_name: ObjectName | None = None
    """Account of this namespace as which the Secret is read, for no Runbook names this Connection."""

    @property
    def urls(self) -> list[str]:
        """Where it is asked."""
        return self.addresses or ([self.url] if self.url else [])


async def _probe(where: Alertmanager, ask: Asking) -> None:
    for url in where.urls:
        await ask.get(url, "/api/v2/status", ok=True)


CONNECTION = ConnectionType(
    "alertmanager",
    Alertmanager,
    SECRET,
    _probe,
    CREDENTIALS,
    derived,
    rules=(
        rule(
            "!has(self.alertmanager) || has(self.alertmanager.serviceAccountName) || !has(self.secretRef)",
            "secretRef needs alertmanager.serviceAccountName: the account as which the Secret is read",
        ),
        rule(
            "!has(self.alertmanager) || has(self.alertmanager.url) != has(self.alertmanager.addresses)",
            "alertmanager needs either url or addresses",
        ),
    ),
)
