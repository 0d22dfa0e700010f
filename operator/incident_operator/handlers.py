"""The kopf functions: each hands an event to the inbox. No state is kept in kopf, and nothing is patched by it.

Only Connections are watched by kopf, and of those it sees who they are: Incidents and Runbooks, which hold free JSON, come by
`informers.py`, which says why.
"""

from typing import Any

import aiohttp
import kopf

from incident_operator.api.meta import GROUP, VERSION
from incident_operator.clients import identities, kube
from incident_operator.clients.access import Access
from incident_operator.inbox import Inbox

_DELETED = "DELETED"


def register(registry: kopf.OperatorRegistry, inbox: Inbox, access: Access) -> None:
    """Register what kopf watches: the typed kind, which changes seldom."""

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator, unused-ignore]
    async def login(**_: Any) -> kopf.AiohttpSession:
        return _session(access)

    @kopf.on.event(GROUP, VERSION, "connections", registry=registry)
    async def connection(event: kopf.RawEvent, **_: Any) -> None:
        (inbox.connection_gone if event["type"] == _DELETED else inbox.connection)(event["object"])


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watch and nothing else, in a prefix of its own."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.watching.chunk_size = identities.AT_A_TIME
    chosen.queueing.idle_timeout = 0.5
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    return chosen


def _session(access: Access) -> kopf.AiohttpSession:
    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if (token := await access.token()) is not None:
            request.headers["Authorization"] = token
        request.server_hostname = access.server_name
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=kube.connector(access, limit=0),
        middlewares=(authorize, identities.only),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=access.proxy,
    )
    return kopf.AiohttpSession(server=access.server, aiohttp_session=session, default_namespace=access.namespace)
