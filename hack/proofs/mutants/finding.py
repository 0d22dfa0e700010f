"""Finds the guards of a module, and takes each of them away in turn."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one guard less."""

    module: str
    """Dotted name."""
    function: str
    """Qualified name of the function, without the module."""
    line: int
    guard: str
    """The condition as it was written."""
    became: str
    """What stands in its place."""
    source: str
    """The whole module, changed."""

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What stays the same when lines move."""
        return self.module, self.function, self.guard, self.became

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: `{self.guard}` → `{self.became}`"


def mutants(root: Path, patterns: list[str]) -> Iterator[Mutant]:
    """Yield every mutant of the modules below `root` that match, in order."""
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        yield from of_module(".".join(path.relative_to(root).with_suffix("").parts), path.read_text())


def of_module(module: str, text: str) -> Iterator[Mutant]:
    """Yield the mutants of one module."""
    for function, body in _functions(ast.parse(text), ""):
        for node, became in _changes(body):
            guard = ast.unparse(node)
            yield Mutant(module, function, node.lineno, guard, became, _replaced(text, node, became))


def _functions(node: ast.AST, within: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{within}{child.name}.")


def _changes(function: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(function):
        match node:
            case ast.If(test=test, body=[*_, last], orelse=[]) if isinstance(last, _LEAVES):
                yield test, "False"
                yield from _fewer(test)
            case ast.match_case(guard=ast.expr() as guard):
                yield guard, "True"
            case ast.Return(value=ast.BoolOp() as value):
                yield from _fewer(value)
            case ast.Return(value=ast.IfExp(test=test, orelse=ast.Constant(value=None))):
                yield test, "True"
                yield from _fewer(test)
            case ast.Return(value=ast.IfExp(test=test, body=ast.Constant(value=None))):
                yield test, "False"
                yield from _fewer(test)
            case _:
                pass


def _fewer(test: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """Yield a condition with each of its operands left out."""
    if not isinstance(test, ast.BoolOp):
        return
    for left_out in test.values:
        kept = [value for value in test.values if value is not left_out]
        yield test, ast.unparse(kept[0] if len(kept) == 1 else ast.BoolOp(op=test.op, values=kept))


def _replaced(text: str, node: ast.expr, became: str) -> str:
    lines = text.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = b"".join([*lines[: node.lineno - 1], lines[node.lineno - 1][: node.col_offset]])
    after = b"".join([lines[node.end_lineno - 1][node.end_col_offset :], *lines[node.end_lineno :]])
    return (before + f"({became})".encode() + after).decode()
