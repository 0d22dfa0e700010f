"""Whose cluster this machine runs: at most one clone per instance. Decided from one small file per machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from devcluster import files
from devcluster.console import ClusterError


class Claim(Enum):
    """What a clone may do with the machine's ports, bridge and mounts."""

    FREE = "free"
    OURS = "ours"
    LEFT_BEHIND = "left behind"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Owner:
    """The clone whose cluster it is, and the state directory to clear when that cluster is dead."""

    clone: Path
    state: Path


def judge(owner: Owner | None, clone: Path, *, anything_alive: bool) -> Claim:
    """What `clone` may do, given who claimed the instance last and whether any of its processes lives."""
    if owner is None:
        return Claim.LEFT_BEHIND if anything_alive else Claim.FREE
    if owner.clone == clone:
        return Claim.OURS
    return Claim.TAKEN if anything_alive else Claim.LEFT_BEHIND


def read(runtime: Path) -> Owner | None:
    """The owner on record; None where there is none, or the record is cut off."""
    try:
        record = json.loads((runtime / "owner.json").read_text())
        return Owner(clone=Path(record["clone"]), state=Path(record["state"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def claim(runtime: Path, owner: Owner) -> None:
    """Put the owner on record."""
    record = {"clone": str(owner.clone), "state": str(owner.state)}
    files.write(runtime / "owner.json", json.dumps(record) + "\n")


def refusal(owner: Owner, instance: int) -> ClusterError:
    """The error for a second clone: whose cluster it is, and the command that frees the machine."""
    variable = f"CLUSTER_INSTANCE={instance} " if instance else ""
    return ClusterError(
        f"the cluster that runs on this machine belongs to the clone {owner.clone}; end it with:\n"
        f"    cd {owner.clone} && {variable}python3 hack/cluster down"
    )
