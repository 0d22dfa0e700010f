"""Which files of a build context a Dockerfile reads: what decides whether an image must be built again. Pure but for globbing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

IGNORED_DIRECTORIES = frozenset({"__pycache__", ".git"})


def copied_sources(text: str) -> tuple[str, ...]:
    """Return the context paths, as written, that COPY and ADD take; not what they take from other stages."""
    return tuple(source for line in _instructions(text) for source in _sources(line))


def context_files(text: str, context: Path) -> tuple[Path, ...]:
    """Every file of the context that the Dockerfile copies, sorted."""
    found = {path for source in copied_sources(text) for match in _matches(context, source) for path in _files(match)}
    return tuple(sorted(found))


def _instructions(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return re.sub(r"\\\s*\n", " ", "\n".join(lines)).splitlines()


def _sources(instruction: str) -> tuple[str, ...]:
    keyword, _, rest = instruction.strip().partition(" ")
    if keyword.upper() not in {"COPY", "ADD"} or "--from=" in rest:
        return ()
    words = _words(re.sub(r"--\S+\s+", "", rest).strip())
    return tuple(word for word in words[:-1] if "://" not in word)


def _words(arguments: str) -> list[str]:
    if arguments.startswith("["):
        return [str(word) for word in json.loads(arguments)]
    return shlex.split(arguments)


def _matches(context: Path, source: str) -> list[Path]:
    relative = source.lstrip("/").rstrip("/")
    if relative in {"", "."}:
        return [context]
    return list(context.glob(relative.removeprefix("./")))


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
        return
    for child in path.iterdir():
        if child.name not in IGNORED_DIRECTORIES:
            yield from _files(child)
