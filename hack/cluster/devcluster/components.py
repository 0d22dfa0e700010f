"""The processes of the local cluster: their command lines, when each is ready, and their order. Nothing is started here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devcluster import processes, settings


@dataclass(frozen=True, slots=True)
class Component:
    """One process: what to run, and the loopback URL or TCP port that tells when it serves."""

    name: str
    argv: tuple[str, ...]
    ports: tuple[tuple[str, int], ...] = ()
    grace: float = 5.0


def process_of(config: settings.Settings, component: Component) -> processes.Process:
    """Return the process of a component, running or not."""
    return processes.Process(
        component.name, config.runtime / "pids" / component.name, config.logs / f"{component.name}.log"
    )


def in_order(config: settings.Settings, binary: Path) -> tuple[Component, ...]:
    """All components in the order in which they start; they stop in the reverse order, etcd last."""
    program = str(binary / "cluster")
    return (
        etcd(config, program),
        containerd(config),
        apiserver(config, program),
        controller_manager(config, program),
        scheduler(config, program),
        coredns(config, program),
        *((proxy(config, program),) if config.has_service_proxy else ()),
        kubelet(config, program),
    )


def etcd(config: settings.Settings, program: str) -> Component:
    """Store everything, without syncing to disk: a cluster for tests may be lost with the machine's power, and is faster for it."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (config.ports.etcd, config.ports.etcd_peer))
    flags = (
        "--name=local",
        f"--data-dir={config.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    return Component("etcd", (program, "etcd", *flags), _loopback(config.ports.etcd, config.ports.etcd_peer))


def containerd(config: settings.Settings) -> Component:
    """Debian's containerd, with our configuration, root and socket."""
    return Component("containerd", ("containerd", "--config", str(config.configuration / "containerd.toml")))


def apiserver(config: settings.Settings, program: str) -> Component:
    """Listen on the bridge only: pods and the host reach it there, and nobody else does."""
    pki = config.certificates
    flags = (
        f"--bind-address={config.bridge_address}",
        f"--advertise-address={config.bridge_address}",
        f"--secure-port={config.ports.apiserver}",
        f"--etcd-servers=http://127.0.0.1:{config.ports.etcd}",
        f"--service-cluster-ip-range={config.service_network}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{settings.CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--audit-policy-file={config.configuration / 'audit-policy.json'}",
        f"--audit-log-path={config.logs / 'audit.log'}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=5",
        "--profiling=false",
        "--shutdown-delay-duration=0s",
    )
    listens = ((config.bridge_address, config.ports.apiserver),)
    return Component("kube-apiserver", (program, "kube-apiserver", *flags), listens, grace=10.0)


def controller_manager(config: settings.Settings, program: str) -> Component:
    """All default controllers, each under its own service account, so that the audit log tells them apart."""
    pki = config.certificates
    flags = (
        f"--kubeconfig={config.configuration / 'controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={config.ports.controller_manager}",
        "--leader-elect=false",
        "--use-service-account-credentials",
        "--kube-api-qps=200",  # its default of 20 costs four seconds at every start
        "--kube-api-burst=400",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
    )
    argv = (program, "kube-controller-manager", *flags)
    return Component("kube-controller-manager", argv, _loopback(config.ports.controller_manager))


def scheduler(config: settings.Settings, program: str) -> Component:
    """Return the default scheduler."""
    flags = (
        f"--kubeconfig={config.configuration / 'scheduler.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={config.ports.scheduler}",
        "--leader-elect=false",
    )
    return Component("kube-scheduler", (program, "kube-scheduler", *flags), _loopback(config.ports.scheduler))


def coredns(config: settings.Settings, program: str) -> Component:
    """DNS for pods, as a process: nothing in the cluster needs an image to start."""
    argv = (program, "coredns", "-conf", str(config.configuration / "Corefile"))
    listens = ((config.bridge_address, 53), *_loopback(config.ports.coredns_ready))
    return Component("coredns", argv, listens)


def proxy(config: settings.Settings, program: str) -> Component:
    """Services' addresses, for pods and for the host."""
    flag = f"--config={config.configuration / 'proxy.json'}"
    return Component(
        "kube-proxy", (program, "kube-proxy", flag), _loopback(config.ports.proxy_health, config.ports.proxy_metrics)
    )


def kubelet(config: settings.Settings, program: str) -> Component:
    """Return the one node. Its address is the bridge's, since a node may not have a loopback address."""
    flags = (
        f"--config={config.configuration / 'kubelet.json'}",
        f"--kubeconfig={config.configuration / 'kubelet.kubeconfig'}",
        f"--root-dir={config.data / 'kubelet'}",
        f"--cert-dir={config.certificates}",
        f"--hostname-override={settings.NODE_NAME}",
        f"--node-ip={config.bridge_address}",
    )
    listens = ((config.bridge_address, config.ports.kubelet), *_loopback(config.ports.kubelet_health))
    return Component("kubelet", (program, "kubelet", *flags), listens, grace=10.0)


def _loopback(*ports: int) -> tuple[tuple[str, int], ...]:
    return tuple(("127.0.0.1", port) for port in ports)
