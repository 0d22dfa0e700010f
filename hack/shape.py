"""Prints the shape of the product's code: how large its files and functions are, and how far one has to jump to read it.

`make lint` shows it, so that a change which shreds a file, or piles one up, is seen. It fails only where a file is longer than
`LONGEST_FILE` lines. With `--files` it lists each file; with `--once` each private function that is named in one place alone.
"""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "operator" / "incident_operator"
LONGEST_FILE = 500
# Whoever reads the loop reads these: what the reconciler imports, directly or by what it imports.
LOOP = "incident_operator.engine.reconciler"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the product, parsed."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def functions(self) -> list[Function]:
        """All functions and methods, nested ones among them."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


def main(arguments: list[str]) -> int:
    """Print the figures; return 1 where a file is too long."""
    modules = list(_modules())
    for line in _figures(modules):
        print(line)
    if "--files" in arguments:
        for module in sorted(modules, key=lambda each: -each.lines):
            print(f"{module.lines:5}  {module.path.relative_to(ROOT)}")
    if "--once" in arguments:
        for module, function in _named_once(modules):
            print(f"{_length(function):5}  {module.path.relative_to(ROOT)}:{function.lineno} {function.name}")
    too_long = [module for module in modules if module.lines > LONGEST_FILE]
    for module in too_long:
        print(f"{module.path.relative_to(ROOT)}: {module.lines} lines, more than {LONGEST_FILE}: split it by concept")
    return 1 if too_long else 0


def _modules() -> Iterator[Module]:
    """Every file that holds code; an `__init__.py` with nothing but its docstring is none."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        tree = ast.parse(text)
        if path.name == "__init__.py" and len(tree.body) <= 1:
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        yield Module(name, path, tree, len(text.splitlines()))


def _figures(modules: list[Module]) -> Iterator[str]:
    lines = [module.lines for module in modules]
    functions = [function for module in modules for function in module.functions]
    lengths = [_length(function) for function in functions]
    once = _named_once(modules)
    closure = _closure(LOOP, {module.name: module for module in modules})
    rows = (
        ("files", f"{len(modules)}, {sum(lines):,} lines"),
        ("median file", f"{statistics.median(lines):.0f} lines; {sum(count < 60 for count in lines)} below 60"),
        ("functions per 1,000 lines", f"{1000 * len(functions) / sum(lines):.0f}"),
        ("median function", f"{statistics.median(lengths):.0f} lines; longest {max(lengths)}"),
        ("private, named in one place", f"{100 * len(once) / len(functions):.1f} % ({len(once)} of {len(functions)})"),
        ("the reconciler's imports", f"{len(closure)} files, {sum(module.lines for module in closure):,} lines"),
    )
    return (f"{name:<28} {figure}" for name, figure in rows)


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _named_once(modules: list[Module]) -> list[tuple[Module, Function]]:
    """Private functions and methods whose name occurs once in the whole package, but for their definition."""
    found = []
    for module in modules:
        names = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        defined = Counter(function.name for function in module.functions)
        found += [
            (module, function)
            for function in module.functions
            if function.name.startswith("_")
            and not function.name.startswith("__")
            and defined[function.name] == 1
            and names[function.name] == 1
        ]
    return found


def _closure(name: str, modules: dict[str, Module]) -> list[Module]:
    reached: dict[str, Module] = {}
    left = [name]
    while left:
        at = left.pop()
        if at in modules and at not in reached:
            reached[at] = modules[at]
            left += _imported(modules[at].tree)
    return list(reached.values())


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of modules that this one may import: of `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
