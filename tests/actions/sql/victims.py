"""Runs steps, each in a process of its own that is there to be killed.

A program: for each line `HOST DATABASE KEY` it forks, prints the child's pid, and prints `gone` when that has ended.
"""

import asyncio
import os
import sys

from tests.actions.sql.endpoints import Database, FakeConnections, call, execute, writing

COUNT_UP = execute("INSERT INTO tally VALUES (%(marker)s), (%(marker)s)", max_rows=2)
"""No constraint keeps a second effect out: only the marker does."""


def apply(host: str, name: str, key: str) -> None:
    writer = writing(FakeConnections(Database(host, name).endpoint()))
    asyncio.run(writer.run(call(COUNT_UP, key=key)))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            apply(*line.split())
            os._exit(0)
        _say(str(child))
        os.waitpid(child, 0)
        _say("gone")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
