"""What people read says "X is not a valid Y"; "X is no Y" is not how anybody here speaks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "operator").rglob("*.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
NOT_PLAIN = re.compile(r"(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b|such\b)[a-z]+")
RIDDLES = re.compile(
    r"\b(?:anew|afresh|at the latest until|not neither|how-manieth|mend(?:s|ed|ing)?|nobody tells|(?:tells?|told) of|is told|are told"
    r"|for data to say|stands? there|for good|all the same|in one go|come true|begun upon)\b"
)
"""Words that a reader who learnt English at school has to guess at three in the morning."""
ABSENCE = re.compile(r"\bwhere there (?:is|are) no\b|\bthere (?:is|are|was|were) no\b", re.IGNORECASE)


def odd(text: str) -> list[str]:
    """Return each "X is no Y" of a text."""
    return NOT_PLAIN.findall(ABSENCE.sub("", " ".join(text.split())))


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def messages(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    told_to_authors = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told_to_authors:
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_is_a_riddle(path: Path) -> None:
    assert [found for text in messages(path) for found in RIDDLES.findall(text)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_is_a_riddle(path: Path) -> None:
    assert RIDDLES.findall(" ".join(path.read_text().split())) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_says_that_something_is_no_other_thing(path: Path) -> None:
    assert [found for text in texts(path) for found in odd(text)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_says_that_something_is_no_other_thing(path: Path) -> None:
    assert odd(path.read_text()) == []


def test_the_pattern_is_found_and_absence_is_not() -> None:
    assert odd("2025-13-41 is no date") == ["is no date"]
    assert odd("There is no Connection api; where there are no Pods, it is no longer asked") == []
