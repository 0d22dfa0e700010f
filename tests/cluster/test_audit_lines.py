"""Witnesses read on where the audit log was rotated: what they did not see must not count as not written."""

from pathlib import Path

import pytest

from tests.e2e.audit_lines import AuditLines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An audit log that has a line already."""
    made = tmp_path / "audit.log"
    made.write_bytes(b"before\n")
    return made


def write(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line)


def rotate(log: Path, moment: str) -> None:
    log.rename(log.with_name(f"audit-2026-11-28T{moment}.log"))
    log.write_bytes(b"")


def test_only_what_was_written_since_is_read_and_only_whole_lines(log: Path) -> None:
    lines = AuditLines(log)
    write(log, "one\ntwo\nthr")
    assert list(lines) == [b"one\n", b"two\n"]
    write(log, "ee\n")
    assert list(lines) == [b"one\n", b"two\n", b"three\n"]


def test_what_was_written_before_and_after_a_rotation_is_read_in_order(log: Path) -> None:
    rotate(log, "01-00-00.000")
    lines = AuditLines(log)
    for number, moment in enumerate(("02-00-00.000", "03-00-00.000")):
        write(log, f"{number}\n")
        rotate(log, moment)
    write(log, "last\n")
    assert list(lines) == [b"0\n", b"1\n", b"last\n"]


def test_a_start_that_was_thrown_away_is_an_error_and_not_an_empty_log(log: Path) -> None:
    lines = AuditLines(log)
    log.rename(log.with_name("elsewhere"))
    log.write_bytes(b"after\n")
    with pytest.raises(RuntimeError, match="its start is gone"):
        list(lines)
