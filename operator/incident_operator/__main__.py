"""`python -m incident_operator`: the command line."""

import sys

from incident_operator import offline
from incident_operator.cli import main as commands


def main() -> None:
    """Run the command that the arguments name; one that only reads texts goes without the clients."""
    if sys.argv[1:2] == ["check"]:
        offline.defer_clients()
    commands()


if __name__ == "__main__":
    main()
