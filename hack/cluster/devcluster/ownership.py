"""Whose cluster this machine runs: at most one clone per instance. Decided from one small file per machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from devcluster import files
from devcluster.console import ClusterError

RECORD = "owner.json"
PROGRAM = "hack/cluster"


class Claim(Enum):
    """What a clone may do with the machine's ports, bridge and mounts."""

    FREE = "free"
    OURS = "ours"
    LEFT_BEHIND = "left behind"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Owner:
    """The clone that claimed the machine last; exists is False once somebody has deleted that clone."""

    clone: Path
    exists: bool


def judge(owner: Owner | None, clone: Path, *, anything_alive: bool) -> Claim:
    """Decide what `clone` may do, given who claimed the instance last and whether any of its processes lives.

    The cluster of a deleted clone is left behind even while it runs: nobody can end it from there any more.
    """
    if owner is None:
        return Claim.LEFT_BEHIND if anything_alive else Claim.FREE
    if owner.clone == clone:
        return Claim.OURS
    return Claim.TAKEN if anything_alive and owner.exists else Claim.LEFT_BEHIND


def read(runtime: Path) -> Owner | None:
    """Return the owner on record; None where there is none, or the record cannot be read."""
    try:
        clone = Path(json.loads((runtime / RECORD).read_text())["clone"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Owner(clone, (clone / PROGRAM).is_dir())


def claim(runtime: Path, clone: Path) -> None:
    """Put the owner on record."""
    files.write(runtime / RECORD, json.dumps({"clone": str(clone)}) + "\n")


def refusal(owner: Owner, instance: int) -> ClusterError:
    """Return the error for a second clone: whose cluster it is, and the command that frees the machine."""
    variable = f"CLUSTER_INSTANCE={instance} " if instance else ""
    return ClusterError(
        f"the cluster that runs on this machine belongs to the clone {owner.clone}; end it with:\n"
        f"    cd {owner.clone} && {variable}python3 {PROGRAM} down"
    )
