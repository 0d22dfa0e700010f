"""`make mutants`: take every guard away in turn; a test has to fail."""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from click import echo

from proofs.mutants import running
from proofs.mutants.finding import Mutant, mutants
from proofs.mutants.justified import EQUIVALENT
from proofs.mutants.running import End

_REPOSITORY = Path(__file__).parents[3]
_GUARDED = [
    "core/machine/*.py",
    "core/approval.py",
    "engine/*.py",
    "core/expressions/weight.py",
    "kubernetes/fair_shares.py",
    "kubernetes/priority.py",
    "kubernetes/state.py",
    "receiver/*.py",
    "core/outcomes.py",
    "core/action.py",
    "actions/scale.py",
    "actions/scale_owners.py",
    "actions/job/job.py",
    "actions/job/following.py",
    "actions/workloads.py",
    "actions/sql/execute.py",
    "actions/sql/claim.py",
    "actions/job/template.py",
    "actions/pods.py",
]
_TESTS = ["core", "engine", "receiver", "root", "commands", "approval_policy", "kubernetes", "clients", "actions"]
_AT_A_TIME = 2
_PAUSE = 0.01


def main(arguments: list[str]) -> int:
    """Hunt; 0 where every mutant was killed, 1 where one survives."""
    wanted = _options(arguments)
    root = wanted.root.resolve()
    found = [m for m in mutants(root, wanted.guarded) if not wanted.words or any(w in str(m) for w in wanted.words)]
    if wanted.sample:
        found = random.Random(wanted.seed).sample(found, min(wanted.sample, len(found)))
    found = [mutant for mutant in found if mutant.name not in EQUIVALENT]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        reached = running.survey(root, wanted.package, wanted.tests, Path(scratch, "survey"))
    running.warm(wanted.tests)
    echo(f"{len(found)} mutants; the tests without any took {time.monotonic() - began:.0f}s")
    ends = Counter[End]()
    for mutant, end in _hunt(found, reached, wanted.least):
        ends[end] += 1
        if end is not End.KILLED:
            echo(f"{end.value}: {mutant}{'' if reached.of(mutant) else ' (no test runs it)'}")
    dead = ends[End.KILLED] + ends[End.HANGS]
    echo(f"{dead} of {len(found)} killed, {ends[End.HANGS]} by a timeout, in {time.monotonic() - began:.0f}s")
    return 1 if ends[End.SURVIVES] else 0


def _hunt(found: list[Mutant], reached: running.Reached, least: int) -> Iterator[tuple[Mutant, End]]:
    waiting, under_way = deque(found), dict[int, Mutant]()
    while waiting or under_way:
        while waiting and len(under_way) < _AT_A_TIME:
            mutant = waiting.popleft()
            if not reached.of(mutant):
                yield mutant, End.SURVIVES
                continue
            under_way[running.begin(mutant, reached, least)] = mutant
        for pid, mutant in list(under_way.items()):
            if (end := running.end(pid)) is not None:
                del under_way[pid]
                yield mutant, end
        time.sleep(_PAUSE)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose line holds one of these")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--least", type=int, default=30, help="seconds that every mutant has before it counts as hanging"
    )
    parser.add_argument("--root", type=Path, default=_REPOSITORY / "operator", help="directory of the package")
    parser.add_argument("--package", default="incident_operator")
    parser.add_argument("--guarded", nargs="+", help="modules, as patterns below the root")
    parser.add_argument("--tests", nargs="+", help="test files or directories")
    wanted = parser.parse_args(arguments)
    wanted.guarded = wanted.guarded or [f"{wanted.package}/{pattern}" for pattern in _GUARDED]
    wanted.tests = wanted.tests or [str(_REPOSITORY / "tests" / name) for name in _TESTS]
    return wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
