"""Containers, mounts and files that outlive their daemons. Found by this cluster's own paths and ids, never by a name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from devcluster import containerd, mounts, processes, settings
from devcluster.console import ClusterError

END_SECONDS = 10.0
CONTROL_GROUPS = Path("/sys/fs/cgroup")
CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOG_LINKS = Path("/var/log/containers")


def end_containers(config: settings.Settings) -> None:
    """End every container of this cluster and the shims that hold them."""
    sockets = _shim_sockets(config)
    _end(container_pids(config))
    _end(shim_pids(config))
    for socket in sockets:
        socket.unlink(missing_ok=True)


def remove(config: settings.Settings) -> None:
    """Unmount and delete what containers, the kubelet, CNI and runc leave behind once they are dead."""
    mounts.unmount_below([config.runtime, config.data / "kubelet"])
    _remove_network_results(config)
    _remove_log_links(config)
    _remove_control_groups(config)
    for directory in (containerd.state_directory(config), containerd.addresses_directory(config)):
        shutil.rmtree(directory, ignore_errors=True)


def anything_alive(config: settings.Settings) -> bool:
    """Tell whether any process of this instance runs, whichever clone started it."""
    files = (config.runtime / "pids").glob("*")
    return any(processes.Process(path.name, path, path).pid() is not None for path in files) or bool(shim_pids(config))


def shim_pids(config: settings.Settings) -> list[int]:
    """Find the shims whose command line names this cluster's containerd socket."""
    return [pid for pid, words in _read_all("cmdline", "\0") if is_shim_of(words, config.containerd_socket)]


def is_shim_of(words: Sequence[str], socket: Path) -> bool:
    """Tell whether a command line is that of a containerd shim that reports to this socket."""
    return bool(words) and Path(words[0]).name.startswith("containerd-shim") and str(socket) in words


def is_in_container(lines: Sequence[str], containers: frozenset[str]) -> bool:
    """Tell whether /proc/PID/cgroup (lines of `ID:CONTROLLERS:PATH`) puts a process in a group named after one of these."""
    return any(not containers.isdisjoint(line.split("/")) for line in lines)


def container_pids(config: settings.Settings) -> list[int]:
    """Find the processes in our containers."""
    containers = _container_ids(config)
    return [pid for pid, lines in _read_all("cgroup", "\n") if is_in_container(lines, containers)]


def _container_ids(config: settings.Settings) -> frozenset[str]:
    return frozenset(bundle.name for bundle in containerd.bundles(config))


def _read_all(name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (directory / name).read_bytes().decode(errors="replace").split(separator)
            yield int(directory.name), words


def _shim_sockets(config: settings.Settings) -> list[Path]:
    addresses = [bundle / "address" for bundle in containerd.bundles(config)]
    return [Path(address.read_text().removeprefix("unix://")) for address in addresses if address.exists()]


def _end(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while remaining := [pid for pid in pids if processes.state(pid) not in processes.DEAD]:
        if time.monotonic() > deadline:
            raise ClusterError(f"containers' processes {remaining} do not end, even after SIGKILL")
        time.sleep(processes.POLL_SECONDS)


def _remove_network_results(config: settings.Settings) -> None:
    """Remove CNI's notes on our pods, and on the loopback device that each of them had besides."""
    prefix = f"{containerd.network_name(config)}-"
    for result in CNI_RESULTS.glob(f"{prefix}*-eth0"):
        pod = result.name.removeprefix(prefix).removesuffix("-eth0")
        (CNI_RESULTS / f"cni-loopback-{pod}-lo").unlink(missing_ok=True)
        result.unlink()


def _remove_log_links(config: settings.Settings) -> None:
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(config.logs):
            link.unlink()


def _remove_control_groups(config: settings.Settings) -> None:
    for container in _container_ids(config):
        for group in [*CONTROL_GROUPS.glob(f"k8s.io/{container}"), *CONTROL_GROUPS.glob(f"*/k8s.io/{container}")]:
            group.rmdir()
