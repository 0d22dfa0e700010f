"""The bridge that pods hang on, the loopback way to the apiserver, and the kernel settings that both need."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from devcluster import commands, files, settings
from devcluster.console import ClusterError

MODULES = ("overlay", "bridge", "br_netfilter", "nf_tables")
# Set by us, by the kubelet or by the CNI plugins; put back as they were when the cluster goes.
KERNEL_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def ensure(config: settings.Settings) -> None:
    """Make the bridge, its address and the rules, where they are not there yet."""
    _remember_kernel_settings(config.runtime)
    _ensure_bridge(config)
    _write_kernel_setting("net/ipv4/ip_forward", "1")
    commands.run(["nft", "-f", "-"], stdin=loopback_rules(config))


def remove(config: settings.Settings) -> None:
    """Remove the bridge and every rule of this cluster, and put the kernel's settings back."""
    if _bridge_exists(config.bridge):
        commands.run(["ip", "link", "delete", config.bridge])
    ours = {("ip", config.bridge)}
    if config.has_service_proxy:
        ours |= {("ip", "kube-proxy"), ("ip6", "kube-proxy")}
    for family, name in sorted(ours & tables_in(commands.run(["nft", "list", "tables"]))):
        commands.run(["nft", "delete", "table", family, name])
    _restore_kernel_settings(config.runtime)


def loopback_rules(config: settings.Settings) -> str:
    """Nft commands that lead 127.0.0.1:PORT to the apiserver, which listens on the bridge only. Safe to repeat."""
    destination = f"{config.bridge_address}:{config.ports.apiserver}"
    return (
        f"table ip {config.bridge}\n"
        f"delete table ip {config.bridge}\n"
        f"table ip {config.bridge} {{\n"
        "  chain output {\n"
        "    type nat hook output priority -100; policy accept;\n"
        f"    ip daddr 127.0.0.1 tcp dport {config.ports.apiserver} dnat to {destination}\n"
        "  }\n"
        "}\n"
    )


def tables_in(listing: str) -> set[tuple[str, str]]:
    """Family and name of each table in what `nft list tables` prints, one `table FAMILY NAME` a line."""
    words = [line.split() for line in listing.splitlines()]
    return {(word[1], word[2]) for word in words if len(word) == 3}


def has_bridge_netfilter() -> bool:
    """Tell whether packets between two pods of the bridge pass the rules that translate a Service's address back."""
    return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()


def _ensure_bridge(config: settings.Settings) -> None:
    for module in MODULES:
        commands.succeeds(["modprobe", "-q", module])  # may be built in; what matters fails below with its own error
    if not _bridge_exists(config.bridge):
        _refuse_foreign_route(config)
        commands.run(["ip", "link", "add", config.bridge, "type", "bridge"])
    address = f"{config.bridge_address}/{config.pod_network.prefixlen}"
    commands.run(["ip", "address", "replace", address, "dev", config.bridge])
    commands.run(["ip", "link", "set", config.bridge, "up"])


def _refuse_foreign_route(config: settings.Settings) -> None:
    routes = commands.run(["ip", "-4", "route", "show", "root", str(config.pod_network)]).strip()
    if routes:
        raise ClusterError(
            f"{config.pod_network} is in use on this machine: {routes}; choose another CLUSTER_INSTANCE (0 to 9)"
        )


def _bridge_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _remember_kernel_settings(runtime: Path) -> None:
    record = runtime / "kernel-settings.json"
    if record.exists():
        return
    found = {
        name: Path("/proc/sys", name).read_text().strip()
        for name in KERNEL_SETTINGS
        if Path("/proc/sys", name).exists()
    }
    files.write(record, json.dumps(found, indent=1) + "\n")


def _restore_kernel_settings(runtime: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        for name, value in json.loads((runtime / "kernel-settings.json").read_text()).items():
            _write_kernel_setting(name, value)


def _write_kernel_setting(name: str, value: str) -> None:
    path = Path("/proc/sys", name)
    if path.read_text().strip() != value:
        path.write_text(value)
