"""Where things are and which numbers are used. Everything derives from the clone and the instance; nothing is done here."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from devcluster.console import ClusterError

CLONE = Path(__file__).resolve().parents[3]
BINARY_SOURCE = Path(__file__).resolve().parents[1] / "bin"
MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
BASES_FILE = CLONE / "hack" / "images" / "bases.json"
RUNTIME_ROOT = Path("/run/incident-operator")

KUBERNETES_VERSION = "v1.36.3"
CLUSTER_DOMAIN = "cluster.local"
NODE_NAME = "local"
KIND_CLUSTER = "incident-operator"
MAX_INSTANCE = 9


class Mode(Enum):
    """Which cluster the commands act on."""

    LOCAL = "local"
    KIND = "kind"
    EXISTING = "existing"


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of one instance, one block of a hundred each, below the ephemeral range. All loopback or bridge only."""

    apiserver: int
    proxy_health: int
    proxy_metrics: int
    kubelet: int
    kubelet_health: int
    controller_manager: int
    scheduler: int
    coredns_ready: int
    etcd: int
    etcd_peer: int


@dataclass(frozen=True, slots=True)
class Settings:
    """One instance of the cluster in one clone."""

    clone: Path
    instance: int
    cache: Path

    @property
    def state(self) -> Path:
        """Kubeconfig, logs, certificates and data: git-ignored, in the clone."""
        return self.clone / (".cluster" if self.instance == 0 else f".cluster-{self.instance}")

    @property
    def runtime(self) -> Path:
        """Pid files, sockets and mounts: one place per machine, so that a second clone can find out whose they are."""
        return RUNTIME_ROOT / str(self.instance)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.state / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file per component, the audit log, and pods' logs."""
        return self.state / "logs"

    @property
    def data(self) -> Path:
        """What etcd, containerd and the kubelet keep."""
        return self.state / "data"

    @property
    def certificates(self) -> Path:
        """Keys and certificates of the authority and all components."""
        return self.state / "pki"

    @property
    def configuration(self) -> Path:
        """Configuration files and kubeconfigs of the components."""
        return self.state / "config"

    @property
    def programs(self) -> Path:
        """Links to put in front of PATH: kubectl, helm."""
        return self.state / "bin"

    @property
    def images(self) -> Path:
        """Archives of the images that were built."""
        return self.state / "images"

    @property
    def containerd_socket(self) -> Path:
        """Short, since the kernel allows 107 characters."""
        return self.runtime / "containerd.sock"

    @property
    def bridge(self) -> str:
        """The network device that pods hang on."""
        return f"incident{self.instance}"

    @property
    def pod_network(self) -> ipaddress.IPv4Network:
        """Addresses of pods; the first is the host's."""
        return ipaddress.IPv4Network(f"10.244.{self.instance}.0/24")

    @property
    def bridge_address(self) -> str:
        """The host as pods see it: apiserver, kubelet and CoreDNS answer there."""
        return str(self.pod_network[1])

    @property
    def service_network(self) -> ipaddress.IPv4Network:
        """Addresses of Services; the first is the apiserver's."""
        return ipaddress.IPv4Network(f"10.96.{self.instance}.0/24")

    @property
    def ports(self) -> Ports:
        """The instance's block of ports."""
        first = 26400 + 100 * self.instance
        return Ports(
            apiserver=first + 43,
            proxy_health=first + 44,
            proxy_metrics=first + 49,
            kubelet=first + 50,
            kubelet_health=first + 48,
            controller_manager=first + 57,
            scheduler=first + 59,
            coredns_ready=first + 53,
            etcd=first + 79,
            etcd_peer=first + 80,
        )

    @property
    def apiserver_url(self) -> str:
        """The apiserver as components and pods reach it."""
        return f"https://{self.bridge_address}:{self.ports.apiserver}"

    @property
    def loopback_url(self) -> str:
        """The apiserver as people and their programs reach it."""
        return f"https://127.0.0.1:{self.ports.apiserver}"

    @property
    def has_service_proxy(self) -> bool:
        """kube-proxy keeps one nftables table per network namespace, so one instance of the machine may run it."""
        return self.instance == 0


def from_environment(environment: Mapping[str, str] = os.environ, clone: Path = CLONE) -> Settings:
    """Return the settings of the instance that CLUSTER_INSTANCE names (0 to 9; 0 where it is not set).

    Raises ClusterError for any other value.
    """
    text = environment.get("CLUSTER_INSTANCE") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_INSTANCE):
        raise ClusterError(f"CLUSTER_INSTANCE={text!r}: expected a number from 0 to {MAX_INSTANCE}")
    cache_home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/root")) / ".cache")
    return Settings(clone=clone, instance=int(text), cache=Path(cache_home) / "incident-operator")
