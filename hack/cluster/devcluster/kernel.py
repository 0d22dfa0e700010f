"""Kernel modules and settings that the cluster needs: remembered by the first instance that comes, put back by the last."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from devcluster import commands, files, settings

MODULES = ("overlay", "bridge", "br_netfilter", "nf_tables")
RECORD = "kernel-settings.json"
KERNEL = Path("/proc/sys")
FORWARDING = "net/ipv4/ip_forward"
# Set by us, by the kubelet or by the CNI plugins.
CHANGED = (
    FORWARDING,
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def prepare(root: Path = settings.RUNTIME_ROOT) -> None:
    """Load modules, remember the settings that will change, and let packets pass between pods and Services."""
    for module in MODULES:
        commands.succeeds(["modprobe", "-q", module])  # it may be built in; what is truly absent fails by its own error
    if not (root / RECORD).exists():
        found = {name: _read(name) for name in CHANGED if (KERNEL / name).exists()}
        files.write(root / RECORD, json.dumps(found, indent=1) + "\n")
    _write(FORWARDING, "1")


def restore(leaving: Path, root: Path = settings.RUNTIME_ROOT) -> None:
    """Put the settings back, unless another instance than the one that leaves (its runtime directory) needs them."""
    if others(leaving, root):
        return
    with contextlib.suppress(FileNotFoundError):
        for name, value in json.loads((root / RECORD).read_text()).items():
            _write(name, value)
        (root / RECORD).unlink()


def others(leaving: Path, root: Path) -> list[Path]:
    """List the runtime directories of other instances that somebody has claimed."""
    return [claim.parent for claim in root.glob("[0-9]/owner.json") if claim.parent != leaving]


def has_bridge_netfilter() -> bool:
    """Tell whether packets between two pods of the bridge pass the rules that translate a Service's address back."""
    return (KERNEL / "net/bridge/bridge-nf-call-iptables").exists()


def _read(name: str) -> str:
    return (KERNEL / name).read_text().strip()


def _write(name: str, value: str) -> None:
    if _read(name) != value:
        (KERNEL / name).write_text(value)
