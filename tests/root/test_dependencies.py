"""What the operator depends on at run time is what it imports."""

import ast
import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WANTED = [
    re.split(r"[\[<>=!~ ]", written, maxsplit=1)[0]
    for written in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
]


@cache
def imported() -> set[str]:
    """Return the distributions that any module of the operator imports."""
    names: set[str] = set()
    for path in (REPOSITORY / "operator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    of = packages_distributions()
    return {_normal(each) for name in names for each in of.get(name, ())}


def _normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


@pytest.mark.parametrize("distribution", WANTED)
def test_what_is_installed_beside_the_operator_is_imported_by_it(distribution):
    assert _normal(distribution) in imported()
