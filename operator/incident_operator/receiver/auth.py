"""Who may post: whoever shows a bearer token that is valid now.

Where the tokens are kept is for a source to know: files, or a Secret of the operator's own, which is made once and looked at again
every minute on every replica.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from incident_operator.kubernetes import apiserver
from incident_operator.kubernetes.state import made_once, read_own_secret

_EVERY = 60.0
"""Seconds between two looks: as long as a kubelet takes to renew a mounted Secret."""
_BYTES = 30
"""Of a new token: 40 characters that fit into a header."""
_SCHEME = "bearer"
_log = structlog.get_logger()


class TokenError(Exception):
    """No place that was named holds a token; the message names the places."""


class Source(Protocol):
    """Where tokens are kept; they may be replaced at any time. Its `str` names the place, and no token."""

    def current(self) -> Sequence[bytes]:
        """Return the tokens that are valid now, in no order; an empty one counts for nothing."""
        ...


class Tokens:
    """The tokens that are valid now."""

    def __init__(self, source: Source, learn: Callable[[str], None] = lambda _: None) -> None:
        """Raise `TokenError` where the source holds no token: nobody could post. Each token is told to `learn`."""
        self._source = source
        self._learn = learn
        self._told: frozenset[bytes] = frozenset()
        if not any(self._current()):
            raise TokenError(f"no bearer token in {source}")

    def admits(self, authorization: str | None) -> bool:
        """Return whether the header `Authorization` carries a valid token; how long that takes tells nothing of it."""
        scheme, _, given = (authorization or "").partition(" ")
        presented = given.strip().encode(errors="replace")
        equal = [hmac.compare_digest(presented, token) and bool(token) for token in self._current()]
        return scheme.lower() == _SCHEME and any(equal)

    def why_not(self, authorization: str | None) -> str:
        """Return why a header does not let a request in, for the log: nothing of what it says is in it."""
        if not authorization:
            return "it has no header Authorization"
        if authorization.partition(" ")[0].lower() != _SCHEME:
            return "its header Authorization is not of the form Bearer TOKEN"
        return f"its token is not one of those in {self._source}"

    def _current(self) -> Sequence[bytes]:
        tokens = self._source.current()
        for new in frozenset(tokens) - self._told:
            if new:
                self._learn(new.decode(errors="replace"))
        self._told = frozenset(tokens)
        return tokens


@dataclass(slots=True)
class _File:
    path: Path
    seen: tuple[int, int, int] | None = None
    token: bytes = b""


class TokenFiles:
    """A source: one token a file. A file that is missing or empty holds none; one that changed is read again."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [_File(path) for path in paths]

    def __str__(self) -> str:
        return ", ".join(str(file.path) for file in self._files)

    def current(self) -> Sequence[bytes]:
        """Return the tokens of all files, as they are now."""
        for file in self._files:
            try:
                status = file.path.stat()
                seen = (status.st_mtime_ns, status.st_ino, status.st_size)
                if seen != file.seen:
                    file.token, file.seen = file.path.read_bytes().strip(), seen
            except OSError as error:
                if file.token:
                    _log.warning("A bearer token is gone", file=str(file.path), error=error.strerror)
                file.token, file.seen = b"", None
        return [file.token for file in self._files]


class SecretTokens:
    """A source of `Tokens`: what the named keys of the Secret hold. A person may change, add and remove them.

    A Secret that vanishes is made again with the tokens in memory: Alertmanager, which has them, must not be locked out.
    """

    def __init__(
        self, client: apiserver.Kube, namespace: str, name: str, keys: Sequence[str], every: float = _EVERY
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
            found = await read_own_secret(self._kube, self._namespace, self._name)
        except apiserver.NotFound:
            _log.warning(
                "The Secret of the bearer tokens is gone; it is made again with the same tokens", secret=self._name
            )
            found = await self._made(self._held or {key: _new() for key in self._keys})
        before, self._held = self._held, self._named(found)
        if self._held == before:
            return
        if self._held:
            _log.info("The bearer tokens changed", secret=self._name, keys=sorted(self._held))
        else:
            _log.warning("No bearer token is left, so no alerts are let in", secret=self._name, keys=self._keys)

    async def run(self) -> None:
        """Look again and again, until cancelled. What goes wrong is told, and the last tokens stay valid."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except apiserver.ApiError as error:
                _log.warning("The bearer tokens cannot be read again", secret=self._name, error=str(error))
            except Exception:  # noqa: BLE001 # a defect met in one look must not end all later ones
                _log.exception("Reading the bearer tokens again failed", secret=self._name)

    async def _made(self, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return await made_once(self._kube, self._namespace, self._name, values)

    def _named(self, found: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {key: found[key].strip() for key in self._keys if found.get(key, b"").strip()}


def _new() -> bytes:
    return secrets.token_urlsafe(_BYTES).encode()
