"""How to reach the apiserver, and as whom: read once from a kubeconfig or from the Pod's own service account.

No request to the apiserver is sent from here; `kubernetes/apiserver.py` and `kubernetes/accounts.py` are made from an `Access`.
"""

import asyncio
import importlib
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_REFRESH_SECONDS = 60.0
"""The kubelet rotates the token file long before it expires, so a minute of age does no harm."""
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """The apiserver cannot be reached with what was given; the message names the file or context."""


class Credentials:
    """The current `Authorization` header, renewed at most once a minute (token files, exec plug-ins, OIDC)."""

    def __init__(self, read: Callable[[], Awaitable[str | None]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._learn: Callable[[str], None] = lambda _: None
        self._value: str | None = None
        self._stale_at = float("-inf")
        self._lock = asyncio.Lock()

    def teach(self, learn: Callable[[str], None]) -> None:
        """Tell `learn` the secret in the present value, and in each one that is read later."""
        self._learn = learn
        self._tell()

    def _tell(self) -> None:
        if self._value:
            self._learn(self._value.partition(" ")[2])

    async def header(self) -> str | None:
        """Return the header's value, or None where a client certificate (or nothing) identifies the caller."""
        async with self._lock:
            if self._clock() >= self._stale_at:
                self._value = await self._read()
                self._stale_at = self._clock() + _REFRESH_SECONDS
                self._tell()
            return self._value

    def forget(self) -> None:
        """Read again on the next call: the apiserver refused the current value."""
        self._stale_at = float("-inf")


async def _anonymous() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Access:
    """One apiserver and one identity. Immutable but for the credentials, which renew themselves."""

    server: str
    """Base URL without a trailing slash, e.g. `https://10.96.0.1:443`."""
    tls: ssl.SSLContext | None = None
    """Trust and client certificate; None for plain HTTP, which only tests use."""
    namespace: str = "default"
    """The context's or the Pod's own namespace."""
    server_name: str | None = None
    """TLS server name where it differs from the URL's host."""
    proxy: str | None = None
    credentials: Credentials = field(default_factory=lambda: Credentials(_anonymous), repr=False, compare=False)

    async def token(self) -> str | None:
        """Return the current value of the `Authorization` header. Raises `AccessError` where it cannot be renewed."""
        return await self.credentials.header()


async def load(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """Read how to reach the apiserver; raises `AccessError`.

    A named kubeconfig (or context) is used as it is. Otherwise a Pod uses its own service account, and a program
    outside a cluster the default kubeconfig of kubectl.
    """
    if kubeconfig is None and context is None and (_IN_CLUSTER / "token").is_file():
        return await _from_pod()
    return await _from_kubeconfig(kubeconfig, context)


async def _from_pod() -> Access:
    loader = _kubernetes("config.incluster_config").InClusterConfigLoader(
        str(_IN_CLUSTER / "token"), str(_IN_CLUSTER / "ca.crt"), try_refresh_token=False
    )

    async def reload(configuration: Any) -> None:
        loader.load_and_set(configuration)

    namespace = (_IN_CLUSTER / "namespace").read_text().strip()
    return await _access(reload, namespace, "the Pod's service account")


async def _from_kubeconfig(kubeconfig: str | None, context: str | None) -> Access:
    kube_config = _kubernetes("config.kube_config")
    paths = kubeconfig or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    _require_a_file(paths)
    try:
        merged = kube_config.KubeConfigMerger(paths).config
        loader = kube_config.KubeConfigLoader(merged, active_context=context, config_base_path=None)
        namespace = str(loader.current_context["context"].get("namespace") or "default")
    except Exception as error:
        raise AccessError(f"kubeconfig {paths}: {error}") from error
    return await _access(loader.load_and_set, namespace, f"kubeconfig {paths}")


def _require_a_file(paths: str) -> None:
    if any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        return
    raise AccessError(f"kubeconfig {paths}: no such file; name one with --kubeconfig or KUBECONFIG, or run in a Pod")


async def _access(reload: Callable[[Any], Awaitable[None]], namespace: str, origin: str) -> Access:
    configuration = _kubernetes("client").Configuration()

    async def authorization() -> str | None:
        try:
            await reload(configuration)
        except Exception as error:
            raise AccessError(f"{origin}: cannot renew the credentials: {error}") from error
        value = configuration.api_key.get("BearerToken")
        return _one_line(value) if value else None

    credentials = Credentials(authorization)
    await credentials.header()
    server = str(configuration.host)
    return Access(
        server=server.rstrip("/"),
        tls=_tls_context(configuration, origin) if server.startswith("https:") else None,
        namespace=namespace,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        credentials=credentials,
    )


def _kubernetes(module: str) -> Any:
    """Import a part of the client library when it is first needed: it takes a second, and carries few types."""
    return importlib.import_module(f"kubernetes.aio.{module}")


def _one_line(authorization: str) -> str:
    scheme, _, secret = authorization.strip().partition(" ")
    return f"{scheme.capitalize()} {secret.strip()}"


def _tls_context(configuration: Any, origin: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except OSError as error:
        raise AccessError(f"{origin}: cannot use its certificates: {error}") from error
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
