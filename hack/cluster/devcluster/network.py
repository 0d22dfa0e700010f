"""The bridge that pods hang on, and the loopback way to the apiserver. Kernel settings: kernel.py."""

from __future__ import annotations

from pathlib import Path

from devcluster import commands, settings
from devcluster.console import ClusterError


def ensure(config: settings.Settings) -> None:
    """Make the bridge, its address and the rules, where they are not there yet."""
    _ensure_bridge(config)
    commands.run(["nft", "-f", "-"], stdin=loopback_rules(config))


def remove(config: settings.Settings) -> None:
    """Remove the bridge and every rule of this cluster."""
    if _bridge_exists(config.bridge):
        commands.run(["ip", "link", "delete", config.bridge])
    ours = {("ip", config.bridge)}
    if config.has_service_proxy:
        ours |= {("ip", "kube-proxy"), ("ip6", "kube-proxy")}
    for family, name in sorted(ours & tables_in(commands.run(["nft", "list", "tables"]))):
        commands.run(["nft", "delete", "table", family, name])


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


def _ensure_bridge(config: settings.Settings) -> None:
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
