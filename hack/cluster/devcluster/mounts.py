"""What the kernel says is mounted where, and unmounting it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import commands

MOUNTINFO = Path("/proc/self/mountinfo")
ESCAPED = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    point: Path
    filesystem: str


def unmount_below(directories: Sequence[Path]) -> None:
    """Unmount whatever is mounted in these directories, innermost first."""
    if points := points_below(MOUNTINFO.read_text(), directories):
        commands.run(["umount", "--lazy", *points])


def points_below(mountinfo: str, directories: Sequence[Path]) -> list[Path]:
    """Return the mount points inside the directories, innermost first."""
    ours = [mount.point for mount in _parsed(mountinfo) if any(map(mount.point.is_relative_to, directories))]
    return sorted(ours, key=lambda point: len(point.parts), reverse=True)


def can_hold_overlays(directory: Path) -> bool:
    """Tell whether overlays may be made on this directory's file system: not where that is an overlay itself."""
    return filesystem_of(MOUNTINFO.read_text(), directory.resolve()) != "overlay"


def filesystem_of(mountinfo: str, path: Path) -> str:
    """Return the type of the file system that a path is on: that of the innermost mount point above it, the last mounted."""
    above = [mount for mount in _parsed(mountinfo) if path.is_relative_to(mount.point)]
    depths = [len(mount.point.parts) for mount in above]
    innermost = [mount for mount, depth in zip(above, depths, strict=True) if depth == max(depths)]
    return innermost[-1].filesystem


def _parsed(mountinfo: str) -> Iterator[Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        yield Mount(Path(_unescaped(before.split()[4])), after.split()[0])


def _unescaped(text: str) -> str:
    for escape, character in ESCAPED.items():
        text = text.replace(escape, character)
    return text
