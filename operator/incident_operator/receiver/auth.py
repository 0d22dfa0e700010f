"""Who may post: whoever shows a bearer token that is valid now. Where the tokens are kept is for a source to know."""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

_log = structlog.get_logger()
_SCHEME = "bearer"


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
            _refresh(file)
        return [file.token for file in self._files]


def _refresh(file: _File) -> None:
    try:
        status = file.path.stat()
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen != file.seen:
            file.token = file.path.read_bytes().strip()
            file.seen = seen
    except OSError as error:
        if file.token:
            _log.warning("A bearer token is gone", file=str(file.path), error=error.strerror)
        file.token, file.seen = b"", None
