"""A pattern that takes long on what was logged holds up nobody else, and not for ever."""

import asyncio

import pytest

from incident_operator.actions import logs

SLOW = r"(?P<all>.*[!-~][!-~]{600})\x00|(?P<end>END)"
"""Milliseconds for a line of a kilobyte: each byte may be the one that it begins at."""
LINES = [f"{number:04}" + "abcdefgh-x" * 100 for number in range(100)]


async def test_others_go_on_while_lines_are_matched() -> None:
    work = asyncio.create_task(logs.read_lines_aside(LINES, logs.compiled(SLOW)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50
    assert not (await work).truncated


def test_lines_are_matched_from_the_newest_on_for_as_long_as_a_pattern_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_MATCH_SECONDS", 0.01)
    found = logs.read_lines(["an END", *LINES, "the END"], logs.compiled(SLOW))
    assert found.matches == [{"end": "END"}]
    assert found.truncated
    quick = logs.read_lines(["an END", "the END"], logs.compiled("(?P<end>END)"))
    assert (len(quick.matches), quick.truncated) == (2, False)
