"""Running other programs to their end, with errors that a person can act on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devcluster.console import ClusterError, indented

LAST_LINES = 8


def run(argv: Sequence[str | Path], *, stdin: str = "", timeout: float = 120) -> str:
    """Run a program and return what it wrote to standard output.

    Raises ClusterError with the last lines of its output when it fails, is missing, or takes longer than timeout seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise ClusterError(f"{words[0]} is not installed, or not on PATH") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{' '.join(words)}` did not end within {timeout:.0f}s") from None
    if done.returncode != 0:
        raise ClusterError(_failure(words, done.returncode, done.stderr or done.stdout))
    return done.stdout


def succeeds(argv: Sequence[str | Path], *, timeout: float = 120) -> bool:
    """Tell whether a program is there and exits 0."""
    try:
        run(argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def run_logged(argv: Sequence[str | Path], log: Path, *, timeout: float) -> None:
    """Run a program that writes a lot: its output goes to the file, whose last lines are shown when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    with log.open("w") as output:
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout, check=False
            )
        except FileNotFoundError:
            raise ClusterError(f"{words[0]} is not installed, or not on PATH") from None
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{words[0]} did not end within {timeout:.0f}s; its log is {log}") from None
    if done.returncode != 0:
        raise ClusterError(f"{words[0]} failed with exit code {done.returncode}; the end of {log}:{tail(log)}")


def tail(log: Path, count: int = LAST_LINES) -> str:
    """Return the last lines of a log, indented to hang below a message; empty where there is no log."""
    if not log.exists():
        return ""
    return indented(log.read_text(errors="replace").splitlines()[-count:])


def _failure(words: Sequence[str], code: int, output: str) -> str:
    return f"`{' '.join(words)}` failed with exit code {code}:{indented(output.strip().splitlines()[-LAST_LINES:])}"


def require_program(name: str, why: str) -> None:
    """Raise ClusterError where a program is not on PATH."""
    if shutil.which(name) is None:
        raise ClusterError(f"{name} is not on PATH: {why}")
