"""Every configuration file of the cluster, as text; written by ensure(). The processes that read them: components.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devcluster import certificates, containerd, files, kernel, kubeconfigs, settings

CLIENTS = ("admin", "controller-manager", "scheduler", "kubelet", "proxy", "coredns")


def ensure(config: settings.Settings) -> None:
    """Write all configuration files, and the administrator's kubeconfig."""
    certificates.ensure(config)
    directory = config.configuration
    for client in CLIENTS:
        files.write(directory / f"{client}.kubeconfig", _component_kubeconfig(config, client), 0o600)
    files.write(directory / "audit-policy.json", _json(audit_policy()))
    files.write(directory / "kubelet.json", _json(kubelet(config)))
    files.write(directory / "proxy.json", _json(proxy(config, has_bridge_netfilter=kernel.has_bridge_netfilter())))
    files.write(directory / "Corefile", corefile(config))
    files.write(directory / "resolv.conf", f"nameserver {config.bridge_address}\n")
    files.write(directory / "containerd.toml", containerd.configuration(config, containerd.snapshotter(config)))
    files.write(directory / "cni" / "10-pods.conflist", containerd.pod_network(config))
    files.write(config.kubeconfig, _admin_kubeconfig(config), 0o600)


def audit_policy() -> dict[str, Any]:
    """Who did what, for all; what exactly, for changes of the product's own objects. Never the body of a Secret."""
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "RequestResponse", "verbs": writes, "resources": [{"group": "incidents.dev"}]},
            {"level": "Metadata"},
        ],
    }


def kubelet(config: settings.Settings) -> dict[str, Any]:
    """KubeletConfiguration for a machine that it does not own: no cgroup limits, no swap check, lenient eviction."""
    pki = config.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": config.bridge_address,
        "port": config.ports.kubelet,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": config.ports.kubelet_health,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{config.containerd_socket}",
        "podLogsDir": str(config.logs / "pods"),
        "clusterDNS": [config.bridge_address],
        "clusterDomain": settings.CLUSTER_DOMAIN,
        "resolvConf": str(config.configuration / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def proxy(config: settings.Settings, *, has_bridge_netfilter: bool) -> dict[str, Any]:
    """KubeProxyConfiguration. Without br_netfilter an answer between two pods is only translated back if all is masqueraded."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "nftables": {"masqueradeAll": not has_bridge_netfilter},
        "clientConnection": {"kubeconfig": str(config.configuration / "proxy.kubeconfig")},
        "clusterCIDR": str(config.pod_network),
        "hostnameOverride": settings.NODE_NAME,
        "healthzBindAddress": f"127.0.0.1:{config.ports.proxy_health}",
        "metricsBindAddress": f"127.0.0.1:{config.ports.proxy_metrics}",
        "nodePortAddresses": ["127.0.0.0/8", f"{config.bridge_address}/32"],
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(config: settings.Settings) -> str:
    """CoreDNS answers for the cluster's names, and that no others exist."""
    return f""".:53 {{
    bind {config.bridge_address}
    ready 127.0.0.1:{config.ports.coredns_ready}
    errors
    cache 5
    kubernetes {settings.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {config.configuration / "coredns.kubeconfig"}
        pods insecure
        ttl 5
        fallthrough
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def _component_kubeconfig(config: settings.Settings, client: str) -> str:
    pki = config.certificates
    return kubeconfigs.by_path(config.apiserver_url, pki / "ca.crt", pki / f"{client}.crt", pki / f"{client}.key")


def _admin_kubeconfig(config: settings.Settings) -> str:
    pki = config.certificates
    authority, certificate, key = (Path(pki / name).read_bytes() for name in ("ca.crt", "admin.crt", "admin.key"))
    return kubeconfigs.embedded(config.loopback_url, authority, "admin", certificate, key)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
