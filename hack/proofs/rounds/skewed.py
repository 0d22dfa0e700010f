"""`python -m proofs.rounds.skewed run …`: the operator on a machine whose clock is wrong by ROUNDS_SKEW seconds."""

import os
from datetime import timedelta

from incident_operator import app, cli


def main() -> None:
    """Replace the only clock that the operator has for the time of day, and run it."""
    right, wrong_by = app.clock, timedelta(seconds=int(os.environ["ROUNDS_SKEW"]))
    app.clock = lambda: right() + wrong_by
    cli.main()


if __name__ == "__main__":
    main()
