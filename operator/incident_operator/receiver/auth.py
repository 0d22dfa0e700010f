"""Who may post: bearer tokens, read from files that may be replaced at any time."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

_log = structlog.get_logger()
_SCHEME = "bearer"


class TokenError(Exception):
    """No file holds a token; the message names the files."""


@dataclass(slots=True)
class _File:
    path: Path
    seen: tuple[int, int, int] | None = None
    token: bytes = b""


class Tokens:
    """The tokens that are valid now. A file that is missing or empty holds none."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read all files. Raises `TokenError` where none of them holds a token: nobody could post."""
        self._files = [_File(path) for path in paths]
        self._read()
        if not any(file.token for file in self._files):
            raise TokenError(f"no bearer token in {', '.join(str(path) for path in paths)}")

    def admits(self, authorization: str | None) -> bool:
        """Return whether the header `Authorization` carries a valid token; how long that takes tells nothing of it."""
        scheme, _, given = (authorization or "").partition(" ")
        self._read()
        presented = given.strip().encode(errors="replace")
        equal = [hmac.compare_digest(presented, file.token) and bool(file.token) for file in self._files]
        return scheme.lower() == _SCHEME and any(equal)

    def _read(self) -> None:
        for file in self._files:
            _refresh(file)


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
