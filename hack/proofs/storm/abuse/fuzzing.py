"""Runs the fuzzer as a process for a bounded time, and reads what it says."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_RUNS = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What became of it."""

    runs: int
    seconds: int
    covered: int
    """Edges of the instrumented code that were reached."""
    failure: str = ""
    """What was found; empty for nothing."""

    def __str__(self) -> str:
        told = f"{self.runs} inputs in {self.seconds} s, {self.covered} edges"
        return f"{told}: {self.failure}" if self.failure else f"{told}, nothing found"


async def fuzz(folder: Path, seconds: int, runs: int) -> Fuzzed:
    """Fuzz for that long, or that often. Bounded: it is killed a minute after its time."""
    folder.mkdir(parents=True, exist_ok=True)
    program = str(Path(__file__).resolve().parents[1] / "fuzz.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, str(folder), str(runs), str(seconds),
        env={"PATH": os.environ["PATH"]}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + 60)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Fuzzed(0, seconds + 60, 0, "it did not end")
    text = output.decode(errors="replace")
    (folder / "fuzz.log").write_text(text)
    return read(text, process.returncode or 0)


def read(text: str, code: int) -> Fuzzed:
    """Read libFuzzer's report."""
    done, covered = _RUNS.search(text), _COVERED.findall(text)
    runs, seconds = (int(done[1]), int(done[2])) if done else (0, 0)
    failure = "" if code == 0 and done else _last_words(text, code)
    return Fuzzed(runs, seconds, int(covered[-1]) if covered else 0, failure)


def _last_words(text: str, code: int) -> str:
    found = [line for line in text.splitlines() if "Error" in line or "Exception" in line or "timeout" in line]
    return f"exit {code}, {found[-1].strip() if found else 'no reason given'}"
