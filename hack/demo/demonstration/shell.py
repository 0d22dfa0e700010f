"""Runs other programs, always within a time. What they mean is decided elsewhere."""

import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


class Failure(Exception):
    """Something did not happen; the message says what, and is the last thing that a reader sees."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended, and what it wrote."""

    code: int
    output: str
    errors: str


def attempt(
    argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] | None = None
) -> Result:
    """Run a program to its end, however it ends. Raises Failure where it is missing or takes longer than `timeout` seconds."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=environment
        )
    except FileNotFoundError:
        raise Failure(f"{argv[0]} is not there; `make cluster` puts it in place") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"`{shlex.join(argv)}` did not end within {timeout:.0f}s") from None
    return Result(done.returncode, done.stdout, done.stderr)


def stream(argv: Sequence[str], tell: Callable[[str], None], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a program that may take long, bounds itself and has to succeed; every line it writes is told at once."""
    last: deque[str] = deque(maxlen=12)
    with subprocess.Popen(
        list(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            last.append(line)
            tell(line.strip())
    if process.returncode != 0:
        raise Failure(f"`{shlex.join(argv)}` failed with exit code {process.returncode}:\n{''.join(last).rstrip()}")


def run(
    argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program that has to succeed; returns what it wrote to standard output."""
    result = attempt(argv, stdin=stdin, timeout=timeout, environment=environment)
    if result.code != 0:
        said = (result.errors or result.output).strip()
        raise Failure(f"`{shlex.join(argv)}` failed with exit code {result.code}:\n{said}")
    return result.output
