"""`make explore`: walk through the whole state machine, and print what was found."""

import gc
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from click import echo

from incident_operator.core.runbooks.reviews import Leave
from proofs.explore.models import BY_WORD, ONE_MITIGATION, RUNBOOKS
from proofs.explore.rules import EXCLUDED, RULES
from proofs.explore.walk import Walked, walk
from tests.core.builders import by_hand
from tests.core.machine.simulation import Simulation, unasked


def main(names: list[str]) -> int:
    """Walk every small Runbook, or those whose names hold one of these words."""
    echo(f"{'runbook':<55} {'states':>8} {'steps':>9} {'depth':>6} {'seconds':>8}")
    total, broken = Walked(), 0
    chosen = [name for name in starts() if not names or any(word in name for word in names)]
    with ProcessPoolExecutor(initializer=gc.disable) as pool:
        for name, found in zip(chosen, pool.map(_walked, chosen), strict=True):
            _print(name, found)
            broken += len(found.broken)
            for told in found.broken.values():
                echo(f"a rule is broken: {told}")
            total.states, total.steps = total.states + found.states, total.steps + found.steps
            total.depth, total.seconds = max(total.depth, found.depth), total.seconds + found.seconds
    _print("all", total)
    echo("\nIn every one of these states:")
    echo("\n".join(f"- {rule}" for rule in RULES))
    echo(f"\n{broken} broken." if broken else "\nNo rule is broken.")
    return 1 if broken else 0


def starts() -> dict[str, Simulation]:
    """Return the first state of each walk."""
    found = {name: Simulation(compiled, excluded=(EXCLUDED,)) for name, compiled in RUNBOOKS.items()}
    usual = next(iter(RUNBOOKS))
    keyed = next(name for name in RUNBOOKS if name.startswith("keyed"))
    found[f"{keyed}, unasked"] = replace(unasked(RUNBOOKS[keyed], "revoke"), excluded=(EXCLUDED,))
    nothing_acts = Leave(not_acting=frozenset({"prod"}))
    found["where nothing acts unasked"] = Simulation(ONE_MITIGATION, excluded=(EXCLUDED,), leave=nothing_acts)
    found[f"{usual}, opened by hand"] = Simulation(RUNBOOKS[usual], by_hand(), excluded=(EXCLUDED,))
    for name, compiled in BY_WORD.items():
        found[f"{name}, by word"] = Simulation(compiled, excluded=(EXCLUDED,), talks=True)
    found["where nothing acts unasked, by word"] = replace(found["where nothing acts unasked"], talks=True)
    return found


def _walked(name: str) -> Walked:
    return walk(starts()[name])


def _print(name: str, found: Walked) -> None:
    echo(f"{name:<55} {found.states:>8,} {found.steps:>9,} {found.depth:>6} {found.seconds:>8.1f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
