"""The apiserver's audit log from a moment on, however often it was rotated since."""

from collections.abc import Iterator, Sequence
from pathlib import Path

_TRIES = 5


class AuditLines:
    """The lines that were written since this was made."""

    def __init__(self, log: Path) -> None:
        self._log = log
        begun = log.stat()
        self._inode, self._from = begun.st_ino, begun.st_size

    def __iter__(self) -> Iterator[bytes]:
        """Yield each whole line, oldest first. Raises `RuntimeError` where the file that it began in is gone."""
        start = self._from
        for path in self._files():
            with path.open("rb") as log:
                log.seek(start)
                yield from (line for line in log if line.endswith(b"\n"))
            start = 0

    def _files(self) -> Sequence[Path]:
        """Return the file that was current at the start, under its name of now, and those after it."""
        for _ in range(_TRIES):  # one that is rotated between two looks has neither its old name nor its new one
            files = [*sorted(self._log.parent.glob(f"{self._log.stem}-*{self._log.suffix}")), self._log]
            inodes = [path.stat().st_ino for path in files if path.exists()]
            if self._inode in inodes:
                return files[inodes.index(self._inode) :]
        raise RuntimeError(f"{self._log} was rotated so often that its start is gone")
