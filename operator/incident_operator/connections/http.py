"""An HTTP service; and a Prometheus, or what speaks its query API, which is one."""

import base64
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from incident_operator.api.connection import Url
from incident_operator.api.meta import Model
from incident_operator.connections.declaration import Asking, ConnectionType

SECRET = "maybe `token` (sent as bearer), or `username` and `password`; maybe `ca.crt`; maybe headers, as `header.NAME`"  # noqa: S105 # names of keys
_HEADER = "header."
CREDENTIALS = frozenset({"token", "password"})
"""Keys of that Secret whose values are secret."""


class HttpEndpoint(Model):
    """An HTTP service; `secretRef` may hold `token` (bearer), or `username` and `password`, and `ca.crt`."""

    url: Url
    """Scheme, host and port, maybe a path; steps can only go below it, and redirects are not followed."""
    headers: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
    """Sent with every request, e.g. `X-Scope-OrgID` for a tenant. A step cannot set one of them; what is secret is `header.NAME` of the Secret."""
    probe_path: Annotated[str, Field(pattern=r"^/", max_length=512)] = "/"
    """Path fetched to see whether the service answers; any HTTP status counts as an answer."""
    safe_paths: Annotated[list[Annotated[str, Field(pattern=r"^/", max_length=512)]], Field(max_length=32)] = Field(
        default_factory=list
    )
    """Paths below the URL that a step may send another method to than GET and HEAD, and call `safe`: what is sent there changes nothing.
    One that ends with `/*` means all below it."""

    def is_safe(self, path: str) -> bool:
        """Tell whether a path, as a step has it, is one of those that change nothing."""
        return any(path.startswith(each[:-1]) if each.endswith("/*") else path == each for each in self.safe_paths)


async def _probe(where: HttpEndpoint, ask: Asking) -> None:
    await ask.get(where.url, where.probe_path, headers=where.headers)


def basic(secret: Mapping[str, str]) -> str:
    """Return `username` and `password` as HTTP's basic scheme sends them; empty where one is missing."""
    if "username" not in secret or "password" not in secret:
        return ""
    return base64.b64encode(f"{secret['username']}:{secret['password']}".encode()).decode()


def headers_in(secret: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a Secret holds, under `header.NAME`; a line end behind a value is the file's that it came from."""
    return {key.removeprefix(_HEADER): value.rstrip("\r\n") for key, value in secret.items() if key.startswith(_HEADER)}


def derived(secret: Mapping[str, str]) -> Iterator[str]:
    """Yield what else is secret: what is sent in place of a password that is too short to be looked for, and headers."""
    yield basic(secret)
    yield from headers_in(secret).values()


CONNECTION = ConnectionType("http", HttpEndpoint, SECRET, _probe, CREDENTIALS, derived)


async def _probe_prometheus(_where: HttpEndpoint, ask: Asking) -> None:
    await ask.promql("vector(1)")


PROMETHEUS = ConnectionType("prometheus", HttpEndpoint, SECRET, _probe_prometheus, CREDENTIALS, derived)
