"""Reads README.md and docs/: their blocks of code, links, headings and the names in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "incident_operator"
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial"
FILES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "decisions").glob("*.md")),
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(language: str) -> list[Block]:
    return [block for page in FILES for block in _blocks(page) if block.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    content = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(content):
        yield Block(name(page), content.count("\n", 0, found.start()) + 1, found[1], found[2])


def objects(kind: str) -> list[tuple[Block, dict[str, Any]]]:
    """Every Kubernetes object of that kind in a YAML block."""
    found = [(block, each) for block in blocks("yaml") for each in yaml.safe_load_all(block.text) if each]
    return [(block, each) for block, each in found if each.get("kind") == kind]


def links(page: Path) -> list[str]:
    return _LINK.findall(_SPAN.sub("", _without_blocks(page)))


def anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(_without_blocks(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(page: Path) -> list[str]:
    """All that stands in code: blocks and spans."""
    return [block.text for block in _blocks(page)] + _SPAN.findall(_without_blocks(page))


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next of the same or a higher level."""
    level = heading.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", text(page).partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def first_cells(table: str) -> list[str]:
    """The names in backticks of the first column of the tables in a text."""
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def _without_blocks(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))
