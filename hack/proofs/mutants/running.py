"""Runs tests against a mutant: in a fork of a process that has everything imported, with the function's code replaced.

Nothing is written to the package: the mutant lives in the fork's memory alone.
"""

import importlib
import inspect
import io
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from proofs.mutants.finding import Mutant

_PATIENCE = 4
"""A mutant that takes so many times as long as the tests took without it hangs, which is as good as a failure."""
_TO_END = 5
"""Seconds between the signal that ends the tests of a mutant which hangs and the one that nothing survives."""
_ENOUGH_CALLS = 200_000
"""What a test runs for the first time after so many calls is not noted: watching costs time."""
_PASSED, _FAILED = 0, 1
_QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not cluster", "--no-header", "--tb=no")


class End(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    HANGS = "hangs"
    SURVIVES = "survives"


@dataclass(frozen=True, slots=True)
class Reached:
    """Which tests run which functions."""

    tests: dict[str, list[str]]
    """By `<module>:<qualified name>`, the fastest first."""
    seconds: dict[str, float]
    """How long each test takes without a mutant."""

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that can notice."""
        return self.tests.get(f"{mutant.module}:{mutant.function}", [])


def survey(root: Path, package: str, tests: list[str], target: Path) -> Reached:
    """Run the tests once, and note which functions of the package each of them runs. Raises where one fails."""
    if _in_fork(lambda: _surveyed(root, package, tests, target)) != _PASSED:
        raise SystemExit("the tests fail without any mutant; see above")
    noted = json.loads(target.read_text())
    quickest: dict[str, list[tuple[float, str]]] = {}
    for test, (seconds, functions) in noted.items():
        for function in functions:
            quickest.setdefault(function, []).append((seconds, test))
    tests_of = {function: [test for _, test in sorted(found)] for function, found in quickest.items()}
    return Reached(tests_of, {test: seconds for test, (seconds, _) in noted.items()})


def warm(tests: list[str]) -> None:
    """Import the tests and all they use, so that every fork has them."""
    with redirect_stdout(io.StringIO()):
        pytest.main([*_QUIET, "--collect-only", *tests])


def begin(mutant: Mutant, reached: Reached, least: int) -> int:
    """Start the tests against a mutant; return the id of the process.

    It has at least so many seconds (`least`) before it counts as hanging.
    """
    tests = reached.of(mutant)
    seconds = least + _PATIENCE * int(sum(reached.seconds[test] for test in tests))
    return _fork(lambda: _run(tests, seconds, [_Placed(mutant)]))


def end(pid: int) -> End | None:
    """Return how the tests ended; None while they run. Raises `RuntimeError` where they could not be run."""
    done, ended = os.waitpid(pid, os.WNOHANG)
    if done == 0:
        return None
    match os.waitstatus_to_exitcode(ended):
        case 0:
            return End.SURVIVES
        case 1:
            return End.KILLED
        case code if -code in {signal.SIGXCPU, signal.SIGALRM}:
            return End.HANGS
        case code:
            raise RuntimeError(f"the tests could not be run: exit {code}")


def _surveyed(root: Path, package: str, tests: list[str], target: Path) -> int:
    watch = _Survey(root, package)
    code = pytest.main([*_QUIET, "--tb=short", *tests], plugins=[watch])
    target.write_text(json.dumps(watch.noted))
    return int(code)


def _run(tests: list[str], seconds: int, plugins: list[object]) -> int:
    # at a hard limit that is no higher the kernel kills at once, which looks as if the tests could not be run
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _TO_END))
    signal.alarm(_PATIENCE * seconds)
    _mute()
    return int(pytest.main([*_QUIET, *tests], plugins=plugins))


def _mute() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _in_fork(work: Callable[[], int]) -> int:
    _, ended = os.waitpid(_fork(work), 0)
    return os.waitstatus_to_exitcode(ended)


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = _FAILED
    try:
        code = work()
    finally:
        sys.stdout.flush()
        os._exit(code)


class _Placed:
    """Puts the mutant in place once the tests are collected, so that what they import is whole."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def pytest_collection_finish(self) -> None:
        place(self.mutant)


def place(mutant: Mutant) -> None:
    """Give the function that is imported the code of the mutant. Raises `TypeError` where it is no function."""
    module = importlib.import_module(mutant.module)
    changed = compile(mutant.source, str(module.__file__), "exec")
    code = _code(changed, mutant.function.split("."))
    found: object = module
    for name in mutant.function.split("."):
        found = inspect.getattr_static(found, name)
    _function(found).__code__ = code


def _code(code: CodeType, path: list[str]) -> CodeType:
    for name in path:
        inner = (each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
        code = next(inner)
    return code


def _function(found: object) -> FunctionType:
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    function = inspect.unwrap(found)  # type: ignore[arg-type]
    if not isinstance(function, FunctionType):
        raise TypeError(f"no function: {found}")
    return function


class _Survey:
    """Notes for every test how long it takes and which functions of the package it runs."""

    def __init__(self, root: Path, package: str) -> None:
        self.noted: dict[str, tuple[float, list[str]]] = {}
        self._prefix = f"{root}/{package}/"
        self._root = f"{root}/"
        self._codes: set[CodeType] = set()
        self._calls = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        self._codes, self._calls, began = set(), 0, time.perf_counter()
        sys.setprofile(self._called)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            self.noted[item.nodeid] = (time.perf_counter() - began, sorted(self._names(self._codes)))

    def _called(self, frame: object, event: str, _: object) -> None:
        if event == "call":
            self._codes.add(frame.f_code)  # type: ignore[attr-defined]
            self._calls += 1
            if self._calls > _ENOUGH_CALLS:
                sys.setprofile(None)

    def _names(self, codes: Iterable[CodeType]) -> set[str]:
        return {self._name(code) for code in codes if code.co_filename.startswith(self._prefix)}

    def _name(self, code: CodeType) -> str:
        module = code.co_filename.removeprefix(self._root).removesuffix(".py").replace("/", ".")
        return f"{module}:{code.co_qualname.partition('.<locals>')[0]}"
