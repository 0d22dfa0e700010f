"""Coverage-guided fuzzing of what strangers can reach: bytes → JSON → message → the whole handler, at function level.

    python fuzz.py WORK_FOLDER RUNS SECONDS

Seeds are made here. Whatever is found is an exception, a hang, or an answer that the handler may not give.
"""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import NoReturn

sys.path.extend(str(Path(__file__).resolve().parents[up]) for up in (2, 3))
import atheris
import structlog

import proofs.places  # noqa: F401

with atheris.instrument_imports(include=["incident_operator.receiver", "incident_operator.core.alerts"]):
    from incident_operator.receiver.alertmanager import read_message
    from incident_operator.receiver.refusals import MalformedError

from proofs.storm.abuse import bodies
from proofs.storm.function_handler import FunctionHandler
from tests.receiver import messages

ANSWERS = {200, 400, 401, 404, 405}
_LONGEST = 4096
_LARGE = ("4 MiB", "deep", "a gzip", "a deflate")
_WORLD_LASTS = 2000
"""Inputs until what is stored is forgotten, so that memory stays bounded."""
_TOKENS = [
    '"version"', '"4"', '"alerts"', '"labels"', '"startsAt"', '"endsAt"', '"status"', '"firing"', '"resolved"', '"annotations"',
    '"truncatedAlerts"', '"alertname"', "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "\\ud800", "\\u0000", "1e999", "NaN",
    "-Infinity", "99999999999999999999", "[[[[", '{"":', "9999-12-31T23:59:59.999999999Z", "+14:00",
]  # fmt: skip


def seeds() -> list[bytes]:
    """Right messages, and wrong ones that are short."""
    right = [json.dumps(bodies.valid()).encode(), bodies.pile(3), json.dumps(bodies.valid(alerts=[])).encode()]
    short = (each for each in bodies.HOSTILE if not each.name.startswith(_LARGE))
    return [*right, *(each.make() for each in short)]


def mutated(data: bytes, limit: int, seed: int) -> bytes:
    """Half of the time put a word of the format somewhere; else what libFuzzer does."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return bytes(atheris.Mutate(data, limit))
    place = chance.randrange(len(data) + 1)
    end = min(len(data), place + chance.choice((0, 0, 1, 4, 20)))
    return (data[:place] + chance.choice(_TOKENS).encode() + data[end:])[:limit]


class Target:
    """One input, all the way; the handler's loop and what is stored live on over inputs."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._folder = folder
        self._handler = FunctionHandler(folder, self._loop)
        self._inputs = 0

    def __call__(self, data: bytes) -> None:
        """Feed it to each layer; raises where a layer does what it may not."""
        self._inputs += 1
        if self._inputs % _WORLD_LASTS == 0:
            self._handler = FunctionHandler(self._folder, self._loop)
        readable = _readable(data)
        answer = self._loop.run_until_complete(self._handler.post(data))
        if answer not in ANSWERS:
            raise AssertionError(f"the handler answered {answer}")
        if answer == 200 and not readable:
            raise AssertionError("the handler stored what cannot be read")


def _readable(data: bytes) -> bool:
    try:
        read_message(data, messages.LIMITS)
    except MalformedError:
        return False
    return True


def _silence(_logger: object, _method: str, _event: object) -> NoReturn:
    raise structlog.DropEvent


def main() -> None:
    """Fuzz for a number of runs or seconds, whichever is reached first."""
    structlog.configure(processors=[_silence])
    folder, runs, seconds = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds()):
        (corpus / f"seed-{index}").write_bytes(seed)
    options = [
        f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=10", "-rss_limit_mb=1024",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], Target(folder), custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
