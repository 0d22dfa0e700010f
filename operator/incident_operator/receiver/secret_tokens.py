"""Bearer tokens in a Secret of the operator's own: made once, and looked at again every minute on every replica."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence

import structlog

from incident_operator.clients import kube, own_secrets

_EVERY = 60.0
"""Seconds between two looks: as long as a kubelet takes to renew a mounted Secret."""
_BYTES = 30
"""Of a new token: 40 characters that fit into a header."""
_log = structlog.get_logger()


class SecretTokens:
    """A source of `Tokens`: what the named keys of the Secret hold. A person may change, add and remove them.

    A Secret that vanishes is made again with the tokens in memory: Alertmanager, which has them, must not be locked out.
    """

    def __init__(
        self, client: kube.Kube, namespace: str, name: str, keys: Sequence[str], every: float = _EVERY
    ) -> None:
        self._kube = client
        self._namespace = namespace
        self._name = name
        self._keys = tuple(keys)
        self._every = every
        self._held: Mapping[str, bytes] = {}

    def __str__(self) -> str:
        return f"Secret {self._namespace}/{self._name}, {', '.join(self._keys)}"

    def current(self) -> Sequence[bytes]:
        """Return the tokens that were there at the last look."""
        return tuple(self._held.values())

    async def start(self) -> None:
        """Read the tokens; the Secret and keys that it lacks are made first. Raises `ApiError`."""
        self._held = self._named(await self._made({key: _new() for key in self._keys}))

    async def look(self) -> None:
        """Take over what the Secret holds now: a key that is gone stops counting. Raises `ApiError`, with all as it was."""
        try:
            found = await own_secrets.read(self._kube, self._namespace, self._name)
        except kube.NotFound:
            _log.warning(
                "The Secret of the bearer tokens is gone; it is made again with the same tokens", secret=self._name
            )
            found = await self._made(self._held or {key: _new() for key in self._keys})
        before, self._held = self._held, self._named(found)
        if self._held != before:
            self._tell()

    async def run(self) -> None:
        """Look again and again, until cancelled. What goes wrong is told, and the last tokens stay valid."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except kube.ApiError as error:
                _log.warning("The bearer tokens cannot be read again", secret=self._name, error=str(error))
            except Exception:  # noqa: BLE001 # a defect met in one look must not end all later ones
                _log.exception("Reading the bearer tokens again failed", secret=self._name)

    async def _made(self, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return await own_secrets.made_once(self._kube, self._namespace, self._name, values)

    def _named(self, found: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {key: found[key].strip() for key in self._keys if found.get(key, b"").strip()}

    def _tell(self) -> None:
        if self._held:
            _log.info("The bearer tokens changed", secret=self._name, keys=sorted(self._held))
        else:
            _log.warning("No bearer token is left, so no alerts are let in", secret=self._name, keys=self._keys)


def _new() -> bytes:
    return secrets.token_urlsafe(_BYTES).encode()
