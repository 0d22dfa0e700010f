"""What `make mutants` lets live: each is still a guard of the code, else it excuses nothing."""

import ast
from pathlib import Path

import pytest

from proofs.mutants.justified import EQUIVALENT

OPERATOR = Path(__file__).parents[3] / "operator"


def function(module: str, name: str) -> ast.AST:
    node: ast.AST = ast.parse((OPERATOR / f"{module.replace('.', '/')}.py").read_text())
    for part in name.split("."):
        named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        node = next(each for each in ast.walk(node) if isinstance(each, named) and each.name == part)
    return node


@pytest.mark.parametrize("mutant", EQUIVALENT, ids=lambda mutant: f"{mutant[0].rpartition('.')[2]}.{mutant[1]}")
def test_a_justified_mutant_is_of_a_guard_that_there_is(mutant: tuple[str, str, str, str]) -> None:
    module, name, guard, without = mutant
    written = {ast.unparse(node) for node in ast.walk(function(module, name)) if isinstance(node, ast.expr)}
    assert guard in written
    assert guard != without
