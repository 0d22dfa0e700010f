"""An HTTP service."""

from typing import Annotated

from pydantic import Field

from incident_operator.api.connection import Url
from incident_operator.api.meta import Model
from incident_operator.connections.declaration import Asking, ConnectionType

SECRET = "maybe `token` (sent as bearer), or `username` and `password`; maybe `ca.crt`"  # noqa: S105 # names of keys


class HttpEndpoint(Model):
    """An HTTP service; `secretRef` may hold `token` (bearer), or `username` and `password`, and `ca.crt`."""

    url: Url
    """Scheme, host and port, maybe a path; steps can only go below it, and redirects are not followed."""
    probe_path: Annotated[str, Field(pattern=r"^/", max_length=512)] = "/"
    """Path fetched to see whether the service answers; any HTTP status counts as an answer."""


async def _probe(where: HttpEndpoint, ask: Asking) -> None:
    await ask.get(where.url, where.probe_path)


CONNECTION = ConnectionType("http", HttpEndpoint, SECRET, _probe)
