"""Debian packages that the local cluster and image builds need. Installs what is missing and starts no service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from devcluster import commands
from devcluster.console import ClusterError, say

CLUSTER = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "openssl", "ca-certificates")
IMAGES = ("mmdebstrap", "buildah")

POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL_SECONDS = 600


def ensure(wanted: Sequence[str], cache: Path) -> None:
    """Install the packages that are not installed yet, saying which. apt-get's own words go to apt.log in the cache."""
    absent = missing(wanted, _installed(wanted))
    if not absent:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"there is no apt-get here to install {', '.join(absent)} with; install them by hand")
    say(f"installing Debian packages (apt-get): {' '.join(absent)}")
    with _services_stay_stopped():
        _install(absent, cache / "apt.log")


def missing(wanted: Sequence[str], installed: frozenset[str]) -> tuple[str, ...]:
    """Return the packages of `wanted` that are not installed, in the order given."""
    return tuple(name for name in wanted if name not in installed)


def installed_in(listing: str) -> frozenset[str]:
    """Return the installed packages in what dpkg-query printed, one `STATUS NAME` a line."""
    pairs = [line.split(maxsplit=1) for line in listing.splitlines()]
    return frozenset(pair[1] for pair in pairs if len(pair) == 2 and pair[0] == "ii")


def _installed(names: Sequence[str]) -> frozenset[str]:
    command = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n", *names]
    try:
        listing = subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stdout  # exits 1 when one is absent
    except FileNotFoundError:
        return frozenset()
    return installed_in(listing)


def _install(names: Sequence[str], log: Path) -> None:
    options = ("-y", "--no-install-recommends")
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *options, *names]
    try:
        commands.run_logged(command, log, timeout=INSTALL_SECONDS)
    except ClusterError:
        commands.run_logged(["apt-get", "update"], log, timeout=INSTALL_SECONDS)  # its lists may be old or absent
        commands.run_logged(command, log, timeout=INSTALL_SECONDS)


@contextlib.contextmanager
def _services_stay_stopped() -> Iterator[None]:
    """Debian starts a service as it installs it, unless policy-rc.d says 101: ours are not Debian's daemons."""
    had_containerd = Path("/usr/bin/containerd").exists()
    placed = not POLICY.exists()
    if placed:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if placed:
            POLICY.unlink()
    if not had_containerd and Path("/run/systemd/system").is_dir() and shutil.which("systemctl"):
        commands.run(["systemctl", "disable", "containerd.service"])


def require_linux_root() -> None:
    """Raise ClusterError unless this is Linux and we are root."""
    if os.uname().sysname != "Linux":
        raise ClusterError("CLUSTER=local needs Linux; start a docker engine and use CLUSTER=kind")
    if os.geteuid() != 0:
        raise ClusterError("CLUSTER=local starts containers and so needs root; run it with sudo, or use CLUSTER=kind")
