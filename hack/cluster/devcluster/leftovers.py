"""Containers, mounts and files that outlive their daemons. Found by this cluster's own paths and ids, never by a name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from devcluster import commands, containerd, processes, settings
from devcluster.console import ClusterError

END_SECONDS = 10.0


def end_containers(config: settings.Settings) -> None:
    """End every container of this cluster and the shims that hold them."""
    sockets = _shim_sockets(config)
    _end(_container_pids(config))
    _end(shim_pids(config))
    for socket in sockets:
        socket.unlink(missing_ok=True)


def unmount(directories: Sequence[Path]) -> None:
    """Unmount whatever is mounted in these directories, innermost first."""
    points = mount_points(Path("/proc/self/mountinfo").read_text(), directories)
    for point in points:
        commands.run(["umount", "--lazy", point])


def mount_points(mountinfo: str, directories: Sequence[Path]) -> list[Path]:
    """The mount points inside the directories, innermost first. The kernel writes a blank as \\040."""
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in mountinfo.splitlines()]
    ours = [point for point in points if any(point.is_relative_to(directory) for directory in directories)]
    return sorted(ours, key=lambda point: len(point.parts), reverse=True)


def remove_traces(config: settings.Settings) -> None:
    """Remove what the kubelet, CNI and runc keep outside the cluster's own directories."""
    for result in Path("/var/lib/cni/results").glob(f"{containerd.network_name(config)}-*"):
        result.unlink()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and Path(os.readlink(link)).is_relative_to(config.logs):
            link.unlink()
    for identity in _container_ids(config):
        _remove_cgroups(identity)


def anything_alive(config: settings.Settings) -> bool:
    """Whether any process of this instance runs, whichever clone started it."""
    files = (config.runtime / "pids").glob("*")
    return any(processes.Process(path.name, path, path).pid() is not None for path in files) or bool(shim_pids(config))


def shim_pids(config: settings.Settings) -> list[int]:
    """Shims whose command line names this cluster's containerd socket."""
    return [pid for pid, words in _command_lines() if is_shim_of(words, config.containerd_socket)]


def is_shim_of(words: Sequence[str], socket: Path) -> bool:
    """Whether a command line is that of a containerd shim that reports to this socket."""
    return bool(words) and Path(words[0]).name.startswith("containerd-shim") and str(socket) in words


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(directory.name), words


def _bundles(config: settings.Settings) -> list[Path]:
    return list((containerd.state_directory(config) / "io.containerd.runtime.v2.task" / "k8s.io").glob("*"))


def _container_ids(config: settings.Settings) -> frozenset[str]:
    return frozenset(bundle.name for bundle in _bundles(config))


def _shim_sockets(config: settings.Settings) -> list[Path]:
    addresses = [bundle / "address" for bundle in _bundles(config)]
    return [Path(address.read_text().removeprefix("unix://")) for address in addresses if address.exists()]


def _container_pids(config: settings.Settings) -> list[int]:
    """Processes in a control group named after one of our containers."""
    identities = _container_ids(config)
    if not identities:
        return []
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if in_container((directory / "cgroup").read_text(), identities):
                found.append(int(directory.name))
    return found


def in_container(cgroups: str, identities: frozenset[str]) -> bool:
    """Whether /proc/PID/cgroup puts a process in a control group of one of these containers."""
    return any(not identities.isdisjoint(line.split("/")) for line in cgroups.splitlines())


def _end(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while remaining := [pid for pid in pids if processes.state(pid) not in {"", "Z", "X"}]:
        if time.monotonic() > deadline:
            raise ClusterError(f"containers' processes {remaining} do not end, not even by SIGKILL")
        time.sleep(processes.POLL_SECONDS)


def _remove_cgroups(identity: str) -> None:
    root = Path("/sys/fs/cgroup")
    for directory in [*root.glob(f"k8s.io/{identity}"), *root.glob(f"*/k8s.io/{identity}")]:
        with contextlib.suppress(OSError):
            directory.rmdir()  # fails while a process is in it: then it is not empty, and not ours to remove
