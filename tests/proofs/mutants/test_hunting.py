"""The hunt itself: it finds the guard that no test defends, and kills the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.mutants.finding import of_module

GUARDS = """
def share(total, people):
    if people == 0 or total < 0:
        return 0
    return total // people


class Till:
    @property
    def open(self):
        return self.hour > 8 and self.hour < 20

    def pay(self, coins):
        for coin in coins:
            if coin == "button":
                continue
            self.total += coin


def halvings(number):
    count = 0
    while True:
        if number <= 1:
            return count
        number, count = number // 2, count + 1
"""
TESTS = """
from tiny.money import Till, halvings, share


def test_nobody_gets_nothing():
    assert share(5, 0) == 0
    assert share(6, 3) == 2


def test_buttons_are_no_money():
    till = Till()
    till.total = 0
    till.pay([1, "button"])
    assert till.total == 1


def test_it_is_closed_at_night():
    till = Till()
    till.hour = 7
    assert not till.open
    till.hour = 10
    assert till.open


def test_eight_is_halved_three_times():
    assert halvings(8) == 3
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(a):\n    if wet:\n        return 1\n    return 2\n", [("wet", "False")]),
        ("def f(a):\n    if a:\n        b = 1\n    return b\n", []),
        ("def f(a):\n    if a:\n        return 1\n    else:\n        return 2\n", []),
        ("def f(a, b):\n    return a or b\n", [("a or b", "b"), ("a or b", "a")]),
        ("def f(a):\n    return None if wet else 1\n", [("wet", "False")]),
        ("def f(a):\n    match a:\n        case int() if a > 1:\n            return 1\n", [("a > 1", "True")]),
    ],
)
def test_every_guard_is_found_and_taken_away(text, found):
    mutants = list(of_module("m", text))
    assert [(mutant.guard, mutant.became) for mutant in mutants] == found
    for mutant in mutants:
        assert mutant.source == text.replace(mutant.guard, f"({mutant.became})", 1)


def test_a_guard_that_no_test_defends_survives_and_the_others_are_killed_or_hang(tmp_path):
    for path, text in {"tiny/__init__.py": "", "tiny/money.py": GUARDS, "tests/test_money.py": TESTS}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    hunt = _hunt(tmp_path)
    assert hunt.returncode == 1, hunt.stdout + hunt.stderr
    survivors = [line.split(": ", 1)[1] for line in hunt.stdout.splitlines() if line.startswith("survives")]
    assert survivors == [
        "tiny.money:3 share: `people == 0 or total < 0` → `people == 0`",
        "tiny.money:11 Till.open: `self.hour > 8 and self.hour < 20` → `self.hour > 8`",
    ]
    assert "hangs: tiny.money:23 halvings: `number <= 1` → `False`" in hunt.stdout
    assert "5 of 7 killed, 1 by a timeout" in hunt.stdout


def _hunt(root: Path) -> subprocess.CompletedProcess[str]:
    hack = Path(__file__).parents[3] / "hack"
    arguments = ["--root", ".", "--package", "tiny", "--guarded", "tiny/*.py", "--tests", "tests", "--least", "3"]
    return subprocess.run(
        [sys.executable, "-m", "proofs.mutants", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{hack}:{root}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
