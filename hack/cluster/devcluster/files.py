"""Files that are whole or not there at all, and locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole: a reader, or a crash, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.chmod(mode)
    unfinished.replace(path)


def digest(parts: Iterable[bytes]) -> str:
    """Sixteen hex digits that change when any part, or where one part ends and the next begins, changes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()[:16]


def digest_of_files(paths: Iterable[Path], relative_to: Path) -> str:
    """Return a digest of names, executable bits and contents. A link counts as where it points."""
    return digest(_described(path, relative_to) for path in sorted(paths))


def _described(path: Path, relative_to: Path) -> bytes:
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    executable = b"x" if os.access(path, os.X_OK) else b"-"
    return b"\0".join((str(path.relative_to(relative_to)).encode(), executable, content))


@contextlib.contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of that name, unless somebody else does: then it yields False."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of that name; waits for whoever holds it. The kernel frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
