"""`kill -9` of the operator at any moment of a sqlExecute: each step key has one effect, never two."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from incident_operator.core.outcomes import Succeeded
from sql import victims
from sql.endpoints import Database, call

KILLS = 24


@pytest.fixture
def tally(database: Database) -> Database:
    database.run("""CREATE TABLE IF NOT EXISTS tally (key text); TRUNCATE tally;
        TRUNCATE incident_operator.incident_operator_effects; GRANT SELECT, INSERT ON tally TO app_write""")
    return database


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """A program, warmed up, that forks the victims."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, victims.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    ) as program:
        yield program
        program.stdin.close()


@contextmanager
def running(nursery: subprocess.Popen[str], database: Database, key: str):
    """Begin the step in a process, and kill that at the end of the block."""
    print(database.host, database.name, key, file=nursery.stdin)
    victim = int(nursery.stdout.readline())
    yield
    with suppress(ProcessLookupError):  # it may have been quicker
        os.kill(victim, signal.SIGKILL)
    assert nursery.stdout.readline() == "gone\n"


def effects(tally: Database, key: str) -> int:
    return tally.value(f"SELECT count(*) FROM tally WHERE key = '{key}'") // 2


async def test_killed_at_random_moments_every_key_has_at_most_one_effect_and_then_exactly_one(tally, writer, nursery):
    moments, longest = random.Random(7), _duration(nursery, tally) * 1.2
    keys = [f"key-{number}" for number in range(KILLS)]
    for key in keys:
        with running(nursery, tally, key):
            time.sleep(moments.uniform(0, longest))
    after_kill = [effects(tally, key) for key in keys]
    again = [await writer.run(call(victims.COUNT_UP, key=key)) for key in keys]

    assert set(after_kill) <= {0, 1}
    assert all(isinstance(outcome, Succeeded) for outcome in again)
    assert [effects(tally, key) for key in keys] == [1] * KILLS


async def test_killed_between_marker_and_effect_nothing_stays_and_the_next_run_does_it(tally, writer, nursery):
    with tally.owner() as holder, holder.transaction():
        holder.execute("LOCK TABLE tally IN ACCESS EXCLUSIVE MODE")
        with running(nursery, tally, "held"):
            _wait_until(tally, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tally'::regclass", 1)
    outcome = await writer.run(call(victims.COUNT_UP, key="held"))

    assert isinstance(outcome, Succeeded)
    assert "already" not in outcome.summary
    assert effects(tally, "held") == 1


async def test_killed_after_its_commit_the_next_run_finds_it_done(tally, writer, nursery):
    with running(nursery, tally, "done"):
        _wait_until(tally, "SELECT count(*) FROM tally WHERE key = 'done'", 2)
    outcome = await writer.run(call(victims.COUNT_UP, key="done"))

    assert isinstance(outcome, Succeeded)
    assert "already applied" in outcome.summary
    assert effects(tally, "done") == 1


def _duration(nursery: subprocess.Popen[str], tally: Database) -> float:
    """Seconds that a step takes here and now, so that the kills fall everywhere in it."""
    with running(nursery, tally, "measured"):
        begun = time.monotonic()
        _wait_until(tally, "SELECT count(*) FROM tally WHERE key = 'measured'", 2)
        return time.monotonic() - begun


def _wait_until(database: Database, question: str, answer: int) -> None:
    for _ in range(500):
        if database.value(question) == answer:
            return
        time.sleep(0.02)
    raise AssertionError(f"{question} did not become {answer}")
