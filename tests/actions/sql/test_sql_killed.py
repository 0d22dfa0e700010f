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

from incident_operator.core.outcomes import NotDone, Succeeded
from tests.actions.sql import victims
from tests.actions.sql.endpoints import Database, call

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


async def test_killed_at_random_moments_a_look_tells_what_each_key_did_and_the_next_attempt_does_the_rest(
    tally, writer, nursery
):
    moments, longest = random.Random(7), _duration(nursery, tally) * 1.2
    keys = [f"key-{number}" for number in range(KILLS)]
    for key in keys:
        with running(nursery, tally, key):
            time.sleep(moments.uniform(0, longest))
    looked = [await writer.look(call(victims.COUNT_UP, key=key)) for key in keys]
    done = {Succeeded: 1, NotDone: 0}
    assert [effects(tally, key) for key in keys] == [done[type(outcome)] for outcome in looked]
    again = [await writer.look(call(victims.COUNT_UP, key=key)) for key in keys]
    assert again == looked

    undone = [key for key, outcome in zip(keys, looked, strict=True) if isinstance(outcome, NotDone)]
    for key in undone:
        assert isinstance(await writer.run(call(victims.COUNT_UP, key=f"{key}-again")), Succeeded)
    assert tally.value("SELECT count(*) FROM tally WHERE key <> 'measured'") == 2 * KILLS
    assert [effects(tally, key) for key in undone] == [0] * len(undone)


async def test_killed_between_marker_and_effect_nothing_stays_and_a_look_does_not_do_it(tally, writer, nursery):
    with tally.owner() as holder, holder.transaction():
        holder.execute("LOCK TABLE tally IN ACCESS EXCLUSIVE MODE")
        with running(nursery, tally, "held"):
            _wait_until(tally, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tally'::regclass", 1)
    looked = [await writer.look(call(victims.COUNT_UP, key="held")) for _ in range(2)]

    assert all(isinstance(outcome, NotDone) for outcome in looked)
    assert tally.value("SELECT count(*) FROM tally WHERE key = 'held'") == 0


async def test_killed_after_its_commit_a_look_finds_it_done(tally, writer, nursery):
    with running(nursery, tally, "done"):
        _wait_until(tally, "SELECT count(*) FROM tally WHERE key = 'done'", 2)
    outcome = await writer.look(call(victims.COUNT_UP, key="done"))

    assert isinstance(outcome, Succeeded)
    assert outcome.result["rowsChanged"] == 2
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
