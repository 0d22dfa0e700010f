"""Which texts `check` looks at: files, what lies in folders, and `-`, which is what is piped in."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STDIN = Path("-")
_ENDINGS = frozenset({".yaml", ".yml", ".json"})
_OURS = re.compile(r"incidents\.dev|kind[\"']?:\s*[\"']?(?:Runbook|Connection)\b")
"""What a file of a folder has to hold to be looked at: there are charts and other manifests beside."""


@dataclass(frozen=True, slots=True)
class Source:
    """One text."""

    file: str
    """As given, or below the folder that was given."""
    text: str
    problem: str = ""
    """Why it cannot be read."""


def sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Yield each text once, in the order given; those of a folder by name. Raises nothing for what cannot be read."""
    seen: set[Path] = set()
    for path in paths:
        for file in _files(path):
            if file not in seen:
                seen.add(file)
                yield from _of(file, chosen=path == file)


def _files(path: Path) -> list[Path]:
    if path == STDIN or not path.is_dir():
        return [path]
    found = (each for each in path.rglob("*") if each.suffix in _ENDINGS and not _is_hidden(each.relative_to(path)))
    # a pipe would be waited for; a link that leads nowhere is told
    return sorted(each for each in found if each.is_file() or not each.exists())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _of(file: Path, *, chosen: bool) -> Iterator[Source]:
    name = "<stdin>" if file == STDIN else str(file)
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield Source(name, "", "not UTF-8")
    except OSError as error:
        yield Source(name, "", f"cannot be read: {error.strerror}")
    else:
        if chosen or _OURS.search(text):
            yield Source(name, text)
